package replicator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/replicator/progress"
)

// The name of a flow is all that makes two processes its replicas, and the group gives each some of
// the lanes. One that carries another source, or does not know some of the lanes, would leave those
// to nobody. So a flow tells whose records it carries and by which settings (progress/identity.go).

const (
	settingsEvery = 10 * time.Second
	// Settings that nobody has told of for so long are no longer anybody's.
	settingsAge = 3 * settingsEvery
)

// identity is what a flow compares.
type identity struct {
	source   string // the source cluster's id; "": it has none
	settings string // a digest of what decides which lanes there are
	told     time.Time
	agreed   bool // the flow may be carried
}

// settingsOf is a digest of what decides which lanes a flow has, and where they lead.
func settingsOf(f *config.Flow) string {
	text, _ := json.Marshal([]any{ // strings can always be written
		f.Topics, f.TopicsExclude, f.Policy, f.Prefix, f.Suffix, f.Separator, f.StripPrefix, f.MM2.Separator, f.Source,
	})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// compare tells whether the flow may be carried, as what reader has read says, and tells the others
// what this replica is. It is called about once a second.
func (f *flow) compare(ctx context.Context, reader *progress.Pauses) error {
	me := &f.identity
	if me.settings == "" {
		id, err := progress.ClusterID(ctx, f.source)
		if err != nil {
			return err
		}
		me.source, me.settings = id, settingsOf(&f.cfg)
	}
	switch theirs := reader.Source(); {
	case me.source == "" || theirs == me.source:
		f.strange.Store(nil)
	case theirs == "":
		return f.store.SetSource(ctx, me.source) // the next look tells who was last
	default:
		text := fmt.Sprintf("a flow named %q already carries cluster %q to %q, and this one's source %q is cluster %q: give one of them another name",
			f.cfg.Name, theirs, f.target.Alias(), f.source.Alias(), me.source)
		if f.strange.Swap(&text) == nil {
			f.log.Error("the flow's name is taken by another flow", "reason", text)
		}
		return nil // one that carries already goes on
	}
	now := time.Now()
	if now.Sub(me.told) >= settingsEvery {
		if err := f.store.SetSettings(ctx, me.settings, true); err != nil {
			return err
		}
		me.told = now
	}
	f.differ(reader.Settings(), now)
	if !me.agreed {
		me.agreed = true
		close(f.agreed)
	}
	return nil
}

// differ says that replicas with other settings run.
func (f *flow) differ(settings map[string]time.Time, now time.Time) {
	for s, at := range settings {
		if s != f.identity.settings && now.Sub(at) < settingsAge {
			text := fmt.Sprintf("replicas of flow %q run with other topics or names than this one, and some partitions may be carried by none of them: "+
				"give all of them the same configuration, or the flows different names", f.cfg.Name)
			if f.unlike.Swap(&text) == nil {
				f.log.Error("replicas have different settings", "reason", text)
			}
			return
		}
	}
	if f.unlike.Swap(nil) != nil {
		f.log.Info("replicas have the same settings again")
	}
}
