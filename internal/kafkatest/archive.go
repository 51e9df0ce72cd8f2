package kafkatest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/twmb/franz-go/pkg/kgo"
)

// An archive has the classes of a broker's jars as a JVM keeps them in memory: loaded, verified and linked. With it, making
// and starting a broker takes 3.6 s of CPU instead of 5.4, and the tests start more than a hundred. A broker that ends well
// can leave it behind, at the price of 10 s. (MirrorMaker 2 would gain too little for that.)
//
// It lies in the folder of its jars and goes with them. A JVM refuses one that is not its own or not of these jars, without
// a word and at no harm (-Xshare:auto), so nothing here has to be certain: whatever fails, brokers only start slower.

// trainings tells, by file, what this program did for an archive, so that it tries only once.
var trainings sync.Map // string to *sync.Once

// archive returns the archive of a folder with the jars of a version, or "" while there is none. The first caller makes it;
// who comes meanwhile, in this program or another, goes without. So do the versions of which only a few brokers are started.
func archive(ctx context.Context, folder, version string) string {
	if version != V4 && version != V3 {
		return ""
	}
	file := filepath.Join(folder, "classes-"+javaSum()+".jsa")
	if exists(file) {
		return file
	}
	lock, err := lockFile(file+".lock", false)
	if err != nil {
		return ""
	}
	defer unlock(lock)
	once, _ := trainings.LoadOrStore(file, &sync.Once{})
	once.(*sync.Once).Do(func() {
		ctx, cancel := context.WithTimeout(ctx, startLimit)
		defer cancel()
		incoming := file + ".incoming"
		defer discard(incoming)
		if !exists(file) && train(ctx, version, incoming) == nil {
			_ = os.Rename(incoming, file)
		}
	})
	if exists(file) {
		return file
	}
	return ""
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// javaSum tells one Java from another.
var javaSum = sync.OnceValue(func() string {
	sum := sha256.Sum256(javaVersion())
	return hex.EncodeToString(sum[:4])
})

// train makes an archive: a broker serves a producer and a member of a group, with TLS, and ends.
func train(ctx context.Context, version, file string) error {
	o, err := Options{
		Version: version, Security: SASLSSL, Authorizer: true, Config: map[string]string{"auto.create.topics.enable": "true"},
	}.normal()
	if err != nil {
		return err
	}
	c := &Cluster{opts: o, train: file, stopped: make(chan struct{})}
	if c.jars, err = jars(ctx, o.Version); err != nil {
		return err
	}
	defer c.Stop()
	if err := c.boot(ctx); err != nil {
		return err
	}
	if err := c.serveOne(ctx); err != nil {
		return err
	}
	return c.nodes[0].proc.finish(ctx)
}

// serveOne has the cluster make a topic, store a record in it and give it to a group.
func (c *Cluster) serveOne(ctx context.Context) error {
	const name = "training"
	cl, err := c.NewClient(AdminUser, kgo.AllowAutoTopicCreation(), kgo.ConsumeTopics(name), kgo.ConsumerGroup(name),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := cl.ProduceSync(ctx, &kgo.Record{Topic: name, Value: []byte("x")}).FirstErr(); err != nil {
		return err
	}
	for {
		fetches := cl.PollFetches(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case fetches.NumRecords() > 0:
			return cl.CommitUncommittedOffsets(ctx)
		}
	}
}

// finish asks a process to end and waits until it has.
func (p *process) finish(ctx context.Context) error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	_ = p.wait(ctx) // ended by a signal: its exit code tells nothing
	return ctx.Err()
}
