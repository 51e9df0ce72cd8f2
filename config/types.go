package config

import (
	"fmt"
	"time"
)

// Config is the whole of a configuration file after defaults, environment and
// overrides. One that Load returned is valid; nothing changes it afterwards.
type Config struct {
	Clusters     map[string]Cluster `koanf:"clusters"` // by alias
	Flows        []Flow             `koanf:"flows"`
	HTTP         HTTP               `koanf:"http"`
	Metrics      Metrics            `koanf:"metrics"`
	Aiven        Aiven              `koanf:"aiven"`
	Log          Log                `koanf:"log"`
	InstanceID   string             `koanf:"instance_id"`                                     // of this replica, for static membership; "" = dynamic
	MemoryBudget Bytes              `koanf:"memory_budget" default:"256MiB" limits:"16MiB.."` // fetched and not yet acked, whole process
	Notes        []Note             `koanf:"-"`                                               // by line; of a file for MirrorMaker 2
	report       *report            `koanf:"-"`                                               // for ErrorAt
}

// HTTP is the listener of the status page, /metrics, /healthz, /readyz and /api.
// Load puts the content of ActionsTokenFile into ActionsToken.
type HTTP struct {
	Listen           string `koanf:"listen" default:"127.0.0.1:9464"` // "" or "off" = no server
	ActionsToken     Secret `koanf:"actions_token"`                   // whoever has it may pause, resume and so on; "" = nobody
	ActionsTokenFile string `koanf:"actions_token_file"`
	Pprof            bool   `koanf:"pprof" default:"false"` // serve profiles of the process at /debug/pprof/
}

// Metrics says how much /metrics tells.
type Metrics struct {
	Detail        string `koanf:"detail" default:"partition" choices:"partition topic flow"` // of the series of lanes
	Compatibility bool   `koanf:"compatibility" default:"true"`                              // MirrorMaker 2's and Aiven's names, too
}

// Log says what is logged and how.
type Log struct {
	Level  string `koanf:"level" default:"info" choices:"debug info warn error"`
	Format string `koanf:"format" default:"auto" choices:"auto text json"` // auto = text on a terminal
}

// Cluster is one Kafka cluster and how to reach it.
type Cluster struct {
	Alias            string   `koanf:"-"` // the key under clusters
	BootstrapServers []string `koanf:"bootstrap_servers"`
	ClientID         string   `koanf:"client_id" default:"kferry"`
	Connections      int      `koanf:"connections" default:"0" limits:"0..16"` // parallel links per broker; 0 = by the round trip
	MaxVersions      string   `koanf:"max_versions"`                           // speak as a client of this version of Kafka would; "" = the newest that both know
	TLS              TLS      `koanf:"tls"`
	SASL             SASL     `koanf:"sasl"`
	SchemaRegistry   Registry `koanf:"schema_registry"`
}

// Registry is the schema registry that belongs to a cluster; absent when URL is
// "". Load puts the content of PasswordFile into Password.
type Registry struct {
	URL          string `koanf:"url"`
	Username     string `koanf:"username"` // "" = it asks for none
	Password     Secret `koanf:"password"`
	PasswordFile string `koanf:"password_file"`
}

// TLS is plaintext when Enabled is false. File names are absolute or relative
// to the working directory: Load has joined them to the folder of the file.
type TLS struct {
	Enabled            bool   `koanf:"enabled" default:"false"`
	CAFile             string `koanf:"ca_file"`   // PEM; "" = the system's roots
	CertFile           string `koanf:"cert_file"` // PEM; set if and only if KeyFile is
	KeyFile            string `koanf:"key_file"`
	ServerName         string `koanf:"server_name"` // "" = the host name dialled
	InsecureSkipVerify bool   `koanf:"insecure_skip_verify" default:"false"`
}

// SASL is absent when Mechanism is "". Load puts the content of PasswordFile
// into Password.
type SASL struct {
	Mechanism    string `koanf:"mechanism" choices:"PLAIN SCRAM-SHA-256 SCRAM-SHA-512"`
	Username     string `koanf:"username"`
	Password     Secret `koanf:"password"`
	PasswordFile string `koanf:"password_file"`
}

// Flow is one direction between two clusters.
type Flow struct {
	Name              string        `koanf:"name"` // default "<source>-<target>"; unique; names progress topic and group
	Source            string        `koanf:"source"`
	Target            string        `koanf:"target"`
	Topics            []string      `koanf:"topics"` // Go regular expressions or names, whole match
	TopicsExclude     []string      `koanf:"topics_exclude"`
	Policy            string        `koanf:"policy" default:"identity" choices:"identity default"`
	Prefix            string        `koanf:"prefix"`
	Suffix            string        `koanf:"suffix"`
	Separator         string        `koanf:"separator" default:"."`
	StripPrefix       string        `koanf:"strip_prefix"`
	Start             Start         `koanf:"start" default:"earliest"`                             // for lanes without progress
	StartOffsets      StartOffsets  `koanf:"start_offsets"`                                        // wins over Start
	OnRefused         string        `koanf:"on_refused" default:"stop" choices:"stop dead_letter"` // what becomes of records that the target will never take
	RefreshInterval   time.Duration `koanf:"refresh_interval" default:"5s" limits:"100ms..24h"`
	RateLimit         Bytes         `koanf:"rate_limit" default:"0"`                           // record batches as fetched, bytes per second and process; 0 = none
	ReplicationFactor int16         `koanf:"replication_factor" default:"0" limits:"0..32767"` // of topics we create; 0 = the target's default
	OnSourceLoss      string        `koanf:"on_source_loss" choices:"stop continue"`           // "" = continue after retention, stop after all else
	ConfigExclude     []string      `koanf:"config_exclude"`                                   // names of topic settings
	SyncTopicConfigs  bool          `koanf:"sync_topic_configs" default:"true"`                // not only when a topic is created
	Groups            []string      `koanf:"groups"`                                           // consumer groups to follow; as Topics; none = none
	GroupsExclude     []string      `koanf:"groups_exclude"`                                   // not set = DefaultGroupsExclude
	GroupNames        []string      `koanf:"group_names"`                                      // source=target; see TargetGroup
	SyncGroupOffsets  bool          `koanf:"sync_group_offsets" default:"true"`                // commit on the target; false = checkpoints alone
	GroupsInterval    time.Duration `koanf:"groups_interval" default:"5s" limits:"100ms..24h"`
	OffsetSyncs       OffsetSyncs   `koanf:"offset_syncs"`
	Checkpoints       Checkpoints   `koanf:"checkpoints"`
	Heartbeats        Heartbeats    `koanf:"heartbeats"`
	Takeover          string        `koanf:"takeover" choices:"mm2 mm2_if_any aiven"` // whose positions lanes without progress begin at; "" = nobody's
	MM2               MM2           `koanf:"mm2"`
	Engine            string        `koanf:"engine" default:"kferry" choices:"kferry aiven"` // who carries it
	Aiven             FlowAiven     `koanf:"aiven"`
}

// DefaultGroupsExclude are the groups that are not followed unless groups_exclude
// says otherwise: MirrorMaker 2's list.
var DefaultGroupsExclude = []string{"console-consumer-.*", "connect-.*", "__.*"}

// OffsetSyncs says where MirrorMaker 2's offset-syncs topic is kept, for flows
// that follow groups.
type OffsetSyncs struct {
	Location string `koanf:"location" default:"target" choices:"target source off"`
}

// Checkpoints are MirrorMaker 2's, on the target, for flows that follow groups.
type Checkpoints struct {
	Enabled bool `koanf:"enabled" default:"true"`
}

// Heartbeats are MirrorMaker 2's, on the target, for flows that follow groups.
type Heartbeats struct {
	Enabled  bool          `koanf:"enabled" default:"true"`
	Interval time.Duration `koanf:"interval" default:"1s" limits:"100ms..24h"`
}

// MM2 tells where a MirrorMaker 2 of the same direction keeps things, for its
// topics that we write, for takeover and for export.
type MM2 struct {
	Separator    string `koanf:"separator"`                    // in the names of its topics; "" = the flow's
	InternalDot  bool   `koanf:"internal_dot" default:"false"` // its internal topics have dots whatever the separator is
	Connector    string `koanf:"connector" default:"MirrorSourceConnector"`
	OffsetsTopic string `koanf:"offsets_topic"` // "" = mm2-offsets.<source>.internal
	Group        string `koanf:"group"`         // of its workers; "" = <source>-mm2
}

// Engines of a flow.
const (
	EngineKferry = "kferry"
	EngineAiven  = "aiven"
)

// FlowAiven is what only Aiven's MirrorMaker 2 knows, for flows that it carries.
type FlowAiven struct {
	Enabled            bool `koanf:"enabled" default:"true"`
	ExactlyOnce        bool `koanf:"exactly_once" default:"true"`
	OffsetLagMax       int  `koanf:"offset_lag_max" default:"100" limits:"0.."`
	BackwardHeartbeats bool `koanf:"backward_heartbeats" default:"false"` // write them to the source
}

// StartKind tells the three ways to begin a lane that has no progress.
type StartKind int8

// The kinds of Start.
const (
	StartEarliest StartKind = iota
	StartLatest
	StartTime
)

// Start is where a lane without progress begins.
type Start struct {
	Kind StartKind
	Time time.Time // for StartTime only: the first record at or after it
}

// StartOffsets are the source offsets at which lanes without progress begin, by
// topic and partition.
type StartOffsets map[string]map[int32]int64

// String gives the form that the configuration file takes.
func (s Start) String() string {
	switch s.Kind {
	case StartEarliest:
		return "earliest"
	case StartLatest:
		return "latest"
	default:
		return s.Time.Format(time.RFC3339Nano)
	}
}

// Bytes is a size in bytes.
type Bytes int64

// String gives the largest binary unit that divides b: 256MiB, 1000000B.
func (b Bytes) String() string {
	for _, u := range []struct {
		name string
		size Bytes
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if b != 0 && b%u.size == 0 {
			return fmt.Sprintf("%d%s", b/u.size, u.name)
		}
	}
	return fmt.Sprintf("%dB", int64(b))
}

// LoadOptions are the layers above the file.
type LoadOptions struct {
	Environ   []string          // NAME=value as from os.Environ; for KFERRY_ variables and ${NAME}
	Overrides map[string]string // key path (log.level, flows[0].start) to value, from flags
}
