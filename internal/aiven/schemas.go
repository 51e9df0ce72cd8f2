package aiven

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/aiven/go-client-codegen/handler/kafkaschemaregistry"
)

// Subject is what a schema registry has under one name.
type Subject struct {
	Name          string
	Compatibility string // what new versions must fit; "" = the registry's default
	Versions      []Schema
}

// Schema is one version of a subject.
type Schema struct {
	Version, ID int
	Type        string // AVRO, JSON, PROTOBUF
	Text        string
	References  []Reference
}

// Reference is another schema that one is made of.
type Reference struct {
	Name, Subject string
	Version       int
}

// PlanSchemas compares subjects with those of a service's registry. Records carry the ids of their schemas, and Aiven's
// registry gives ids itself, each the next after its highest. So with the ids kept, schemas are registered in the order
// of their ids, and a step is blocked whose schema would get another one; newIDs says that other ids will do.
func (c *Client) PlanSchemas(ctx context.Context, service string, want []Subject, newIDs bool) (*Plan, error) {
	have, err := c.subjects(ctx, service)
	if err != nil {
		return nil, err
	}
	r := &registrar{c: c, service: service, newIDs: newIDs, plan: &Plan{Steps: []*Step{}}, byID: map[int]Schema{}}
	for _, s := range have {
		for _, v := range s.Versions {
			r.byID[v.ID], r.last = v, max(r.last, v.ID)
		}
	}
	type one struct {
		subject Subject
		Schema
	}
	var all []one
	for _, s := range want {
		for _, v := range s.Versions {
			all = append(all, one{s, v})
		}
	}
	slices.SortStableFunc(all, func(a, b one) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Version, b.Version)) })
	for _, o := range all {
		r.version(o.subject.Name, o.Schema, have[o.subject.Name])
	}
	for _, s := range want {
		r.compatibility(s, have[s.Name])
	}
	return r.plan, nil
}

// subjects reads the registry of a service.
func (c *Client) subjects(ctx context.Context, service string) (map[string]Subject, error) {
	names, err := c.schemas.ServiceSchemaRegistrySubjects(ctx, c.Project, service)
	if err != nil {
		return nil, c.about(err, "subjects of "+service)
	}
	out := map[string]Subject{}
	for _, name := range names {
		s := Subject{Name: name}
		versions, err := c.schemas.ServiceSchemaRegistrySubjectVersionsGet(ctx, c.Project, service, name)
		if err != nil {
			return nil, c.about(err, "subject "+name)
		}
		for _, n := range versions {
			v, err := c.schemas.ServiceSchemaRegistrySubjectVersionGet(ctx, c.Project, service, name, n)
			if err != nil {
				return nil, c.about(err, "subject "+name)
			}
			one := Schema{Version: n, ID: v.Id, Type: cmp.Or(string(v.SchemaType), "AVRO"), Text: v.Schema}
			for _, r := range v.References {
				one.References = append(one.References, Reference{r.Name, r.Subject, r.Version})
			}
			s.Versions = append(s.Versions, one)
		}
		level, err := c.schemas.ServiceSchemaRegistrySubjectConfigGet(ctx, c.Project, service, name)
		if err := ignore(err); err != nil { // 404: it has none of its own
			return nil, c.about(err, "subject "+name)
		}
		s.Compatibility = string(level)
		out[name] = s
	}
	return out, nil
}

// A registrar plans what there is to register.
type registrar struct {
	c       *Client
	service string
	newIDs  bool
	plan    *Plan
	byID    map[int]Schema // what the registry has, or will have
	last    int            // the highest id of these
}

// version adds a step for one version of a subject.
func (r *registrar) version(subject string, v Schema, have Subject) {
	at := slices.IndexFunc(have.Versions, func(h Schema) bool { return sameSchema(h, v) })
	s := r.plan.add("schema", fmt.Sprintf("%s version %d", subject, v.Version), at >= 0, func(ctx context.Context) error { return r.register(ctx, subject, v) })
	switch {
	case at >= 0 && have.Versions[at].ID != v.ID && !r.newIDs:
		s.Action, s.Reason = Differs, fmt.Sprintf("its id there is %d, and %d in the source's registry: %s", have.Versions[at].ID, v.ID, otherIDs)
	case at >= 0:
	case r.newIDs, sameSchema(r.byID[v.ID], v): // the same schema under another subject has the same id
	case v.ID != r.last+1:
		s.Action, s.Reason = Blocked, fmt.Sprintf("it would get the id %d, and has %d in the source's registry: %s", r.last+1, v.ID, otherIDs)
	}
	if s.Action == Create {
		s.Fields = []Field{{Name: "id", To: fmt.Sprint(v.ID)}, {Name: "type", To: v.Type}}
		if r.newIDs {
			s.Fields = s.Fields[1:]
		}
		r.byID[v.ID], r.last = v, max(r.last, v.ID)
	}
}

const otherIDs = "records name their schema by its id, so consumers would read them by a wrong one. Carry the topic _schemas with a flow, which keeps ids, or, " +
	"if nobody reads by ids, say --new-ids"

// register adds a version to a subject, and fails if its id is another one.
func (r *registrar) register(ctx context.Context, subject string, v Schema) error {
	in := &kafkaschemaregistry.ServiceSchemaRegistrySubjectVersionPostIn{Schema: v.Text, SchemaType: kafkaschemaregistry.SchemaType(v.Type)}
	if len(v.References) > 0 {
		refs := []kafkaschemaregistry.ReferenceIn{}
		for _, one := range v.References {
			refs = append(refs, kafkaschemaregistry.ReferenceIn{Name: one.Name, Subject: one.Subject, Version: one.Version})
		}
		in.References = &refs
	}
	id, err := r.c.schemas.ServiceSchemaRegistrySubjectVersionPost(ctx, r.c.Project, r.service, subject, in)
	if isUnclear(err) { // a schema that is there keeps its id
		id, err = r.c.schemas.ServiceSchemaRegistrySubjectVersionPost(ctx, r.c.Project, r.service, subject, in)
	}
	if err != nil {
		return r.c.about(err, "subject "+subject)
	}
	if id != v.ID && !r.newIDs {
		return fmt.Errorf("subject %s version %d: it got the id %d, and has %d in the source's registry: %s", subject, v.Version, id, v.ID, otherIDs)
	}
	return nil
}

// compatibility adds a step if a subject has a level of its own.
func (r *registrar) compatibility(s, have Subject) {
	if s.Compatibility == "" {
		return
	}
	step := r.plan.add("schema", s.Name+" compatibility", s.Compatibility == have.Compatibility, func(ctx context.Context) error {
		_, err := r.c.schemas.ServiceSchemaRegistrySubjectConfigPut(ctx, r.c.Project, r.service, s.Name,
			&kafkaschemaregistry.ServiceSchemaRegistrySubjectConfigPutIn{Compatibility: kafkaschemaregistry.CompatibilityType(s.Compatibility)})
		return r.c.about(err, "subject "+s.Name)
	})
	if step.Action == Create {
		step.Fields = []Field{{Name: "compatibility", From: have.Compatibility, To: s.Compatibility}}
	}
}

// sameSchema compares by meaning: Aiven's registry writes schemas anew, with sorted keys.
func sameSchema(a, b Schema) bool {
	if a.Type != b.Type || !slices.Equal(a.References, b.References) {
		return false
	}
	var x, y any
	if json.Unmarshal([]byte(a.Text), &x) != nil || json.Unmarshal([]byte(b.Text), &y) != nil {
		return a.Text == b.Text // Protobuf
	}
	return reflect.DeepEqual(x, y)
}
