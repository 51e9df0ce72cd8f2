package fake

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// noted keeps what would fail a test.
type noted struct {
	testing.TB
	errors int
}

func (n *noted) Errorf(string, ...any) { n.errors++ }

func send(t *testing.T, s *Server, method, path, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+"/v1/project/"+Project+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "aivenv1 "+Token)
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = rsp.Body.Close()
	return rsp.StatusCode
}

// What the document does not allow is refused and fails the test.
func TestRequestsAreHeldAgainstTheDocument(t *testing.T) {
	n := &noted{TB: t}
	s := New(n)
	for body, wrong := range map[string]bool{
		`{"service_name":"k","service_type":"kafka","plan":"business-4","cloud":"google-europe-west1","project_vpc_id":null}`: false,
		`{"service_name":"k","service_type":"kafka"}`:                                              true,
		`{"service_name":"k","service_type":"kafka","plan":"business-4","clout":"x"}`:              true,
		`{"service_name":"k","service_type":"kafka","plan":"business-4","project_vpc_id":"short"}`: true,
	} {
		n.errors = 0
		if status := send(t, s, http.MethodPost, "/service", body); (status == http.StatusBadRequest) != wrong || (n.errors > 0) != wrong {
			t.Errorf("%s: %d, %d errors", body, status, n.errors)
		}
	}
	// Its own answers are held against it, too.
	s.Edit("k", func(v *Service) { v.VPC = "short" })
	_ = s.Clock.Sleep(t.Context(), time.Minute)
	n.errors = 0
	if send(t, s, http.MethodGet, "/service/k", ""); n.errors == 0 {
		t.Error("a wrong answer went unnoticed")
	}
}
