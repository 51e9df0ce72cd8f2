package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/time/rate"
)

// However many people look, records must go on moving: what an answer says is
// true for freshFor, and is made once in that time; only so many are made at once.
const (
	freshFor  = time.Second
	atOnce    = 2
	queueFor  = 5 * time.Second
	keptMost  = 64      // answers to different questions
	packFrom  = 1 << 10 // bytes; less is sent as it is
	queryMost = 2 << 10 // bytes of a query
)

// site answers what is asked about the process.
type site struct {
	source Source
	actor  Actor // nil: actions are off
	token  string
	// attempts to act without the token, of which not each is logged
	strangers rate.Sometimes

	seen struct {
		sync.Mutex
		view *View
		at   time.Time
	}

	mu    sync.Mutex
	kept  map[string]*page
	turns chan struct{} // one token for each page that is being made
}

func newSite(o Options) *site {
	return &site{source: o.Source, actor: o.Actor, token: o.Token, strangers: rate.Sometimes{First: 10, Interval: time.Second},
		kept: map[string]*page{}, turns: make(chan struct{}, atOnce)}
}

// view is the process as it is, or was within freshFor.
func (s *site) view() *View {
	s.seen.Lock()
	defer s.seen.Unlock()
	if now := time.Now(); s.seen.view == nil || now.Sub(s.seen.at) >= freshFor {
		s.seen.view, s.seen.at = s.source.View(), now
	}
	return s.seen.view
}

// page is an answer, once done is closed.
type page struct {
	done chan struct{}
	made time.Time // zero: it is not
	body []byte
	gzip []byte // the same, compressed; nil: not worth it
	err  error
}

var errBusy = errors.New("too many questions at once: ask again in a moment")

// get returns the page of a key, made lately or now.
func (s *site) get(key string, build func() ([]byte, error)) *page {
	s.mu.Lock()
	p := s.kept[key]
	if p != nil && (p.made.IsZero() || time.Since(p.made) < freshFor) {
		s.mu.Unlock()
		<-p.done
		return p
	}
	p = &page{done: make(chan struct{}), err: errBusy} // unless build succeeds
	s.forget()
	if len(s.kept) < keptMost {
		s.kept[key] = p
	}
	s.mu.Unlock()
	defer s.done(key, p) // also if build panics: others wait for it
	p.build(s.turns, build)
	return p
}

// done tells those who wait that the page is made, or will not be.
func (s *site) done(key string, p *page) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.made = time.Now()
	if p.err != nil && s.kept[key] == p {
		delete(s.kept, key)
	}
	close(p.done)
}

// forget drops the pages that are old.
func (s *site) forget() {
	for key, p := range s.kept {
		if !p.made.IsZero() && time.Since(p.made) >= freshFor {
			delete(s.kept, key)
		}
	}
}

// build makes the page when it is its turn.
func (p *page) build(turns chan struct{}, build func() ([]byte, error)) {
	wait := time.NewTimer(queueFor)
	defer wait.Stop()
	select {
	case turns <- struct{}{}:
		defer func() { <-turns }()
	case <-wait.C:
		return
	}
	if p.body, p.err = build(); p.err != nil || len(p.body) < packFrom {
		return
	}
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err == nil {
		_, err = z.Write(p.body)
	}
	if err == nil && z.Close() == nil {
		p.gzip = packed.Bytes()
	}
}

// send writes a page.
func (p *page) send(w http.ResponseWriter, r *http.Request, contentType string) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	body := p.body
	if p.gzip != nil {
		h.Set("Vary", "Accept-Encoding")
		if accepts(r.Header.Get("Accept-Encoding")) {
			h.Set("Content-Encoding", "gzip")
			body = p.gzip
		}
	}
	_, _ = w.Write(body) // a reader that went away
}

// accepts tells whether gzip may be sent.
func accepts(encodings string) bool {
	for e := range strings.SplitSeq(encodings, ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(e), ";")
		if strings.EqualFold(name, "gzip") {
			return strings.Trim(strings.TrimPrefix(strings.TrimSpace(weight), "q="), "0.") != "" || weight == ""
		}
	}
	return false
}

// json answers with what ask returns, kept under key.
func (s *site) json(w http.ResponseWriter, r *http.Request, key string, ask func() any) {
	p := s.get(key, func() ([]byte, error) {
		b, err := json.Marshal(ask())
		return append(b, '\n'), err
	})
	if p.err != nil {
		answer(w, http.StatusServiceUnavailable, Failure{p.err.Error()})
		return
	}
	p.send(w, r, "application/json")
}
