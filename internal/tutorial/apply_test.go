package tutorial

import (
	"strings"
	"testing"

	"github.com/kferry/kferry/internal/ferrytest"
)

// others lets a test have topics, groups and services that are not the page's, in the page's file.
var others = []string{"pizza-orders", "slice-orders", "pizza-clicks", "slice-clicks", "pizza-.*", "slice-.*"}

// The example comes up with the kferry that users have, its flow is carried, and a second apply writes nothing. A wrong
// password is said in plain words, by a real login that fails at a real broker, and a right one mends it.
func TestApply(t *testing.T) {
	t.Parallel() // it mostly waits
	w := newWorld(t, "slice-")
	kferry, hurried := ferrytest.Binary(t, w.source.Dir()), ferrytest.Hurried(t, w.source.Dir())
	w.example(others...)
	w.run(0, hurried, "datagen", "--cluster", "cloudkarafka", "--topic", "slice-clicks", "--create-topic", "--partitions", "3", "--records", "3000", "--rate", "0")
	w.has(w.run(7, kferry, "aiven", "plan"), "+ create  flow cloudkarafka -> aiven", "6 steps")
	if n := w.aiven.Writes(0); n != 0 {
		t.Errorf("plan wrote %d times", n)
	}
	w.has(w.run(0, kferry, "aiven", "apply"), "service target-kafka: create", "done: 6 steps")
	w.same("slice-clicks")
	ferrytest.Eventually(t, ferrytest.Patience, "Aiven tells that all is carried", func() (bool, string) {
		said := w.run(0, hurried, "aiven", "status")
		return strings.Contains(said, "100%"), said
	})
	before := len(w.aiven.Requests())
	w.has(w.run(0, kferry, "aiven", "apply"), "done: 0 steps")
	if n := w.aiven.Writes(before); n != 0 {
		t.Errorf("the second apply wrote %d times", n)
	}

	right := w.env
	w.env = append(w.env[:len(w.env):len(w.env)], "CLOUDKARAFKA_PASSWORD=hunter2-mistyped")
	w.has(w.run(0, hurried, "aiven", "apply"), "but: cluster cloudkarafka: it refuses the user or the password")
	w.has(w.run(6, hurried, "aiven", "status"), "failed", "invalid credentials", "problem: cluster cloudkarafka: it refuses the user or the password. Correct clusters.cloudkarafka.sasl and apply again")
	w.env = right
	w.has(w.run(0, hurried, "aiven", "apply"), "done: 1 step")
	w.run(0, hurried, "aiven", "status")
	w.has(w.run(0, hurried, "aiven", "destroy", "--yes", "--delete-data"), "service target-kafka: delete")
	w.noSecrets()
}
