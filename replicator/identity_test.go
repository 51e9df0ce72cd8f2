package replicator_test

import (
	"testing"
	"time"
)

// A flow whose name is that of another source's is not carried, and says why; one that is
// carried already goes on.
func TestNameOfAnotherSource(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 1)
		v.write("pizza", 0, 0, 10)
		s := v.store()
		if err := s.SetSource(t.Context(), "cluster-of-others"); err != nil {
			t.Fatal(err)
		}
		stop := v.run(v.config("pizza"))
		time.Sleep(20 * time.Second) // of the bubble's clock
		if l := v.lane("pizza", 0); l.State != "" || v.d.Ready() == nil {
			t.Errorf("it is carried: %+v", l)
		}
		const told = `a flow named "flow" already carries cluster "cluster-of-others" to "new"`
		if !v.problem(told) {
			t.Errorf("problems: %+v", v.d.Status().Problems)
		}
		if err := s.SetSource(t.Context(), ""); err != nil { // somebody took it back
			t.Fatal(err)
		}
		v.await("pizza", 0, "running", 0)
		if v.problem(told) {
			t.Errorf("problems: %+v", v.d.Status().Problems)
		}
		if err := s.SetSource(t.Context(), "cluster-of-others"); err != nil { // an older kferry does not look
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if !v.problem(told) {
			t.Errorf("problems: %+v", v.d.Status().Problems)
		}
		v.write("pizza", 0, 10, 10)
		v.await("pizza", 0, "running", 0)
		stop()
	})
}

// Replicas with other topics leave some to nobody: that is an error until they agree, and no
// reason to stop. A restart alone with other topics is neither.
func TestReplicasWithOtherSettings(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 1)
		v.topic("pasta", 1)
		v.write("pizza", 0, 0, 10)
		v.write("pasta", 0, 0, 10)
		const told = "run with other topics or names than this one"
		stop := v.run(v.config("pizza"))
		v.await("pizza", 0, "running", 0)
		stop()
		stop = v.run(v.config("pizza", "pasta"))
		v.await("pasta", 0, "running", 0)
		if v.problem(told) {
			t.Errorf("alone: %+v", v.d.Status().Problems)
		}
		s := v.store()
		if err := s.SetSettings(t.Context(), "others", true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second) // of the bubble's clock
		v.write("pizza", 0, 10, 10)
		v.await("pizza", 0, "running", 0)
		if !v.problem(told) {
			t.Errorf("two sorts of replicas: %+v", v.d.Status().Problems)
		}
		if err := s.SetSettings(t.Context(), "others", false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if v.problem(told) {
			t.Errorf("they are gone: %+v", v.d.Status().Problems)
		}
		stop()
	})
}
