package aiven

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aiven/go-client-codegen/handler/service"
)

// Apply does what a plan says, as often as Aiven needs to be asked.
type Apply struct {
	Client  *Client
	Want    *Want
	Adopt   bool
	Timeout time.Duration     // for all of it
	Tell    func(line string) // what is going on, one line each
	until   time.Time
}

const (
	settle   = 15 * time.Second // what was written is read by then
	poll     = 2 * time.Second
	slowPoll = 10 * time.Second
	patience = 2 * time.Minute // for something to show that Aiven has taken
	steady   = 3               // so many times in a row a service must be RUNNING
)

// Run makes Aiven have what is wanted. It gives the plan that it began with. After an error, or when the process dies,
// another run goes on from what is there.
//
// Nothing is made twice: what seems not to be there is looked for again after some seconds before it is made, since
// reads may be late; and a request that may or may not have been carried out is followed by a look, not by another.
func (a *Apply) Run(ctx context.Context) (*Plan, error) {
	a.until = a.Client.clock.Now().Add(a.Timeout)
	began, err := a.plan(ctx, everything)
	if err != nil || began.Todo() == 0 && began.mark {
		return began, err
	}
	if began.Todo() > 0 {
		if err := a.Client.clock.Sleep(ctx, settle); err != nil {
			return began, err
		}
	}
	for _, kind := range []string{serviceKind, endpointKind, integrationKind, flowKind} {
		if err := a.phase(ctx, kind); err != nil {
			return began, err
		}
	}
	return began, a.finish(ctx)
}

// phase does what is to be done about one kind of resources.
func (a *Apply) phase(ctx context.Context, kind string) error {
	plan, err := a.plan(ctx, kind)
	if err != nil {
		return err
	}
	if plan.Todo() > 0 && (kind == integrationKind || kind == flowKind) {
		if err := a.await(ctx); err != nil {
			return err
		}
		if plan, err = a.plan(ctx, kind); err != nil { // now the flows can be read, too
			return err
		}
	}
	for _, s := range plan.Steps {
		if s.Action.Todo() {
			if err := a.converge(ctx, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// plan looks, and refuses to go on where a person must decide.
func (a *Apply) plan(ctx context.Context, kind string) (*Plan, error) {
	plan, err := a.Client.plan(ctx, a.Want, a.Adopt, kind)
	if err != nil {
		return nil, err
	}
	return plan, plan.Blocked()
}

// converge does what is to be done about one resource until Aiven shows it as wanted.
func (a *Apply) converge(ctx context.Context, step *Step) error {
	const most = 4
	for done := 0; done < most; done++ {
		a.Tell(fmt.Sprintf("%s: %s", step, step.Action))
		failed := step.do(ctx)
		wait := patience
		switch {
		case failed == nil:
		case ctx.Err() != nil:
			return failed
		case isUnclear(failed), isThere(failed):
			wait = settle // it may have been carried out, or was there before: a look tells
		default:
			return failed
		}
		next, err := a.shows(ctx, step, wait)
		if err != nil || next == nil {
			return err
		}
		if done == most-1 && failed != nil {
			return failed
		}
		step = next
	}
	return fmt.Errorf("%s: Aiven takes the request, and does not show what was asked for: look at it in the console; %s", step, goesOn)
}

// shows waits until a step that was done is no more to do, which gives nil. Otherwise it gives what is to be done now.
func (a *Apply) shows(ctx context.Context, did *Step, wait time.Duration) (*Step, error) {
	until := a.Client.clock.Now().Add(wait)
	for {
		plan, err := a.plan(ctx, did.Kind)
		if err != nil {
			return nil, err
		}
		step, now := plan.find(did.Name), a.Client.clock.Now()
		switch {
		case step == nil || !step.Action.Todo():
			return nil, nil
		case now.After(a.until):
			return nil, a.late(step.String() + " does not show yet")
		case step.Action != did.Action || now.After(until):
			return step, nil
		}
		if err := a.Client.clock.Sleep(ctx, poll); err != nil {
			return nil, err
		}
	}
}

// find looks in a plan about one kind.
func (p *Plan) find(name string) *Step {
	for _, s := range p.Steps {
		if s.Name == name {
			return s
		}
	}
	return nil
}

func (a *Apply) late(what string) error {
	return fmt.Errorf("%s, and %v are over (--timeout): %s", what, a.Timeout, goesOn)
}

// await waits until all services run, steadily.
func (a *Apply) await(ctx context.Context) error {
	began := a.Client.clock.Now()
	told, toldAt := "", time.Time{}
	for hits := 0; hits < steady; {
		all, text, err := a.running(ctx)
		if err != nil {
			return err
		}
		now := a.Client.clock.Now()
		if text != told || now.Sub(toldAt) >= time.Minute {
			a.Tell(fmt.Sprintf("waiting %v: %s", now.Sub(began).Round(time.Second), text))
			told, toldAt = text, now
		}
		if hits++; !all {
			hits = 0
		}
		if now.After(a.until) {
			return a.late(text)
		}
		if hits < steady {
			if err := a.Client.clock.Sleep(ctx, slowPoll); err != nil {
				return err
			}
		}
	}
	return nil
}

// running says whether all services run, and how each is.
func (a *Apply) running(ctx context.Context) (all bool, text string, err error) {
	all = true
	var line []string
	for _, s := range a.Want.Services {
		out, err := a.Client.services.ServiceGet(ctx, a.Client.Project, s.Name)
		if err != nil && !isNotFound(err) {
			return false, "", a.Client.about(err, "service "+s.Name)
		}
		state := "not shown yet"
		if err == nil {
			state = stateOf(out)
		}
		if err == nil && out.State == service.ServiceStateTypePoweroff && s.Existing {
			return false, "", fmt.Errorf("service %s is powered off: turn it on at the console; %s", s.Name, goesOn)
		}
		all = all && err == nil && out.State == service.ServiceStateTypeRunning
		line = append(line, s.Name+" "+state)
	}
	return all, strings.Join(line, ", "), nil
}

// stateOf gives RUNNING, or REBUILDING (1 of 3 nodes run).
func stateOf(s *service.ServiceGetOut) string {
	if s.State == service.ServiceStateTypeRunning || len(s.NodeStates) == 0 {
		return string(s.State)
	}
	running := 0
	for _, n := range s.NodeStates {
		if n.State == service.NodeStateTypeRunning {
			running++
		}
	}
	return fmt.Sprintf("%s (%d of %d nodes run)", s.State, running, len(s.NodeStates))
}

// finish waits for the services, looks once more and leaves the mark by which drift is told from change.
func (a *Apply) finish(ctx context.Context) error {
	if err := a.await(ctx); err != nil {
		return err
	}
	plan, err := a.plan(ctx, everything)
	if err != nil {
		return err
	}
	if n := plan.Todo(); n > 0 {
		return fmt.Errorf("%d of the resources are not as wanted, though each was: somebody else is changing them; %s", n, goesOn)
	}
	name := a.Want.marked()
	if plan.mark || name == "" {
		return nil
	}
	if err := a.Client.tag(ctx, name, tagApplied, a.Want.Mark()); err != nil {
		return err
	}
	for until := a.Client.clock.Now().Add(patience); !plan.mark && a.Client.clock.Now().Before(until); {
		if plan, err = a.plan(ctx, serviceKind); err != nil {
			return err
		}
		if err := a.Client.clock.Sleep(ctx, poll); err != nil {
			return err
		}
	}
	return nil
}
