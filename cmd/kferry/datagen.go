package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/datagen"
	"github.com/kferry/kferry/internal/kafka"
)

type datagenOptions struct {
	config, cluster string
	subject, codec  string
	configs         map[string]string
	gen             datagen.Options
}

func newDatagenCommand() *cobra.Command {
	var o datagenOptions
	cmd := &cobra.Command{
		Use:   "datagen --cluster NAME --topic TOPIC",
		Short: "Write made-up records to a topic, for trying things out",
		Long: `Write realistic JSON records with keys, headers and timestamps to a topic of a
cluster of the configuration: orders of a pizza delivery, clicks on its web
shop, or measurements in its kitchens. The same --seed gives the same records.

It writes to the cluster that you name. With --records 0 it goes on until it is
stopped, and then says what it has written.

--batch N makes batches of exactly N records (the last one of a partition or
transaction may have fewer). --batch 1 is the hardest load for a replicator.
--transactional writes in transactions; --abort-ratio aborts some of them.

Exit codes: 0 written, or stopped as asked; 1 unexpected; 2 wrong use;
3 configuration invalid; 4 the cluster refuses for good; 5 stopped by force.`,
		Example: `  kferry datagen --cluster old --topic pizza-orders --rate 100
  kferry datagen --cluster old --topic load --create-topic --partitions 6 \
      --records 2000000 --size 1024 --codec zstd
  kferry datagen --cluster old --topic txn --records 50000 --transactional --abort-ratio 0.3`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(o.config, loadOptions(cmd))
			if err != nil {
				return err
			}
			return o.run(cmd.Context(), processOf(cmd), cfg)
		},
	}
	configFlag(cmd, &o.config)
	o.flags(cmd.Flags())
	for _, required := range []string{"cluster", "topic"} {
		if err := cmd.MarkFlagRequired(required); err != nil {
			panic(err)
		}
	}
	return cmd
}

func (o *datagenOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.cluster, "cluster", "", "`alias` of the cluster to write to")
	f.StringVar(&o.gen.Topic, "topic", "", "`topic` to write to")
	f.Int64Var(&o.gen.Records, "records", 0, "how many records; 0 = endless")
	f.Float64Var(&o.gen.Rate, "rate", 100, "records a second; 0 = as fast as possible")
	f.StringVar(&o.subject, "subject", "pizza", "pizza, clicks or metrics")
	f.StringVar(&o.codec, "codec", "none", "none, gzip, snappy, lz4 or zstd")
	f.IntVar(&o.gen.Batch, "batch", 0, "records in each batch, exactly; 0 = what comes within 20 ms, at most 1000 or 512 KiB")
	f.IntVar(&o.gen.Size, "size", 0, "pad or cut values to about so many `bytes`; 0 = as they come")
	f.Uint64Var(&o.gen.Seed, "seed", 1, "the same seed gives the same records")
	f.BoolVar(&o.gen.Transactional, "transactional", false, "write in transactions")
	f.IntVar(&o.gen.TxnRecords, "txn-records", 100, "records in a transaction")
	f.Float64Var(&o.gen.AbortRatio, "abort-ratio", 0, "share of the transactions that abort, 0 to 1")
	f.BoolVar(&o.gen.CreateTopic, "create-topic", false, "create the topic when it is missing")
	f.Int32Var(&o.gen.Partitions, "partitions", 0, "of a created topic; 0 = the broker's default")
	f.Int16Var(&o.gen.ReplicationFactor, "replication-factor", 0, "of a created topic; 0 = the broker's default")
	f.StringToStringVar(&o.configs, "topic-config", nil, "settings of a created topic, `name=value`")
}

func (o datagenOptions) run(ctx context.Context, p *process, cfg *config.Config) error {
	cc, ok := cfg.Clusters[o.cluster]
	if !ok {
		return usageError{fmt.Errorf("--cluster %q: the configuration has %s", o.cluster,
			strings.Join(slices.Sorted(maps.Keys(cfg.Clusters)), ", "))}
	}
	log, err := newLogger(p.stderr, cfg.Log)
	if err != nil {
		return err
	}
	c, err := kafka.Open(cc, kafka.Options{Logger: log})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Ping(ctx); err != nil {
		return err
	}
	o.gen.Subject, o.gen.Codec = datagen.Subject(o.subject), datagen.Codec(o.codec)
	o.gen.TopicConfigs = map[string]*string{}
	for k, v := range o.configs {
		o.gen.TopicConfigs[k] = &v
	}
	if _, tty := terminal(p.stderr); tty {
		o.gen.Progress = func(st datagen.Stats) { fmt.Fprintf(p.stderr, "\r\x1b[K%s", written(st)) }
		defer fmt.Fprintln(p.stderr)
	}
	st, err := datagen.Run(ctx, c, o.gen)
	if errors.Is(err, datagen.ErrOptions) {
		return usageError{err}
	}
	if err != nil {
		return fmt.Errorf("after %s: %w", written(st), err)
	}
	return o.report(p.stdout, st)
}

func (o datagenOptions) report(w io.Writer, st datagen.Stats) error {
	_, err := fmt.Fprintf(w, "%s to %s on %s\n", written(st), o.gen.Topic, o.cluster)
	return err
}

// written is what was written, on one line.
func written(st datagen.Stats) string {
	s := fmt.Sprintf("%s records, %s in %s batches", thousands(st.Records), byteSize(st.Bytes), thousands(st.Batches))
	if st.Aborted > 0 {
		s += fmt.Sprintf(", and %s aborted", thousands(st.Aborted))
	}
	if sec := st.Elapsed.Seconds(); sec > 0 {
		s += fmt.Sprintf(", in %s, %s/s", st.Elapsed.Round(100*time.Millisecond), thousands(int64(float64(st.Records+st.Aborted)/sec)))
	}
	return s
}
