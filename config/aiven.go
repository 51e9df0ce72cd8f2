package config

import (
	"net/url"
	"slices"
	"strings"
)

// Aiven says what there is to be at Aiven. The zero value means that nothing is.
// Load puts the content of TokenFile, or else the environment's AIVEN_TOKEN, into Token.
type Aiven struct {
	Project      string                      `koanf:"project"`
	Token        Secret                      `koanf:"token"`
	TokenFile    string                      `koanf:"token_file"`
	API          string                      `koanf:"api" default:"https://api.aiven.io"`
	Cloud        string                      `koanf:"cloud"`   // of services without one of their own
	Cluster      string                      `koanf:"cluster"` // the alias that stands for the Kafka service
	Kafka        AivenService                `koanf:"kafka"`
	MirrorMaker  AivenService                `koanf:"mirrormaker"`
	Integrations map[string]AivenIntegration `koanf:"integrations"` // by alias
}

// AivenService is a service that is to be there. An existing one is used as it
// is: never made, changed or deleted.
type AivenService struct {
	Name                  string   `koanf:"service"`
	Existing              bool     `koanf:"existing" default:"false"` // for the Kafka service alone
	Plan                  string   `koanf:"plan"`
	Cloud                 string   `koanf:"cloud"`
	ProjectVPC            string   `koanf:"project_vpc_id"` // where it is made; it is never moved
	TerminationProtection bool     `koanf:"termination_protection" default:"false"`
	UserConfig            Settings `koanf:"user_config"`
}

// AivenIntegration is how Aiven's MirrorMaker 2 reads and writes one cluster.
type AivenIntegration struct {
	Settings Settings `koanf:"settings"`
}

// Settings are keys and values whose meaning somebody else defines: bool, int64,
// float64, string, Secret (a text with ${NAME} in it), nil, []any or Settings.
type Settings map[string]any

// tokenVariable is where Aiven's own tools look for the token.
const tokenVariable = "AIVEN_TOKEN"

func checkAiven(r *report, c *Config, dir string) {
	a, at := &c.Aiven, keyPath{"aiven"}
	a.TokenFile = beside(dir, a.TokenFile)
	readSecret(r, &a.Token, a.TokenFile, at, "token")
	if !a.given() {
		checkTakeovers(r, c)
		checkEngines(r, c, "is aiven, but the section aiven is missing: it says where Aiven's MirrorMaker 2 is to run")
		return
	}
	if a.Project == "" {
		r.require(at.child("project"), "is missing: it is the name of the project at Aiven")
	}
	if u, err := url.Parse(a.API); err != nil || u.Host == "" || u.Scheme != "https" && !isLoopback(u) {
		r.add(at.child("api"), a.API, "must be an https:// address: the token would be readable on the way")
	}
	if _, ok := c.Clusters[a.Cluster]; a.Cluster == "" {
		r.require(at.child("cluster"), "is missing: it must be the alias of the cluster that is the Kafka service, one of %s", listOf(sortedKeys(c.Clusters)))
	} else if !ok {
		r.add(at.child("cluster"), a.Cluster, "is not a cluster: it must be one of %s", listOf(sortedKeys(c.Clusters)))
	}
	checkService(r, &a.Kafka, a.Cloud, at.child("kafka"))
	if a.MirrorMaker.given() {
		checkService(r, &a.MirrorMaker, a.Cloud, at.child("mirrormaker"))
		if a.MirrorMaker.Existing {
			r.add(at.child("mirrormaker").child("existing"), "", "cannot be true: kferry keeps its flows in this service; \"kferry aiven apply --adopt\" takes over one that is there")
		}
		if a.MirrorMaker.Name != "" && a.MirrorMaker.Name == a.Kafka.Name {
			r.add(at.child("mirrormaker").child("service"), a.MirrorMaker.Name, "is the name of the Kafka service too: two services need two names")
		}
	} else {
		checkTakeovers(r, c)
		checkEngines(r, c, "is aiven, but aiven.mirrormaker is missing: it says which service carries the flow")
	}
	for _, alias := range sortedKeys(a.Integrations) {
		if _, ok := c.Clusters[alias]; !ok {
			r.add(at.child("integrations").child(alias), "", "is not a cluster: it must be one of %s", listOf(sortedKeys(c.Clusters)))
		}
	}
	checkPairs(r, c)
}

// given says whether there is a section at all.
func (a *Aiven) given() bool {
	return a.Project != "" || a.Cluster != "" || a.Cloud != "" || a.Token != "" || a.Kafka.given() || a.MirrorMaker.given() || len(a.Integrations) > 0
}

func (s *AivenService) given() bool {
	return s.Name != "" || s.Plan != "" || s.Cloud != "" || s.Existing || len(s.UserConfig) > 0
}

// checkEngines tells that there is nothing to carry the flows of engine aiven.
func checkEngines(r *report, c *Config, problem string) {
	for i, f := range c.Flows {
		if f.Engine == EngineAiven {
			r.add(flowPath(i).child("engine"), "", "%s", problem)
		}
	}
}

// checkTakeovers tells that there is nothing that can be asked whether it has stopped.
func checkTakeovers(r *report, c *Config) {
	for i, f := range c.Flows {
		if f.Takeover == "aiven" {
			r.add(flowPath(i).child("takeover"), f.Takeover, "needs the section aiven with mirrormaker: it says which service is to be asked whether it has stopped")
		}
	}
}

// checkPairs refuses what Aiven has no place for: it has one flow from one cluster to another.
func checkPairs(r *report, c *Config) {
	first := map[[2]string]int{}
	for i, f := range c.Flows {
		if f.Engine != EngineAiven {
			continue
		}
		if j, ok := first[[2]string{f.Source, f.Target}]; ok {
			r.add(flowPath(i).child("engine"), f.Engine, "has one flow from %s to %s already, flows[%d]: put the topics of both into one, or use engine kferry", f.Source, f.Target, j)
			continue
		}
		first[[2]string{f.Source, f.Target}] = i
	}
}

func checkService(r *report, s *AivenService, cloud string, at keyPath) {
	if s.Name == "" {
		r.require(at.child("service"), "is missing: it is the name of the service at Aiven")
	} else if len(s.Name) > 64 || strings.ContainsFunc(s.Name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-'
	}) {
		r.add(at.child("service"), s.Name, "is not allowed: a-z 0-9 - are, and at most 64 of them")
	}
	if s.Cloud == "" {
		s.Cloud = cloud
	}
	if s.Existing {
		checkExisting(r, s, at)
		return
	}
	if s.Plan == "" {
		r.require(at.child("plan"), "is missing: a service needs one, such as business-4; or say existing: true for a service that is there")
	}
	if s.Cloud == "" {
		r.require(at.child("cloud"), "is missing: give it here or as aiven.cloud, such as google-europe-west1")
	}
	if s.ProjectVPC != "" && len(s.ProjectVPC) != 36 {
		r.add(at.child("project_vpc_id"), s.ProjectVPC, "is not the id of a VPC: it has 36 characters")
	}
}

// checkExisting refuses what would have no effect on a service that is left as it is.
func checkExisting(r *report, s *AivenService, at keyPath) {
	for _, f := range []struct {
		key string
		set bool
	}{
		{"plan", s.Plan != ""}, {"project_vpc_id", s.ProjectVPC != ""}, {"termination_protection", s.TerminationProtection}, {"user_config", len(s.UserConfig) > 0},
	} {
		if f.set {
			r.add(at.child(f.key), "", "has no use beside existing, which leaves the service as it is: leave one of them out")
		}
	}
}

func isLoopback(u *url.URL) bool {
	return u.Scheme == "http" && slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, u.Hostname())
}

// CarriedBy gives the flows of an engine, in the order of the file.
func (c *Config) CarriedBy(engine string) []Flow {
	var out []Flow
	for _, f := range c.Flows {
		if f.Engine == engine {
			out = append(out, f)
		}
	}
	return out
}

// ErrorAt makes an error about a key path as the configuration itself would, with
// file and line. The last known part of the path gives the line.
func (c *Config) ErrorAt(path []string, value, problem string) Error {
	r := c.report
	if r == nil {
		r = newReport("")
	}
	from, below := r.from(path)
	return Error{File: from.file, Line: from.line, Key: from.name(path, below), Value: value, Problem: problem}
}

// IsSet says whether something gave the key, so that its value is no default.
func (c *Config) IsSet(path []string) bool { return c.report != nil && c.report.isSet(path) }

// FlowPath is the key path of a flow; nil for a name that no flow has.
func (c *Config) FlowPath(name string) []string {
	for i, f := range c.Flows {
		if f.Name == name {
			return flowPath(i)
		}
	}
	return nil
}
