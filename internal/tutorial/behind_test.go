package tutorial

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/scram"
	"go.yaml.in/yaml/v3"

	"github.com/kferry/kferry/internal/aiven/fake"
	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/kafkatest"
)

// behind is the target cluster behind the fake's Kafka service. It is used by the fake's goroutines, so nothing in it ends
// the test.
type behind struct {
	w     *world
	admin *kadm.Client
	ca    string
}

func newBehind(w *world) *behind {
	ca, err := os.ReadFile(w.target.CAFile())
	if err != nil {
		w.t.Fatal(err)
	}
	return &behind{w, w.target.Admin(w.t), string(ca)}
}

func (b *behind) Address() string   { return b.w.target.Bootstrap()[0] }
func (b *behind) Authority() string { return b.ca }

// until asks again until what was changed shows: a broker learns of it a moment later.
func (b *behind) until(shows func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := shows(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

func (b *behind) PutUser(name, password string) error {
	_, err := b.admin.AlterUserSCRAMs(context.Background(), nil, []kadm.UpsertSCRAM{{User: name, Mechanism: kadm.ScramSha512, Iterations: 4096, Password: password}})
	if err != nil {
		return err
	}
	return b.until(func(ctx context.Context) error {
		return login(ctx, b.Address(), b.ca, scram.Auth{User: name, Pass: password})
	})
}

func (b *behind) Allow(a fake.ACL) error {
	var pattern kmsg.ACLResourcePatternType
	var permission kmsg.ACLPermissionType
	kind, err := kmsg.ParseACLResourceType(a.ResourceType)
	operation, err2 := kmsg.ParseACLOperation(a.Operation)
	pattern, err3 := kmsg.ParseACLResourcePatternType(a.PatternType)
	permission, err4 := kmsg.ParseACLPermissionType(a.PermissionType)
	if err := errors.Join(err, err2, err3, err4); err != nil {
		return err
	}
	c := kmsg.NewCreateACLsRequestCreation()
	c.ResourceType, c.ResourceName, c.ResourcePatternType = kind, a.ResourceName, pattern
	c.Principal, c.Host, c.Operation, c.PermissionType = a.Principal, a.Host, operation, permission
	req := kmsg.NewPtrCreateACLsRequest()
	req.Creations = append(req.Creations, c)
	resp, err := req.RequestWith(context.Background(), b.w.target.Client(b.w.t, kafkatest.AdminUser))
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.Results[0].ErrorCode)
}

func (b *behind) CreateTopic(t fake.Topic) error {
	settings := map[string]*string{}
	for name, v := range t.Settings {
		settings[name] = &v
	}
	// The cluster has one broker, whatever the service's plan promises.
	if _, err := b.admin.CreateTopic(context.Background(), int32(max(t.Partitions, 1)), -1, settings, t.Name); err != nil {
		return err
	}
	return b.until(func(ctx context.Context) error {
		topics, err := b.admin.ListTopics(ctx, t.Name)
		if err == nil {
			err = topics[t.Name].Err
		}
		return err
	})
}

func (b *behind) Topics() ([]fake.Topic, error) {
	ctx := context.Background()
	topics, err := b.admin.ListTopics(ctx)
	if err != nil || len(topics) == 0 {
		return nil, err
	}
	configs, err := b.admin.DescribeTopicConfigs(ctx, topics.Names()...)
	if err != nil {
		return nil, err
	}
	var out []fake.Topic
	for _, c := range configs {
		one := fake.Topic{Name: c.Name, Partitions: len(topics[c.Name].Partitions), Replication: 1, Settings: map[string]string{}}
		for _, s := range c.Configs {
			if s.Source == kmsg.ConfigSourceDynamicTopicConfig {
				one.Settings[s.Key] = s.MaybeValue()
			}
		}
		out = append(out, one)
	}
	return out, nil
}

// login tries to speak with a cluster.
func login(ctx context.Context, address, ca string, user scram.Auth) error {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(ca))
	cl, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.DialTLSConfig(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}),
		kgo.SASL(user.AsSha512Mechanism()), kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer cl.Close()
	return cl.Ping(ctx)
}

// reachable is a login at an endpoint's cluster, as MirrorMaker 2 would do it; what fails is told in Java's words.
func (w *world) reachable(endpoint map[string]any) error {
	field := func(name string) string { v, _ := endpoint[name].(string); return v }
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := login(ctx, field("bootstrap_servers"), field("ssl_ca_cert"), scram.Auth{User: field("sasl_plain_username"), Pass: field("sasl_plain_password")})
	if errors.Is(err, kerr.SaslAuthenticationFailed) {
		return fmt.Errorf("org.apache.kafka.common.errors.SaslAuthenticationException: %w", err)
	}
	return err
}

// mirrors are the fake's MirrorMaker 2: a kferry for each flow that is enabled.
type mirrors struct {
	w       *world
	mu      sync.Mutex
	running map[string]*ferrytest.Ferry // by source and target
}

// changed does what a replication flow now says. A flow that names a cluster without integration does nothing, as at Aiven.
func (m *mirrors) changed(f fake.Flow) {
	source := m.endpoint(f) // asks the fake, which may be asking for progress
	m.mu.Lock()
	defer m.mu.Unlock()
	key := f.Source + "-" + f.Target
	if old := m.running[key]; old != nil {
		old.Kill()
		delete(m.running, key)
	}
	if f.Deleted || f.Fields["enabled"] != true || source == nil {
		return
	}
	dir := m.w.t.TempDir()
	files := map[string]string{"source-ca.pem": fmt.Sprint(source["ssl_ca_cert"]), "kferry.yaml": m.config(f, source)}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			m.w.t.Error(err)
			return
		}
	}
	m.running[key] = ferrytest.Launch(m.w.t, ferrytest.Hurried(m.w.t, m.w.source.Dir()), ferrytest.Environ(), nil, []string{"run", "-c", filepath.Join(dir, "kferry.yaml")})
}

// endpoint finds the settings of a flow's source among those that are integrated.
func (m *mirrors) endpoint(f fake.Flow) map[string]any {
	for _, i := range m.w.aiven.Integrations() {
		if i.UserConfig["cluster_alias"] != f.Source || i.Dest != f.Service {
			continue
		}
		for _, e := range m.w.aiven.Endpoints() {
			if e.ID == i.Endpoint {
				return e.UserConfig
			}
		}
	}
	return nil
}

// mirrorName is what the flow behind the fake is called.
func (w *world) mirrorName() string {
	return "mm2-" + strings.ToLower(strings.TrimPrefix(w.t.Name(), "Test"))
}

// config is a flow of Aiven's as one of kferry's.
func (m *mirrors) config(f fake.Flow, source map[string]any) string {
	type tree = map[string]any
	target := m.w.target.Config(f.Target, kafkatest.AdminUser)
	text, err := yaml.Marshal(tree{
		"clusters": tree{
			f.Source: tree{"bootstrap_servers": strings.Split(fmt.Sprint(source["bootstrap_servers"]), ","), "tls": tree{"enabled": true, "ca_file": "source-ca.pem"},
				"sasl": tree{"mechanism": source["sasl_mechanism"], "username": source["sasl_plain_username"], "password": source["sasl_plain_password"]}},
			f.Target: tree{"bootstrap_servers": target.BootstrapServers, "tls": tree{"enabled": true, "ca_file": target.TLS.CAFile},
				"sasl": tree{"mechanism": target.SASL.Mechanism, "username": target.SASL.Username, "password": target.SASL.Password.Reveal()}},
		},
		"flows": []tree{{"name": m.w.mirrorName(), "source": f.Source, "target": f.Target, "topics": f.Fields["topics"], "topics_exclude": f.Fields["topics.blacklist"], "refresh_interval": "500ms"}},
		"http":  tree{"listen": "127.0.0.1:0"},
		"log":   tree{"format": "text"},
	})
	if err != nil {
		m.w.t.Error(err)
	}
	return string(text)
}

// progress is the part of a flow's records that is on the target.
func (m *mirrors) progress(f fake.Flow) float64 {
	m.mu.Lock()
	ferry := m.running[f.Source+"-"+f.Target]
	m.mu.Unlock()
	if ferry == nil {
		return 0
	}
	code, page, err := ferry.Peek("/metrics")
	if err != nil || code != 200 {
		return 0
	}
	carried, lag := ferrytest.Sample(page, "kferry_records_total"), ferrytest.Sample(page, "kferry_lag_records")
	if carried == 0 {
		return 0
	}
	return carried / (carried + lag)
}
