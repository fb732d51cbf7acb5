package live

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
)

// traffic looks at every answer of the API on its way.
type traffic struct {
	next http.RoundTripper

	mu    sync.Mutex
	seen  []exchange
	found map[contract.Stranger]bool
	times map[string]bool // how times are written, each digit as a 9
}

// exchange is what an answer said beside its body.
type exchange struct {
	operation chats.Operation
	status    int
	header    http.Header
}

func newTraffic(next http.RoundTripper) *traffic {
	return &traffic{next: next, found: map[contract.Stranger]bool{}, times: map[string]bool{}}
}

// RoundTrip implements [http.RoundTripper].
func (t *traffic) RoundTrip(req *http.Request) (*http.Response, error) {
	op, isAPI := chats.OperationFromContext(req.Context())
	resp, err := t.next.RoundTrip(req)
	if err != nil || !isAPI {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	t.note(op, req, resp, body)
	return resp, nil
}

var (
	timeField = regexp.MustCompile(`"(?:createdAt|updatedAt)"\s*:\s*"([^"]*)"`)
	digit     = regexp.MustCompile(`\d`)
	timeShape = regexp.MustCompile(`^[9TZ:.+-]*$`)
)

func (t *traffic) note(op chats.Operation, req *http.Request, resp *http.Response, body []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen = append(t.seen, exchange{op, resp.StatusCode, resp.Header})
	for _, s := range contract.Strangers(req, resp.StatusCode, body) {
		t.found[s] = true
	}
	for _, match := range timeField.FindAllSubmatch(body, -1) {
		if shape := digit.ReplaceAllString(string(match[1]), "9"); timeShape.MatchString(shape) {
			t.times[shape] = true
		}
	}
}

func (t *traffic) strangers() []contract.Stranger {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.SortedFunc(maps.Keys(t.found), func(a, b contract.Stranger) int {
		return strings.Compare(a.String(), b.String())
	})
}

func (t *traffic) exchanges() []exchange {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.seen)
}

func (t *traffic) answers() string { return fmt.Sprintf("%d answers", len(t.exchanges())) }

func (t *traffic) timeShapes() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Keys(t.times)), ", ")
}
