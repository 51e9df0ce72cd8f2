package tutorial

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/kferry/kferry/internal/aiven/fake"
	"github.com/kferry/kferry/internal/ferrytest"
)

// atAiven is all that there is, as it is told; ids aside.
func atAiven(s *fake.Server) string {
	var b strings.Builder
	for _, v := range s.Services() {
		fmt.Fprintln(&b, "service", v.Name, v.Type, v.Plan, v.UserConfig, v.Tags)
	}
	names := map[string]string{}
	for _, e := range s.Endpoints() {
		names[e.ID] = e.Name
		fmt.Fprintln(&b, "endpoint", e.Name, e.UserConfig)
	}
	for _, i := range s.Integrations() {
		fmt.Fprintln(&b, "integration", i.Source, names[i.Endpoint], i.Dest, i.UserConfig)
	}
	for _, f := range s.Flows() {
		fmt.Fprintln(&b, "flow", f.Source, f.Target, f.Fields)
	}
	return b.String()
}

// "kferry aiven apply" is killed at each of its requests (kill -9; those that change something before and after Aiven
// carried them out) and run again: what comes out is what comes out undisturbed, so nothing is there twice.
func TestApplyKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "none-")
	kferry := ferrytest.Hurried(t, w.source.Dir())
	w.example(others...)
	// Flows are only written down here: TestApply has them carried.
	fresh := func() (*fake.Server, []string) {
		s := newAiven(w)
		s.OnFlow, s.Progress = func(fake.Flow) {}, func(fake.Flow) float64 { return 0 }
		return s, append(w.env[:len(w.env):len(w.env)], "KFERRY_AIVEN_API="+s.URL)
	}
	apply := []string{"aiven", "apply", "-c", w.dir + "/kferry.yaml"}
	s, env := fresh()
	ferrytest.Launch(t, kferry, env, []string{"hunter2"}, apply).Exit(0)
	want, requests := atAiven(s), s.Requests()
	if len(requests) < 30 || !strings.Contains(want, "flow cloudkarafka aiven") {
		t.Fatalf("%d requests made\n%s", len(requests), want)
	}
	for n, request := range requests {
		for _, after := range []bool{false, true} {
			if strings.HasPrefix(request, "GET") && after {
				continue // nothing is different
			}
			s, env := fresh()
			started, killed := make(chan *ferrytest.Ferry, 1), make(chan struct{})
			s.Intercept = func(i int, _ *http.Request) fake.Fault {
				if i != n+1 {
					return fake.Fault{}
				}
				defer close(killed)
				(<-started).Kill()
				return fake.Fault{Drop: true, After: after}
			}
			started <- ferrytest.Launch(t, kferry, env, []string{"hunter2"}, apply)
			<-killed
			ferrytest.Launch(t, kferry, env, []string{"hunter2"}, apply).Exit(0)
			if got := atAiven(s); got != want {
				t.Fatalf("killed at request %d, after it was carried out %v: %s\n got %s\nwant %s", n+1, after, request, got, want)
			}
		}
	}
	t.Logf("killed at each of %d requests", len(requests))
}
