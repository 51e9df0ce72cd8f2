package main

import (
	"fmt"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"
)

// spot is one offset of one partition, as flags name it.
type spot struct {
	flow, topic string // flow "": any
	partition   int32
	offset      int64
}

// flags adds those that say where; topic and offset are what the help calls these two.
func (s *spot) flags(cmd *cobra.Command, topic, offset string) {
	f := cmd.Flags()
	f.StringVar(&s.flow, "flow", "", "`name` of the flow; needed where several carry the topic")
	f.StringVar(&s.topic, "topic", "", "`name` of the topic "+topic)
	f.Int32Var(&s.partition, "partition", 0, "partition, `N` from 0 on")
	f.Int64Var(&s.offset, "offset", 0, offset+", `N` from 0 on")
}

// check refuses numbers that no record has.
func (s *spot) check() error {
	switch {
	case s.partition < 0:
		return usageError{fmt.Errorf("--partition %d: must be 0 or above", s.partition)}
	case s.offset < 0:
		return usageError{fmt.Errorf("--offset %d: must be 0 or above", s.offset)}
	}
	return nil
}

// query asks a daemon about it.
func (s *spot) query() url.Values {
	q := url.Values{"topic": {s.topic}, "partition": {strconv.Itoa(int(s.partition))}, "offset": {strconv.FormatInt(s.offset, 10)}}
	if s.flow != "" {
		q.Set("flow", s.flow)
	}
	return q
}
