package aiven

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Destroy takes away what kferry made.
type Destroy struct {
	Client     *Client
	Want       *Want
	DeleteData bool // the Kafka service as well, with all its records
	Timeout    time.Duration
	Tell       func(line string)
}

// Doomed is one thing that would go, or why it stays.
type Doomed struct {
	Kind  string `json:"kind"`
	Name  string `json:"name"`
	Stays string `json:"stays,omitempty"` // why; "" = it goes
	id    string // of an endpoint
}

// List gives what would go and what would stay, in order, and changes nothing.
func (d *Destroy) List(ctx context.Context) ([]Doomed, error) {
	h, err := d.Client.look(ctx, d.Want, everything)
	if err != nil {
		return nil, err
	}
	var out []Doomed
	mirrorStays := ""
	for i := len(d.Want.Services) - 1; i >= 0; i-- { // MirrorMaker 2 first
		s := &d.Want.Services[i]
		have := h.services[s.Name]
		if have == nil {
			continue
		}
		stays := ""
		switch {
		case s.Existing || !made(have):
			stays = "kferry did not make it"
		case s.Type == kafkaType && !d.DeleteData:
			stays = "it has the data: --delete-data takes it away with all its records"
		case have.TerminationProtection:
			stays = fmt.Sprintf("it is protected against termination: set termination_protection: false in %s and apply, then it may go", s.Key)
		}
		if s.Type == mirrorType {
			mirrorStays = stays
			out = append(out, d.inside(h, stays)...)
		}
		out = append(out, Doomed{Kind: serviceKind, Name: s.Name, Stays: stays})
		if s.Type == mirrorType {
			out = append(out, d.endpoints(h, mirrorStays)...)
		}
	}
	if len(d.Want.Services) == 2 && h.services[d.Want.Services[1].Name] == nil {
		out = append(d.endpoints(h, ""), out...)
	}
	return out, nil
}

// inside lists what goes with a MirrorMaker 2 service, also what the configuration does not mention.
func (d *Destroy) inside(h *Have, stays string) (out []Doomed) {
	for _, f := range h.flows {
		out = append(out, Doomed{Kind: flowKind, Name: d.Client.clean(f.SourceCluster + " -> " + f.TargetCluster), Stays: stays})
	}
	for _, i := range h.integrations {
		alias, _ := i.UserConfig["cluster_alias"].(string)
		out = append(out, Doomed{Kind: integrationKind, Name: d.Client.clean(alias), Stays: stays})
	}
	return out
}

func (d *Destroy) endpoints(h *Have, stays string) (out []Doomed) {
	for _, e := range d.Want.Endpoints {
		if have, ok := h.endpoints[e.Name]; ok {
			out = append(out, Doomed{Kind: endpointKind, Name: e.Name, Stays: stays, id: have.id})
		}
	}
	return out
}

// Run takes away what List says. It may be interrupted and run again.
func (d *Destroy) Run(ctx context.Context) error {
	doomed, err := d.List(ctx)
	if err != nil {
		return err
	}
	until := d.Client.clock.Now().Add(d.Timeout)
	for _, one := range doomed {
		if one.Stays != "" || one.Kind != serviceKind && one.Kind != endpointKind {
			continue // flows and integrations go with their service
		}
		d.Tell(fmt.Sprintf("%s %s: delete", one.Kind, one.Name))
		for {
			gone, err := d.delete(ctx, one)
			if err != nil {
				return d.Client.about(err, one.Kind+" "+one.Name)
			}
			if gone {
				break
			}
			if d.Client.clock.Now().After(until) {
				return fmt.Errorf("%s %s is still there, and %v are over (--timeout): %s", one.Kind, one.Name, d.Timeout, goesOn)
			}
			if err := d.Client.clock.Sleep(ctx, poll); err != nil {
				return err
			}
		}
	}
	return nil
}

// delete asks for something to go, and says whether it is gone.
func (d *Destroy) delete(ctx context.Context, one Doomed) (gone bool, err error) {
	c := d.Client
	if one.Kind == endpointKind {
		err = c.services.ServiceIntegrationEndpointDelete(ctx, c.Project, one.id)
		if statusOf(err) == http.StatusConflict {
			return false, nil // its integration is not gone everywhere
		}
		return err == nil || isNotFound(err), ignore(err)
	}
	err = c.services.ServiceDelete(ctx, c.Project, one.Name)
	return isNotFound(err), ignore(err)
}

// ignore leaves out that something is not there.
func ignore(err error) error {
	if isNotFound(err) {
		return nil
	}
	return err
}
