package catalog

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/kferry/kferry/internal/kafka"
)

// maxMessage is the setting that limits the size of a batch, in bytes.
const maxMessage = "max.message.bytes"

// change is one setting that a target topic should have otherwise.
type change struct {
	key      string
	from, to string // "" where it is not known
	reset    bool   // it goes back to the target's own default
}

func (ch change) String() string {
	to := ch.to
	if ch.reset {
		to = strings.TrimSpace("default " + to)
	}
	return fmt.Sprintf("%s %s -> %s", ch.key, cmp.Or(ch.from, "unset"), to)
}

// same tells that two changes have the same aim.
func (ch change) same(other change) bool {
	return ch.key == other.key && ch.to == other.to && ch.reset == other.reset
}

// inStep compares a target topic's settings with those that it should have from
// the source (wanted). ours are the settings that we have set on it. alone are
// the target's own settings that stay.
//
// A limit on batches is never lowered: records of the time before may still be
// on their way, and a larger limit than the source's harms nobody.
func inStep(source, target map[string]setting, exclude []string, ours map[string]string) (changes []change, alone []string) {
	want := wanted(source, target, exclude, ours)
	for k, v := range want {
		is := target[k]
		if is.Value != *v && (k != maxMessage || !below(*v, is.Value)) {
			changes = append(changes, change{key: k, from: is.Value, to: *v})
		}
	}
	for k, is := range target {
		if !is.own || want[k] != nil || slices.Contains(excluded, k) || slices.Contains(exclude, k) {
			continue
		}
		if set, mine := ours[k]; mine && set == is.Value && unset(source, k) && (k != maxMessage || below(is.Value, is.fallback)) {
			changes = append(changes, change{key: k, from: is.Value, to: is.fallback, reset: true})
		} else {
			alone = append(alone, k)
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return strings.Compare(a.key, b.key) })
	slices.Sort(alone)
	return changes, alone
}

// unset tells that the source says that a setting is not the topic's own; one
// that its answer does not name may be anything.
func unset(source map[string]setting, key string) bool {
	s, named := source[key]
	return named && !s.own
}

// below tells that a and b are numbers and a is the smaller.
func below(a, b string) bool {
	x, errX := strconv.Atoi(a)
	y, errY := strconv.Atoi(b)
	return errX == nil && errY == nil && x < y
}

// refused is a change that the target did not take.
type refused struct {
	change
	until time.Time // not tried again before
}

// refusedFor is between two tries of a change that was refused: somebody may
// have allowed it meanwhile.
const refusedFor = time.Hour

// keep brings the target topic in step with the source. It returns the target's
// own settings that it leaves alone, if they are other ones than the last time.
func (c *Catalog) keep(ctx context.Context, p *pair, s *settings, source, target map[string]setting) string {
	changes, alone := inStep(source, target, c.o.Exclude, s.ours)
	now := time.Now()
	changes = slices.DeleteFunc(changes, func(ch change) bool {
		r, ok := s.refused[ch.key]
		return ok && r.same(ch) && now.Before(r.until)
	})
	if len(changes) > 0 {
		c.apply(ctx, p, s, changes, source, target)
	}
	if all := strings.Join(alone, ", "); all != s.kept {
		s.kept = all
		return all
	}
	return ""
}

// apply makes changes on the target topic of p and says what became of them.
func (c *Catalog) apply(ctx context.Context, p *pair, s *settings, changes []change, source, target map[string]setting) {
	if time.Now().Before(c.alterAgain) {
		return
	}
	done, refusals, err := c.alter(ctx, p.target, changes)
	if len(done) > 0 {
		for _, ch := range done {
			target[ch.key] = setting{Value: ch.to, own: !ch.reset, fallback: target[ch.key].fallback}
			if ch.reset && ch.to == "" {
				delete(target, ch.key) // it has a value that we do not know
			}
		}
		c.learn(p, s, source, target)
		c.tell(p, s, "changed", fmt.Sprintf("target topic %q has the source's settings again: %s", p.target, s.took(done)), nil)
	}
	for _, r := range refusals {
		var what []string
		for _, ch := range r.changes {
			what = append(what, ch.String())
			s.refused[ch.key] = refused{ch, time.Now().Add(refusedFor)}
		}
		remedy := "allow it, or add the setting to config_exclude"
		if kafka.Denied(r.err) {
			remedy = "allow our user AlterConfigs on the topic, or set the flow's sync_topic_configs to false"
		}
		c.tell(p, s, "refused "+r.changes[0].key, fmt.Sprintf("target topic %q cannot be given the source's settings (%s): %s; trying again in an hour",
			p.target, strings.Join(what, ", "), remedy), r.err)
	}
	if kafka.TooOld(err) {
		c.cannotAlter(err)
	} else if err != nil {
		c.tell(p, s, "away", fmt.Sprintf("settings of target topic %q cannot be changed at the moment, trying on", p.target), kafka.Explain(c.o.Target.Alias(), err))
	} else {
		delete(s.said, "away")
	}
}

// cannotAlter says, once, that the target is too old for single settings to be altered:
// the request before that one would reset all others of the topic.
func (c *Catalog) cannotAlter(err error) {
	if c.alterAgain.IsZero() {
		c.event("", "settings of target topics are not kept in step, only set when a topic is made",
			kafka.Needs(c.o.Target.Alias(), "to alter single settings", "2.3", err))
	}
	c.alterAgain = time.Now().Add(refusedFor)
}

// took notes changes that were made, and lists them.
func (s *settings) took(done []change) string {
	var texts []string
	for _, ch := range done {
		text := ch.String()
		if old, ok := s.ours[ch.key]; ok && old != ch.from && !ch.reset {
			text += " (it was changed on the target; config_exclude leaves a setting to the target)"
		}
		texts = append(texts, text)
		delete(s.refused, ch.key)
		delete(s.said, "refused "+ch.key)
		if s.ours[ch.key] = ch.to; ch.reset {
			delete(s.ours, ch.key)
		}
	}
	return strings.Join(texts, ", ")
}

// refusals are changes that the target will not take, and why.
type refusals struct {
	changes []change
	err     error
}

// alter makes changes on a target topic. A broker takes all that a request asks
// of a topic or nothing, so after a refusal each change goes alone: some hosts
// allow some settings only.
func (c *Catalog) alter(ctx context.Context, topic string, changes []change) (done []change, no []refusals, err error) {
	err = c.send(ctx, topic, changes)
	switch {
	case err == nil:
		return changes, nil, nil
	case !refusal(err) || kafka.TooOld(err):
		return nil, nil, err
	case len(changes) == 1 || kafka.Denied(err):
		return nil, []refusals{{changes, err}}, nil
	}
	for _, ch := range changes {
		d, n, err := c.alter(ctx, topic, []change{ch})
		done, no = append(done, d...), append(no, n...)
		if err != nil {
			return done, no, err
		}
	}
	return done, no, nil
}

func (c *Catalog) send(ctx context.Context, topic string, changes []change) error {
	var alters []kadm.AlterConfig
	for _, ch := range changes {
		a := kadm.AlterConfig{Op: kadm.SetConfig, Name: ch.key, Value: &ch.to}
		if ch.reset {
			a.Op, a.Value = kadm.DeleteConfig, nil
		}
		alters = append(alters, a)
	}
	rs, err := c.o.Target.Admin().AlterTopicConfigs(ctx, alters, topic)
	if err != nil {
		return err
	}
	r, err := rs.On(topic, nil)
	if err == nil {
		err = r.Err
	}
	if err != nil && r.ErrMessage != "" {
		err = fmt.Errorf("%w (%s)", err, r.ErrMessage)
	}
	return err
}
