package kafkatest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// properties is the content of one broker's server.properties.
func (c *Cluster) properties(n *node) map[string]string {
	brokers := strconv.Itoa(len(c.nodes))
	p := map[string]string{
		"inter.broker.listener.name":     "BROKER",
		"listeners":                      "CLIENT://" + n.client.addr() + ",BROKER://" + n.broker.addr(),
		"listener.security.protocol.map": "CLIENT:" + c.opts.Security.protocol() + ",BROKER:PLAINTEXT",
		"log.dirs":                       n.data(),

		"auto.create.topics.enable":                "false",
		"default.replication.factor":               brokers,
		"min.insync.replicas":                      "1",
		"offsets.topic.replication.factor":         brokers,
		"offsets.topic.num.partitions":             "4",
		"transaction.state.log.replication.factor": brokers,
		"transaction.state.log.min.isr":            "1",
		"transaction.state.log.num.partitions":     "4",
		"group.initial.rebalance.delay.ms":         "0",

		"num.network.threads":            "2",
		"num.io.threads":                 "4",
		"log.cleaner.dedupe.buffer.size": "16777216", // of the heap; the default takes 128 MiB
		"log.cleaner.backoff.ms":         "1000",
	}
	c.metadata(p, n)
	if c.opts.Detour {
		p["advertised.listeners"] = "CLIENT://" + n.client.addr() + ",BROKER://" + n.broker.addr() + ",DETOUR://" + n.advertised.addr()
		p["listeners"] += ",DETOUR://" + n.detour.addr()
		p["listener.security.protocol.map"] += ",DETOUR:" + c.opts.Security.protocol()
	}
	c.secure(p)
	maps.Copy(p, c.opts.Config)
	return p
}

// metadata says where the brokers keep what they must agree on: in a quorum of their own, or in ZooKeeper.
func (c *Cluster) metadata(p map[string]string, n *node) {
	if c.zookeeper != nil {
		p["broker.id"] = strconv.Itoa(n.id)
		p["zookeeper.connect"] = c.zookeeper.client.addr()
		p["zookeeper.session.timeout.ms"] = zookeeperSession
		p["zookeeper.connection.timeout.ms"] = strconv.FormatInt(startLimit.Milliseconds(), 10) // both start at once
		return
	}
	var voters []string
	for _, v := range c.nodes {
		voters = append(voters, fmt.Sprintf("%d@%s", v.id, v.controller.addr()))
	}
	p["process.roles"] = "broker,controller"
	p["node.id"] = strconv.Itoa(n.id)
	p["controller.quorum.voters"] = strings.Join(voters, ",")
	p["controller.listener.names"] = "CONTROLLER"
	p["listeners"] += ",CONTROLLER://" + n.controller.addr()
	p["listener.security.protocol.map"] += ",CONTROLLER:PLAINTEXT"
	// A killed broker is missed, and lets itself be registered again, only
	// after this time: it is most of what a failover takes.
	p["broker.session.timeout.ms"] = "3000"
	p["broker.heartbeat.interval.ms"] = "500"
}

// quickSuites are for brokers without Java's second compiler (see jvm.flags): only that one uses the processor's
// instructions for AES. Without them AES-GCM runs at 5 MB/s and took most of the CPU of all tests; ChaCha20 runs at 90.
const quickSuites = "TLS_CHACHA20_POLY1305_SHA256,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"

// protocol is the name that Kafka has for s.
func (s Security) protocol() string {
	return [...]string{"PLAINTEXT", "SASL_PLAINTEXT", "SASL_SSL"}[s]
}

func (c *Cluster) secure(p map[string]string) {
	if c.opts.Authorizer {
		p["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
		if c.zookeeper != nil {
			p["authorizer.class.name"] = "kafka.security.authorizer.AclAuthorizer"
		}
		// The brokers talk to each other without a name.
		p["super.users"] = "User:" + AdminUser + ";User:ANONYMOUS"
	}
	if c.opts.Security == Plaintext {
		return
	}
	scram := "org.apache.kafka.common.security.scram.ScramLoginModule required;"
	plain := "org.apache.kafka.common.security.plain.PlainLoginModule required"
	for _, user := range slices.Sorted(maps.Keys(c.opts.Users)) {
		plain += fmt.Sprintf(" user_%s=%s", user, quote(c.opts.Users[user]))
	}
	listeners := []string{"client"}
	if c.opts.Detour {
		listeners = append(listeners, "detour")
	}
	for _, listener := range listeners {
		name := "listener.name." + listener + "."
		p[name+"sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"
		p[name+"scram-sha-256.sasl.jaas.config"] = scram
		p[name+"scram-sha-512.sasl.jaas.config"] = scram
		p[name+"plain.sasl.jaas.config"] = plain + ";"
		if c.opts.Security == SASLSSL {
			p[name+"ssl.keystore.type"] = "PEM"
			// Not as a file: brokers before 3.0 want the key in one to have a password.
			p[name+"ssl.keystore.key"] = c.key
			p[name+"ssl.keystore.certificate.chain"] = c.cert
			if !c.opts.Bench {
				p[name+"ssl.cipher.suites"] = quickSuites
			}
		}
	}
}

// quote writes s as a quoted token, which JAAS and Java's argument files read alike.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// encodeProperties writes p in the syntax of Java's Properties.
func encodeProperties(p map[string]string) []byte {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(p)) {
		b.WriteString(k)
		b.WriteByte('=')
		for i, r := range p[k] {
			switch {
			case r == '\\' || r == ' ' && i == 0:
				b.WriteByte('\\')
				b.WriteRune(r)
			case r > 0xffff:
				r -= 0x10000
				fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
			case r < ' ' || r > '~':
				fmt.Fprintf(&b, `\u%04x`, r)
			default:
				b.WriteRune(r)
			}
		}
		b.WriteByte('\n')
	}
	return []byte(b.String())
}
