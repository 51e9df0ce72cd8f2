package acceptance

import (
	"testing"
	"time"

	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/datagen"
)

// codecs are all that Kafka has, and how many records of 1 KB each is tried with.
var codecs = []struct {
	codec          datagen.Codec
	short, release int64
}{
	{datagen.Zstd, 30_000, 2_000_000},
	{datagen.None, 8_000, 500_000},
	{datagen.Gzip, 8_000, 500_000},
	{datagen.Snappy, 8_000, 500_000},
	{datagen.LZ4, 8_000, 500_000},
}

// Every record arrives once, in order, in its partition and unchanged, whatever the codec: those that were there before,
// and those that come while kferry runs.
func TestCodecs(t *testing.T) {
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			p := newPair(t, version)
			for _, c := range codecs {
				t.Run(string(c.codec), func(t *testing.T) {
					p := &pair{t: t, name: p.name, source: p.source, target: p.target}
					carryCodec(t, p, c.codec, size(c.short, c.release))
				})
			}
		})
	}
}

func carryCodec(t *testing.T, p *pair, codec datagen.Codec, records int64) {
	topic := p.topic(string(codec))
	p.source.CreateTopic(t, topic, 6, nil)
	o := datagen.Options{Topic: topic, Records: records * 9 / 10, Codec: codec, Size: 1024, Seed: 1}
	before := p.generate(t.Context(), o).Records

	s := p.settings()
	flowOf(s)["topics"] = []string{topic}
	f := p.run(s)
	p.arrived(f, topic, before)
	t.Logf("%d records in %v, %d/s, start of the process included", before, time.Since(f.Began).Round(time.Millisecond), rate(before, f.Began))

	o.Records, o.Seed = records-before, 2
	p.generate(t.Context(), o)
	p.arrived(f, topic, records)
	f.Stop()
	p.same(check.Options{Topic: topic})
}
