package kafka

import (
	"bytes"
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TopicReader asks a cluster for its topics again and again. The answer about ten
// thousand partitions is half a megabyte, and nearly always the one of before: one
// that is the same byte for byte is not decoded. Nor is any kept in kgo's cache of
// metadata, where each costs as much once more. Not safe for concurrent use.
type TopicReader struct {
	cl    *Cluster
	names []string // that were asked for
	last  *topicsAnswer
}

// TopicReader makes a reader that has read nothing yet.
func (c *Cluster) TopicReader() *TopicReader { return &TopicReader{cl: c} }

// Read asks for the topics with these names; nil are all that our user may see.
// Where same is true nothing has changed since the last call, and topics is nil.
func (r *TopicReader) Read(ctx context.Context, names []string) (topics []kmsg.MetadataResponseTopic, same bool, err error) {
	req := topicsRequest{kmsg.NewPtrMetadataRequest()}
	for _, n := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(n)
		req.Topics = append(req.Topics, t)
	}
	resp, err := r.cl.client.Request(ctx, req)
	if err != nil {
		return nil, false, err
	}
	now, last := resp.(*topicsAnswer), r.last
	if last == nil || !bytes.Equal(last.brokers, now.brokers) {
		r.cl.client.ForceMetadataRefresh() // kgo has not seen this answer
	}
	if last != nil && now.Version == last.Version && bytes.Equal(last.topics, now.topics) && slices.Equal(r.names, names) {
		return nil, true, nil
	}
	r.last = nil
	// Whole, and not the topics alone: where they begin is known to the version.
	if err := now.MetadataResponse.ReadFrom(now.whole); err != nil {
		return nil, false, err
	}
	if err := kerr.ErrorForCode(now.ErrorCode); err != nil {
		r.cl.client.ForceMetadataRefresh() // it may have to look for other brokers
		return nil, false, err
	}
	if now.Version < 9 {
		forgetEpochs(now.Topics)
	}
	topics, now.MetadataResponse = now.Topics, &kmsg.MetadataResponse{Version: now.Version}
	r.last, r.names = now, slices.Clone(names)
	return topics, false, nil
}

// forgetEpochs leaves out leader epochs of brokers before 2.4: while partitions
// move these are old ones, and a fetch that names an old one is refused.
func forgetEpochs(topics []kmsg.MetadataResponseTopic) {
	for i := range topics {
		for j := range topics[i].Partitions {
			topics[i].Partitions[j].LeaderEpoch = -1
		}
	}
}

// topicsRequest is a metadata request that kgo does not know as one: it goes to
// any broker, is tried again, and its answer is ours alone.
type topicsRequest struct{ *kmsg.MetadataRequest }

// ResponseKind implements kmsg.Request.
func (r topicsRequest) ResponseKind() kmsg.Response {
	return &topicsAnswer{MetadataResponse: &kmsg.MetadataResponse{Version: r.Version}}
}

// topicsAnswer is an answer of which only the head is decoded. The head differs
// from answer to answer: brokers without ZooKeeper name any of them as controller.
type topicsAnswer struct {
	*kmsg.MetadataResponse
	whole   []byte
	brokers []byte // of whole
	topics  []byte // the same, to the end
}

// ReadFrom implements kmsg.Response.
func (a *topicsAnswer) ReadFrom(src []byte) error {
	b := kbin.Reader{Src: src}
	flexible := a.Version >= 9
	if a.Version >= 3 {
		a.ThrottleMillis = b.Int32()
	}
	from := b.Src
	n := b.ArrayLen
	text := b.NullableString
	if flexible {
		n, text = b.CompactArrayLen, b.CompactNullableString
	}
	for range n() {
		b.Int32() // id
		text()    // host
		b.Int32() // port
		if a.Version >= 1 {
			text() // rack
		}
		if flexible {
			kmsg.SkipTags(&b)
		}
		if !b.Ok() {
			break // the number may be any
		}
	}
	a.whole, a.brokers = src, from[:len(from)-len(b.Src)]
	if a.Version >= 2 {
		text() // cluster id
	}
	if a.Version >= 1 {
		b.Int32() // controller
	}
	a.topics = b.Src
	if !b.Ok() {
		return kbin.ErrNotEnoughData
	}
	return nil
}
