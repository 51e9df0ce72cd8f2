package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Brokers of V28 keep their metadata in ZooKeeper, one process beside them all, from the jars that Kafka brings: their KRaft
// knows neither SCRAM nor an authorizer. It listens for them where a broker listens for clients.

const (
	zookeeperName = "zookeeper"
	zookeeperMain = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
	// zookeeperSession is how long, in ms, ZooKeeper waits for a silent broker: one on a busy machine must not be taken for dead.
	zookeeperSession = "6000"
	// zookeeperDump is the word that has ZooKeeper tell what sessions there are.
	zookeeperDump = "dump"
)

func withZooKeeper(version string) bool { return version == V28 }

// prepareZooKeeper takes a folder and a port for it and writes its configuration.
func (c *Cluster) prepareZooKeeper(root string) (err error) {
	z := &node{id: -1, name: zookeeperName, dir: filepath.Join(c.dir, zookeeperName)}
	c.zookeeper = z
	if z.client, err = freePort(root); err != nil {
		return err
	}
	return z.write(map[string]string{
		"dataDir":                z.data(),
		"clientPort":             strconv.Itoa(z.client.number),
		"clientPortAddress":      "127.0.0.1",
		"maxClientCnxns":         "0", // no limit
		"admin.enableServer":     "false",
		"4lw.commands.whitelist": zookeeperDump,
	})
}

func (c *Cluster) startZooKeeper() (err error) {
	z := c.zookeeper
	z.mu.Lock()
	defer z.mu.Unlock()
	z.proc, err = z.java(c, zookeeperName, []string{zookeeperMain, z.config()})
	return err
}

// addUsers makes the users' SCRAM credentials, as soon as the first broker can.
func (c *Cluster) addUsers(ctx context.Context) error {
	n := c.nodes[0]
	cl, err := kgo.NewClient(kgo.SeedBrokers(n.broker.addr())) // where whoever has no name may do everything
	if err != nil {
		return fmt.Errorf("kafkatest: client: %w", err)
	}
	defer cl.Close()
	// A broker learns of credentials in the order in which they are made: it knows all when it knows the administrator's.
	for _, admin := range []bool{false, true} {
		var users []kadm.UpsertSCRAM
		for user, password := range c.opts.Users {
			for _, m := range []kadm.ScramMechanism{kadm.ScramSha256, kadm.ScramSha512} {
				if admin == (user == AdminUser) {
					users = append(users, kadm.UpsertSCRAM{User: user, Mechanism: m, Iterations: scramIterations, Password: password})
				}
			}
		}
		if err := n.until(ctx, func(ctx context.Context) error {
			made, err := kadm.NewClient(cl).AlterUserSCRAMs(ctx, nil, slices.Clone(users)) // it writes to them
			return errors.Join(err, made.Error())
		}); err != nil {
			return err
		}
	}
	return nil
}

// forgotten waits until ZooKeeper has ended the sessions of broker n, which was killed: until then nobody can register
// under its id.
func (c *Cluster) forgotten(ctx context.Context, n *node) error {
	return c.zookeeper.until(ctx, func(ctx context.Context) error {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp4", c.zookeeper.client.addr())
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }() // what was read counts
		deadline, _ := ctx.Deadline()
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
		if _, err := io.WriteString(conn, zookeeperDump); err != nil {
			return err
		}
		sessions, err := io.ReadAll(conn)
		if err == nil && strings.Contains(string(sessions), fmt.Sprintf("/brokers/ids/%d\n", n.id)) {
			err = fmt.Errorf("the session of broker %d has not ended", n.id)
		}
		return err
	})
}
