package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"syscall"

	"github.com/twmb/franz-go/pkg/kadm"
	"golang.org/x/sync/errgroup"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/offsets/groups"
)

const (
	groupTopic      = "followed"
	groupPartitions = 100
)

// follow measures rounds over n groups with commits on every partition of a topic: the first, which finds and
// commits everything; one in which nothing has changed; and one in which every group has committed.
func (h *harness) follow(ctx context.Context, n int) error {
	for _, b := range []*broker{h.source, h.target} {
		if err := b.create(ctx, groupTopic, groupPartitions, nil); err != nil {
			return err
		}
	}
	source, err := kafka.Open(config.Cluster{Alias: "src", BootstrapServers: []string{h.source.addr()}, ClientID: "bench"}, kafka.Options{})
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := kafka.Open(config.Cluster{Alias: "dst", BootstrapServers: []string{h.target.addr()}, ClientID: "bench"}, kafka.Options{})
	if err != nil {
		return err
	}
	defer target.Close()
	f, err := groups.New(groups.Options{Source: source, Target: target, Flow: config.Flow{SyncGroupOffsets: true, Groups: []string{".*"}}, Lanes: straight{}})
	if err != nil {
		return err
	}
	warm := kadm.Offsets{}
	warm.AddOffset(groupTopic, 0, 0, -1)
	if err := h.target.admin.CommitAllOffsets(ctx, "warm", warm); err != nil { // has the target make its offsets topic
		return err
	}
	for _, r := range []struct {
		what string
		at   int64 // where the groups commit before; 0 = they do not
	}{{"first round", 10}, {"nothing changed", 0}, {"all have moved on", 20}} {
		if r.at > 0 {
			if err := h.commitAll(ctx, n, r.at); err != nil {
				return err
			}
		}
		if err := followOnce(ctx, f, r.what); err != nil {
			return err
		}
	}
	return nil
}

func followOnce(ctx context.Context, f *groups.Follower, what string) error {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // the peak of memory begins anew
	before := peakMemory(os.Getpid())
	var use [2]syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &use[0])
	r, err := f.Round(ctx)
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &use[1])
	if err != nil {
		return err
	}
	cpu := seconds(use[1].Utime) + seconds(use[1].Stime) - seconds(use[0].Utime) - seconds(use[0].Stime)
	fmt.Printf("groups: %s: %d groups, %d partitions in %.2f s, CPU %.2f s, %d committed, %.0f MB more memory at the peak\n",
		what, r.Groups, len(r.Rows), r.Took.Seconds(), cpu, r.Commits, float64(peakMemory(os.Getpid())-before)/1e6)
	for _, w := range r.Rows {
		if w.Verdict != groups.Exact {
			return fmt.Errorf("group %s, partition %d: %s", w.Group, w.Partition, w.Reason())
		}
	}
	return nil
}

func (h *harness) commitAll(ctx context.Context, n int, at int64) error {
	var g errgroup.Group
	g.SetLimit(16)
	for i := range n {
		g.Go(func() error {
			os := kadm.Offsets{}
			for p := range int32(groupPartitions) {
				os.Add(kadm.Offset{Topic: groupTopic, Partition: p, At: at + int64(p)})
			}
			return h.source.admin.CommitAllOffsets(ctx, fmt.Sprintf("group-%04d", i), os)
		})
	}
	return g.Wait()
}

// straight has the same offsets on both sides.
type straight struct{}

func (straight) Carries(string) bool { return true }

func (straight) Place(topic string, _ int32, at offsets.Source) (groups.Place, bool) {
	return groups.Place{TargetTopic: topic, Target: offsets.Target(at), Found: offsets.Exact, End: 1 << 40}, true
}
