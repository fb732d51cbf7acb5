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

// traffic is a transport that records every response of the API.
type traffic struct {
	next http.RoundTripper

	mu    sync.Mutex
	seen  []exchange
	found map[contract.Unknown]bool
	times map[string]bool // the formats of times, with each digit replaced by 9
}

// exchange is a response without its body.
type exchange struct {
	operation chats.Operation
	status    int
	header    http.Header
}

func newTraffic(next http.RoundTripper) *traffic {
	return &traffic{next: next, found: map[contract.Unknown]bool{}, times: map[string]bool{}}
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
	t.record(op, req, resp, body)
	return resp, nil
}

var (
	timeField = regexp.MustCompile(`"(?:createdAt|updatedAt)"\s*:\s*"([^"]*)"`)
	digit     = regexp.MustCompile(`\d`)
	timeShape = regexp.MustCompile(`^[9TZ:.+-]*$`)
)

func (t *traffic) record(op chats.Operation, req *http.Request, resp *http.Response, body []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen = append(t.seen, exchange{op, resp.StatusCode, resp.Header})
	for _, u := range contract.Unknowns(req, resp.StatusCode, body) {
		t.found[u] = true
	}
	for _, match := range timeField.FindAllSubmatch(body, -1) {
		if shape := digit.ReplaceAllString(string(match[1]), "9"); timeShape.MatchString(shape) {
			t.times[shape] = true
		}
	}
}

func (t *traffic) unknowns() []contract.Unknown {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.SortedFunc(maps.Keys(t.found), func(a, b contract.Unknown) int {
		return strings.Compare(a.String(), b.String())
	})
}

func (t *traffic) exchanges() []exchange {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.seen)
}

func (t *traffic) size() string { return fmt.Sprintf("%d responses", len(t.exchanges())) }

func (t *traffic) timeShapes() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Keys(t.times)), ", ")
}
