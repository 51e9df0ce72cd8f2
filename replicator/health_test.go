package replicator

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator/budget"
)

// What a person must mend is told from what passes by itself.
func TestRejectionIn(t *testing.T) {
	on := func(kind kafka.Rejection, alias string) rejection { return rejection{alias, kind} }
	for _, c := range []struct {
		err  error
		want rejection // zero: none
	}{
		{kafka.Explain("a", kerr.SaslAuthenticationFailed), on(kafka.RejectsPassword, "a")},
		{fmt.Errorf("reading: %w", kafka.Explain("a", kerr.TopicAuthorizationFailed)), on(kafka.RejectsAuthorization, "a")},
		{fmt.Errorf("target topic %q: %w", "t", kerr.TopicAuthorizationFailed), on(kafka.RejectsAuthorization, "target")},
		{kafka.Explain("a", kerr.RequestTimedOut), rejection{}},
		{kafka.Explain("a", context.DeadlineExceeded), rejection{}},
		{errGone, rejection{}},
		{nil, rejection{}},
	} {
		if got, ok := rejectionIn(c.err, "target"); ok != (c.want != rejection{}) || ok && got != c.want {
			t.Errorf("%v: %v %v", c.err, got, ok)
		}
	}
}

// A login that is refused is told apart from a cluster that is away.
func TestPasswordRejected(t *testing.T) {
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("PLAIN", "ann", "right"))
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	broker.ControlKey(kmsg.SASLAuthenticate.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		broker.KeepControl()
		if req := r.(*kmsg.SASLAuthenticateRequest); !bytes.Contains(req.SASLAuthBytes, []byte("wrong")) {
			return nil, nil, false
		}
		resp := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		resp.ErrorCode = kerr.SaslAuthenticationFailed.Code // what a real broker says; the fake one hangs up
		return resp, nil, true
	})
	for password, want := range map[string][]string{
		"right": {
			`kferry_cluster_rejected{cause="authorization",cluster="a"} 0`, `kferry_cluster_rejected{cause="certificate",cluster="a"} 0`,
			`kferry_cluster_rejected{cause="password",cluster="a"} 0`, `kferry_cluster_up{cluster="a"} 1`,
		},
		"wrong": {
			`kferry_cluster_rejected{cause="authorization",cluster="a"} 0`, `kferry_cluster_rejected{cause="certificate",cluster="a"} 0`,
			`kferry_cluster_rejected{cause="password",cluster="a"} 1`, `kferry_cluster_up{cluster="a"} 0`,
		},
	} {
		cl, err := kafka.Open(config.Cluster{
			Alias: "a", BootstrapServers: broker.ListenAddrs(), SASL: config.SASL{Mechanism: "PLAIN", Username: "ann", Password: config.Secret(password)},
		}, kafka.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		h := &health{cluster: cl}
		h.note(cl.Ping(t.Context()))
		reg := prometheus.NewRegistry()
		if err := newMetrics(config.Metrics{}, "").register(reg, nil, []*health{h}, budget.New(1)); err != nil {
			t.Fatal(err)
		}
		if got := gauges(t, reg, "kferry_cluster_"); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s password: %v, want %v", password, got, want)
		}
	}
}
