package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/kferry/kferry/internal/web"
)

// askEach asks every daemon at the same time. The answers are in the order of the daemons, and so are the errors of
// those that have none.
func askEach[T any](ctx context.Context, urls []string, path string, query func(i int) url.Values) (answers []T, errs []error) {
	all, failed := make([]T, len(urls)), make([]error, len(urls))
	var wg sync.WaitGroup
	for i, base := range urls {
		wg.Go(func() { failed[i] = ask(ctx, base, path, query(i), &all[i]) })
	}
	wg.Wait()
	for i, err := range failed {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		answers = append(answers, all[i])
	}
	return answers, errs
}

func noQuery(int) url.Values { return nil }

// askStatus asks for the status, and of several replicas puts it together. It fails if none answers; if only some
// do not, that is a problem.
func (a *asked) askStatus(ctx context.Context) (web.Status, error) {
	all, errs := askEach[web.Status](ctx, a.urls, web.StatusPath, noQuery)
	if len(all) == 0 {
		return web.Status{}, errors.Join(errs...)
	}
	st := all[0]
	if len(a.urls) > 1 {
		st = mergeStatuses(all)
	}
	for _, err := range errs {
		st.Healthy = false
		st.Problems = append([]web.Problem{{Severity: "error", Text: err.Error()}}, st.Problems...)
	}
	return st, nil
}

// mergeStatuses is what replicas tell together: their sums, and whatever is wrong with one of them.
func mergeStatuses(all []web.Status) web.Status {
	out := web.Status{Healthy: true, StartedAt: all[0].StartedAt}
	var instances, versions []string
	for i := range all {
		s := &all[i]
		instances, versions = append(instances, cmp.Or(s.Instance, "?")), append(versions, s.Version)
		if s.StartedAt.Before(out.StartedAt) {
			out.StartedAt = s.StartedAt
		}
		if s.Now.After(out.Now) {
			out.Now = s.Now
		}
		out.Healthy = out.Healthy && s.Healthy
		out.Problems = append(out.Problems, s.Problems...)
		out.Clusters = mergeClusters(out.Clusters, s.Clusters)
		out.Memory.Used, out.Memory.Limit = out.Memory.Used+s.Memory.Used, out.Memory.Limit+s.Memory.Limit
	}
	slices.SortStableFunc(out.Problems, func(a, b web.Problem) int { return cmp.Compare(a.Severity, b.Severity) }) // error, warning
	out.Problems = unique(out.Problems, sameProblem)
	out.Instance, out.Version = strings.Join(instances, ", "), strings.Join(unique(versions, sameText), ", ")
	out.Flows = mergeFlows(all)
	return out
}

// mergeFlows adds up flows of one name, in the order in which they come.
func mergeFlows(all []web.Status) (out []web.Flow) {
	partitions := map[string]int{} // of a flow, as far as one of the replicas knows
	for i := range all {
		for j := range all[i].Flows {
			f := alone(all[i].Flows[j])
			partitions[f.Name] = max(partitions[f.Name], lanesOf(&f)+f.Switch.Others)
			if at := slices.IndexFunc(out, func(x web.Flow) bool { return x.Name == f.Name }); at >= 0 {
				mergeFlow(&out[at], &f)
			} else {
				out = append(out, f)
			}
		}
	}
	for i := range out {
		f := &out[i]
		if f.Switch.Others = max(0, partitions[f.Name]-lanesOf(f)); f.Switch.Others > 0 {
			f.Switch.Reasons = append(f.Switch.Reasons, fmt.Sprintf("%d of the flow's %s are with none of the replicas that were asked: give --url for each",
				f.Switch.Others, plural(partitions[f.Name], "partition")))
		}
		f.Switch.Reasons = unique(f.Switch.Reasons, sameText)
		f.Switch.Safe = len(f.Switch.Reasons) == 0
	}
	return out
}

// alone is a flow without what its replica says of the partitions of others, ready to be added to.
func alone(f web.Flow) web.Flow {
	f.Lanes, f.Groups.Partitions = maps.Clone(f.Lanes), maps.Clone(f.Groups.Partitions)
	f.Switch.Reasons = slices.Clone(f.Switch.Reasons)
	if n := len(f.Switch.Reasons); f.Switch.Others > 0 && n > 0 {
		f.Switch.Reasons = f.Switch.Reasons[:n-1]
	}
	return f
}

func lanesOf(f *web.Flow) (n int) {
	for _, lanes := range f.Lanes {
		n += lanes
	}
	return n
}

func mergeFlow(into, f *web.Flow) {
	into.ETASeconds = longest(into, f)
	into.Leads = into.Leads || f.Leads
	into.Aiven = cmp.Or(into.Aiven, f.Aiven)
	into.Slots += f.Slots
	into.Partitions = cmp.Or(into.Partitions, f.Partitions)
	add(into.Lanes, f.Lanes)
	into.Records, into.Bytes = into.Records+f.Records, into.Bytes+f.Bytes
	into.RecordsPerSecond, into.BytesPerSecond = into.RecordsPerSecond+f.RecordsPerSecond, into.BytesPerSecond+f.BytesPerSecond
	into.LagRecords = either(into.LagRecords, f.LagRecords, func(a, b int64) int64 { return a + b })
	into.LagSeconds = either(into.LagSeconds, f.LagSeconds, func(a, b float64) float64 { return max(a, b) })
	into.StaleLanes += f.StaleLanes
	into.LostOffsets, into.PossibleDuplicates, into.DeadLetters = into.LostOffsets+f.LostOffsets, into.PossibleDuplicates+f.PossibleDuplicates, into.DeadLetters+f.DeadLetters
	add(into.Groups.Partitions, f.Groups.Partitions)
	into.Groups.Unsynced += f.Groups.Unsynced
	into.Switch.Reasons = append(into.Switch.Reasons, f.Switch.Reasons...)
	into.Paused = cmp.Or(into.Paused, f.Paused)
}

func add(into, more map[string]int) {
	for k, n := range more {
		into[k] += n
	}
}

// either joins two numbers, or takes the one that is known.
func either[N int64 | float64](a, b *N, join func(a, b N) N) *N {
	if a == nil || b == nil {
		return cmp.Or(a, b)
	}
	n := join(*a, *b)
	return &n
}

// longest is when the last of both has no lag any more; nil if nobody knows of one that has some.
func longest(a, b *web.Flow) *float64 {
	eta := func(f *web.Flow) *float64 {
		if lanesOf(f) == 0 || f.LagRecords != nil && *f.LagRecords == 0 {
			return new(float64)
		}
		return f.ETASeconds
	}
	x, y := eta(a), eta(b)
	if x == nil || y == nil {
		return nil
	}
	n := max(*x, *y)
	return &n
}

// mergeClusters: a cluster that one replica cannot reach is not well.
func mergeClusters(into, more []web.Cluster) []web.Cluster {
	for _, c := range more {
		i := slices.IndexFunc(into, func(x web.Cluster) bool { return x.Alias == c.Alias })
		switch {
		case i < 0:
			into = append(into, c)
		case into[i].Up && !c.Up:
			into[i] = c
		}
	}
	return into
}

// unique keeps the first of those that are the same.
func unique[T any](xs []T, same func(a, b T) bool) (out []T) {
	for _, x := range xs {
		if !slices.ContainsFunc(out, func(o T) bool { return same(o, x) }) {
			out = append(out, x)
		}
	}
	return out
}

func sameText(a, b string) bool { return a == b }

func sameProblem(a, b web.Problem) bool {
	samePartition := a.Partition == b.Partition || a.Partition != nil && b.Partition != nil && *a.Partition == *b.Partition
	return samePartition && a.Severity == b.Severity && a.Flow == b.Flow && a.Topic == b.Topic && a.Text == b.Text
}
