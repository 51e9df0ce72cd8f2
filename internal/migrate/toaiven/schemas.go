package toaiven

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/aiven"
)

// Schemas are the subjects of the registries of all clusters that flows to the Kafka service come from.
func Schemas(ctx context.Context, cfg *config.Config) ([]aiven.Subject, error) {
	var out []aiven.Subject
	read, some := map[string]bool{}, ""
	for _, f := range cfg.Flows {
		from := cfg.Clusters[f.Source]
		if f.Target != cfg.Aiven.Cluster || read[f.Source] {
			continue
		}
		some = f.Source
		if from.SchemaRegistry.URL == "" {
			continue
		}
		read[f.Source] = true
		subjects, err := registry(ctx, from.SchemaRegistry)
		if err != nil {
			return nil, fmt.Errorf("schema registry of cluster %s: %w", f.Source, err)
		}
		out = append(out, subjects...)
	}
	if len(read) == 0 {
		return nil, cfg.ErrorAt([]string{"clusters", some, "schema_registry"}, "", "is missing: it says where the schemas come from")
	}
	return out, nil
}

// registry reads all that a registry shows.
func registry(ctx context.Context, at config.Registry) ([]aiven.Subject, error) {
	opts := []sr.ClientOpt{sr.URLs(at.URL), sr.HTTPClient(&http.Client{Timeout: time.Minute})}
	if at.Username != "" {
		opts = append(opts, sr.BasicAuth(at.Username, at.Password.Reveal()))
	}
	cl, err := sr.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	names, err := cl.Subjects(ctx)
	if err != nil {
		return nil, err
	}
	var out []aiven.Subject
	for _, name := range names {
		if strings.HasPrefix(name, ":") {
			return nil, fmt.Errorf("subject %q is in a context of its own, which Aiven's registry does not have: move it to the default one first", name)
		}
		s := aiven.Subject{Name: name}
		versions, err := cl.Schemas(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, v := range versions {
			one := aiven.Schema{Version: v.Version, ID: v.ID, Type: v.Type.String(), Text: v.Schema.Schema}
			for _, r := range v.References {
				one.References = append(one.References, aiven.Reference{Name: r.Name, Subject: r.Subject, Version: r.Version})
			}
			s.Versions = append(s.Versions, one)
		}
		// Some registries give their own level, unless told not to.
		level := cl.Compatibility(sr.WithParams(ctx, sr.RawParams(url.Values{"defaultToGlobal": {"false"}})), name)[0]
		var refused *sr.ResponseError
		switch {
		case level.Err == nil:
			s.Compatibility = level.Level.String()
		case !errors.As(level.Err, &refused) || refused.StatusCode != http.StatusNotFound: // which means that it has none of its own
			return nil, level.Err
		}
		out = append(out, s)
	}
	return out, nil
}
