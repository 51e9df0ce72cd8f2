package kafkatest

import "github.com/kferry/kferry/config"

// Config is the cluster as kferry's configuration gives it, with the defaults of
// a loaded file: alias names it, user logs in by SCRAM-SHA-512 where the cluster
// has SASL. A user that the cluster does not have is a mistake in the test and
// panics; for a login that must fail, change the result.
func (c *Cluster) Config(alias, user string) config.Cluster {
	out := config.Cluster{
		Alias:            alias,
		BootstrapServers: c.Bootstrap(),
		ClientID:         "kferry",
		Connections:      1,
	}
	if c.opts.Security != Plaintext {
		password, err := c.password(user)
		if err != nil {
			panic(err)
		}
		out.SASL = config.SASL{Mechanism: "SCRAM-SHA-512", Username: user, Password: config.Secret(password)}
	}
	if c.opts.Security == SASLSSL {
		out.TLS = config.TLS{Enabled: true, CAFile: c.CAFile()}
	}
	return out
}
