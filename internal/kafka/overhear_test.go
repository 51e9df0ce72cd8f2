package kafka

import (
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What the group answers is told, whatever its code is, at each version of the protocol, through
// a login as well.
func TestOverhear(t *testing.T) {
	for _, version := range []int16{0, 3, 4} {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			c := fake(t, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "kferry", "pw"))
			c.ControlKey(kmsg.Heartbeat.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				resp := r.ResponseKind().(*kmsg.HeartbeatResponse)
				resp.ErrorCode = kerr.UnknownMemberID.Code
				if r.(*kmsg.HeartbeatRequest).Generation == 1 {
					resp.ErrorCode = 0
				}
				return resp, nil, true
			})
			var mu sync.Mutex
			var codes []int16
			began := time.Now()
			cl := open(t, cluster(c, login("SCRAM-SHA-256", "kferry", "pw")), Options{})
			g, err := cl.Overhear([]kmsg.Key{kmsg.Heartbeat}, func(sent time.Time, answer kmsg.Response) {
				mu.Lock()
				defer mu.Unlock()
				codes = append(codes, answer.(*kmsg.HeartbeatResponse).ErrorCode)
				if sent.Before(began) || sent.After(time.Now()) {
					t.Errorf("sent at %v", sent)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			for generation := range int32(3) {
				req := kmsg.NewPtrHeartbeatRequest()
				req.Group, req.Generation = "g", generation
				if _, err := g.Broker(0).Request(t.Context(), atMost{req, version}); err != nil {
					t.Fatal(err)
				}
				meta := kmsg.NewPtrMetadataRequest() // not meant
				if _, err := g.Broker(0).Request(t.Context(), meta); err != nil {
					t.Fatal(err)
				}
			}
			unknown := kerr.UnknownMemberID.Code
			if want := []int16{unknown, 0, unknown}; !slices.Equal(codes, want) {
				t.Errorf("told %v, want %v", codes, want)
			}
		})
	}
}

// atMost is a request of an old version.
type atMost struct {
	*kmsg.HeartbeatRequest
	version int16
}

func (r atMost) MaxVersion() int16 { return r.version }

// Answers come in any pieces, and some are not Kafka's.
func TestOverhearPieces(t *testing.T) {
	answer := []byte{0, 0, 0, 10, 0, 0, 0, 7, 0, 0, 0, 0, 0, 27} // throttled for 0 ms, error 27
	other := []byte{0, 0, 0, 6, 0, 0, 0, 6, 12, 12}
	for size := 1; size <= 40; size++ {
		for name, tt := range map[string]struct {
			stream []byte
			want   int
		}{
			"whole": {slices.Concat(other, answer, other), 1}, "short": {slices.Concat([]byte{0, 0, 0, 1, 9}, answer), 0},
			"negative": {[]byte{255, 255, 255, 255, 0, 0, 0, 7}, 0}, "nonsense": {[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), 0},
			"cut": {slices.Concat(other, answer[:12]), 0},
		} {
			near, far := net.Pipe()
			told := 0
			c := &overheard{Conn: near, keys: []kmsg.Key{kmsg.Heartbeat}, told: func(_ time.Time, r kmsg.Response) {
				if told++; r.(*kmsg.HeartbeatResponse).ErrorCode != 27 {
					t.Errorf("%+v", r)
				}
			}}
			c.due = []asked{{correlation: 7, key: kmsg.Heartbeat.Int16(), version: 1}}
			go func() {
				for b := tt.stream; len(b) > 0; b = b[min(size, len(b)):] {
					_, _ = far.Write(b[:min(size, len(b))])
				}
				_ = far.Close()
			}()
			got, err := io.ReadAll(c)
			if err != nil || !slices.Equal(got, tt.stream) {
				t.Fatalf("%s: read %v, %v", name, got, err)
			}
			if told != tt.want {
				t.Errorf("%s in pieces of %d: told %d times, want %d", name, size, told, tt.want)
			}
		}
	}
}
