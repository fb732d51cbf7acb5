package chats_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
)

// randomServer is a server of one chat's history with a stable order of its own, and any of
// the oddities that History promises to cope with. Its clock moves with its requests.
type randomServer struct {
	r   *rand.Rand
	raw []int // the IDs in the server's order, oldest first; 0 is an item without a readable ID
	now time.Time

	created    map[int]time.Time
	newest     bool // the newest are listed first
	pagesSwap  bool // but each page is ascending
	byOffset   bool // the token is a position from the beginning of the list, which arrivals move
	exclusive  bool
	strict     bool
	maxPage    int
	duplicates int           // items of the page before that a page repeats
	arrivals   int           // bounds the arrivals before a request
	gap        int           // bounds the milliseconds between two messages
	expires    float64       // share of the page tokens that have expired
	odd        bool          // odd forms of items
	layout     string        // of createdAt
	ahead      time.Duration // the Date, of createdAt
	replays    float64       // share of the requests that get the response before again
	last       string
}

const toMinutes = "2006-01-02T15:04:00Z07:00"

// newRandomServer returns a server whose messages are displaced by fewer positions than a
// page has, or, if wild, by any number.
func newRandomServer(r *rand.Rand, wild bool) *randomServer {
	s := &randomServer{
		r: r, now: time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC), created: map[int]time.Time{},
		newest: r.IntN(3) > 0, pagesSwap: r.IntN(2) == 0, byOffset: r.IntN(2) == 0, exclusive: r.IntN(2) == 0, strict: r.IntN(4) == 0,
		maxPage: []int{100, 50, 20, 10, 10, 10}[r.IntN(6)], duplicates: r.IntN(3), arrivals: []int{0, 0, 3, 40}[r.IntN(4)],
		gap: []int{1, 50, 2000}[r.IntN(3)], expires: []float64{0, 0, 0.1, 0.5}[r.IntN(4)], odd: r.IntN(3) == 0, replays: []float64{0, 0, 0.1}[r.IntN(3)],
		layout: []string{time.RFC3339, time.RFC3339, time.RFC3339Nano, toMinutes, time.DateOnly}[r.IntN(5)], ahead: time.Duration(r.IntN(9)-4) * time.Minute,
	}
	s.add(r.IntN(8 * s.maxPage))
	s.now = s.now.Add(time.Duration(r.IntN(3)) * time.Hour)
	window := []int{1, 2, s.maxPage - s.duplicates}[r.IntN(3)]
	if wild {
		window, s.newest, s.expires, s.arrivals = 4*s.maxPage, false, 0, 0
	}
	s.displace(window)
	return s
}

func (s *randomServer) add(n int) {
	for range n {
		id := len(s.created)*3 + 1 + s.r.IntN(3)
		s.raw, s.created[id] = append(s.raw, id), s.now
		if s.odd && s.r.IntN(8) == 0 {
			s.raw = append(s.raw, 0)
		}
		s.now = s.now.Add(time.Duration(s.r.IntN(s.gap)) * time.Millisecond)
	}
}

// displace moves each item by fewer than window positions.
func (s *randomServer) displace(window int) {
	type keyed struct{ id, key int }
	items := make([]keyed, len(s.raw))
	for i, id := range s.raw {
		items[i] = keyed{id, i + s.r.IntN(max(window, 1))}
	}
	slices.SortStableFunc(items, func(a, b keyed) int { return a.key - b.key })
	for i, item := range items {
		s.raw[i] = item.id
	}
}

func (s *randomServer) quiet() { s.arrivals, s.expires, s.replays = 0, 0, 0 }

func (s *randomServer) ids(since chats.MessageID) []chats.MessageID {
	ids := []chats.MessageID{}
	for id := range s.created {
		if chats.MessageID(id) > since {
			ids = append(ids, chats.MessageID(id))
		}
	}
	slices.Sort(ids)
	return ids
}

func (s *randomServer) RoundTrip(req *http.Request) (*http.Response, error) {
	since, token := sinceOf(req), req.URL.Query().Get("pageToken")
	if token != "" && s.r.Float64() < s.replays {
		return s.respond(req, http.StatusOK, s.last), nil
	}
	s.now = s.now.Add(time.Duration(s.r.IntN(2*s.gap)) * time.Millisecond)
	if n := len(s.created); s.arrivals > 0 && n < 1000 { // or reading would never catch up
		s.add(s.r.IntN(s.arrivals))
	}
	limit, _ := strconv.Atoi(req.URL.Query().Get("limit"))
	_, exists := s.created[since]
	switch {
	case limit > s.maxPage:
		return s.respond(req, http.StatusBadRequest, envelope), nil
	case s.strict && since > 0 && !exists:
		return s.respond(req, http.StatusNotFound, envelope), nil
	case token != "" && s.r.Float64() < s.expires:
		return s.respond(req, http.StatusBadRequest, envelope), nil
	}
	s.last = s.page(since, limit, token)
	return s.respond(req, http.StatusOK, s.last), nil
}

func (s *randomServer) respond(req *http.Request, status int, body string) *http.Response {
	resp := respond(req, status, body)
	resp.Header.Set("Date", s.now.Add(s.ahead).UTC().Format(http.TimeFormat))
	return resp
}

func (s *randomServer) page(since, limit int, token string) string {
	list := slices.DeleteFunc(slices.Clone(s.raw), func(id int) bool {
		return id > 0 && (id < since || s.exclusive && id == since)
	})
	if s.newest {
		slices.Reverse(list)
	}
	from := s.position(token, list)
	to := min(from+limit, len(list))
	page := slices.Clone(list[from:to])
	if s.newest && s.pagesSwap {
		slices.Reverse(page)
	}
	next := ""
	if to < len(list) {
		next = s.token(max(to-s.duplicates, from+1), list)
	}
	items := make([]string, len(page))
	for i, id := range page {
		items[i] = s.item(id)
	}
	return `{"status":"OK","result":{"messages":[` + strings.Join(items, ",") + `],"paging":{"nextPageToken":"` + next + `"}}}`
}

// A token is a position from the beginning or, if arrivals are not to move it, from the end
// at which they do not arrive.
func (s *randomServer) token(position int, list []int) string {
	if s.newest && !s.byOffset {
		position -= len(list)
	}
	return strconv.Itoa(position)
}

func (s *randomServer) position(token string, list []int) int {
	position, _ := strconv.Atoi(token)
	if position < 0 {
		position += len(list)
	}
	return min(position, len(list))
}

func (s *randomServer) item(id int) string {
	if id == 0 {
		return []string{`null`, `{}`, `{"messageId":{}}`, `5`}[s.r.IntN(4)]
	}
	created := strconv.Quote(s.created[id].Format(s.layout))
	text := strconv.Itoa(id)
	if s.odd {
		switch id % 5 {
		case 0:
			text = `"` + text + `"`
		case 1:
			created = s.created[id].Format(`"2006-01-02 15:04:05"`)
		case 2:
			created = `null`
		}
	}
	return `{"messageId":` + text + `,"createdAt":` + created + `}`
}

// reading is a program that reads the history, resumes after errors as the documentation
// says, and now and then stops by itself.
type reading struct {
	client *chats.Client
	got    []chats.MessageID
	last   chats.MessageID
}

// run reads until the end, an error or after stop messages, and reports whether it came to
// the end.
func (p *reading) run(tb testing.TB, stop int) bool {
	tb.Helper()
	last := p.last
	for message, err := range p.client.History(tb.Context(), 1, p.last) {
		if err != nil {
			p.resume(tb, err)
			return false
		}
		if message.ID <= last {
			tb.Fatalf("%d after %d", message.ID, last)
		}
		last = message.ID
		p.got, p.last = append(p.got, last), last
		if stop--; stop == 0 {
			return false
		}
	}
	return true
}

func (p *reading) resume(tb testing.TB, err error) {
	tb.Helper()
	var e *chats.Error
	switch {
	case !errors.As(err, &e):
		tb.Fatal(err)
	case e.ResumeAfter != nil:
		p.last = *e.ResumeAfter
		p.got = slices.DeleteFunc(p.got, func(id chats.MessageID) bool { return id > p.last })
	case e.StatusCode != http.StatusBadRequest && !errors.Is(err, chats.ErrProtocol):
		tb.Fatal(err)
	}
}

// Arrivals that fill a page or more are not taken for proof that the oldest come first,
// however inexact the times are.
func TestHistory_InexactTimesAreNoProofOfTheOrder(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		layout string
		ahead  time.Duration // the Date
		slow   time.Duration // createdAt, of both clocks
	}{
		"the Date is ahead":             {layout: time.RFC3339, ahead: time.Hour},
		"the Date is behind":            {layout: time.RFC3339, ahead: -time.Hour},
		"createdAt is behind":           {layout: time.RFC3339, slow: 4 * time.Minute},
		"createdAt is exact to minutes": {layout: toMinutes},
		"createdAt is a day":            {layout: time.DateOnly},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				for seed := range uint64(20) {
					server := &randomServer{
						r: rand.New(rand.NewPCG(seed, 0)), now: time.Now(), created: map[int]time.Time{},
						newest: true, pagesSwap: true, byOffset: true, maxPage: 100, gap: 50, layout: tt.layout, ahead: tt.ahead + tt.slow,
					}
					server.add(250)
					time.Sleep(time.Hour)
					server.now, server.arrivals = time.Now().Add(-tt.slow), 1000
					client, err := chats.New(1, chats.APIKey("key"), noRetry, chats.WithHTTPClient(&http.Client{Transport: server}))
					require.NoError(t, err)
					before := server.ids(0)
					for message, err := range client.History(t.Context(), 1, 0) {
						require.NoError(t, err, "seed %d", seed)
						require.Equal(t, before[0], message.ID, "seed %d: everything up to a message is yielded before it", seed)
						break
					}
				}
			})
		})
	}
}

// FuzzHistoryPages reads the history of a random server. What is yielded is ascending, once
// and complete, or the error names an ID from which resuming completes it.
func FuzzHistoryPages(f *testing.F) {
	for seed := range uint64(300) {
		f.Add(seed, seed%4 == 0)
	}
	f.Fuzz(func(t *testing.T, seed uint64, wild bool) {
		r := rand.New(rand.NewPCG(seed, 0))
		server := newRandomServer(r, wild)
		client, err := chats.New(1, chats.APIKey("key"), noRetry, chats.WithHTTPClient(&http.Client{Transport: server}))
		if err != nil {
			t.Fatal(err)
		}
		program := &reading{client: client}
		ended := false
		for range 8 {
			stop := -1
			if !wild && r.IntN(3) == 0 { // a window of more than a page may be stopped in only by an error
				stop = 1 + r.IntN(3*server.maxPage)
			}
			before := server.ids(0)
			if program.run(t, stop) {
				ended = true
				checkComplete(t, server, before, program.got)
			}
		}
		server.quiet()
		for n := 0; !program.run(t, -1); n++ {
			if n > 20 {
				t.Fatalf("the history cannot be read to its end: %+v", server)
			}
		}
		if want := server.ids(0); !slices.Equal(want, program.got) {
			t.Fatalf("ended before: %t; want %d, got %d; missing %v", ended, len(want), len(program.got), difference(want, program.got))
		}
	})
}

// checkComplete checks that a reading has all messages that were there before it.
func checkComplete(t *testing.T, s *randomServer, before, got []chats.MessageID) {
	t.Helper()
	if missing := difference(before, got); len(missing) > 0 {
		t.Fatalf("missing %v of %d: %s", missing, len(before), fmt.Sprintf("%+v", *s))
	}
}

func difference(want, got []chats.MessageID) (missing []chats.MessageID) {
	for _, id := range want {
		if _, found := slices.BinarySearch(got, id); !found {
			missing = append(missing, id)
		}
	}
	return missing
}
