package inbox_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/race"
)

var tableFlag = flag.Bool("table", false, "measure the whole table of docs/inbox.md")

// latency is that of a request.
const latency = 50 * time.Millisecond

// quotas are Market's.
var quotas = map[chats.Operation]int{chats.OpGetChats: 5_000, chats.OpGetChat: 1_000, chats.OpGetChatHistory: 10_000}

// directory is a list of any number of chats: it costs little to list a quarter of a million,
// and the order can be chosen, as Market's is not documented. It counts requests and enforces the
// quotas. Everything but the list comes from a Market, which has the chats that have messages.
type directory struct {
	market      *chatstest.Market
	next        http.RoundTripper
	quotas      map[chats.Operation]int
	recentFirst bool    // else by ID
	others      float64 // the part of each quota that other programs use at the beginning of an hour

	mu       sync.Mutex
	all      []*entry // in the order of the list
	open     []*entry // of them, those that are not finished
	added    map[chats.ChatID]bool
	window   time.Time
	used     map[chats.Operation]int
	requests map[chats.Operation]int
}

type entry struct {
	id       chats.ChatID
	created  time.Time
	updated  time.Time
	finished bool
}

// newDirectory has n chats, one in ten of them not finished.
func newDirectory(n int) *directory {
	d := &directory{
		market: chatstest.NewMarket(chatstest.WithLatency(latency)), quotas: maps.Clone(quotas),
		added: map[chats.ChatID]bool{}, used: map[chats.Operation]int{}, requests: map[chats.Operation]int{},
	}
	d.next = d.market.Transport()
	at := longAgo().UpdatedAt
	for i := range n {
		e := &entry{id: chats.ChatID(1_000_000 + i), created: at, updated: at, finished: i%10 != 0}
		d.all = append(d.all, e)
		if !e.finished {
			d.open = append(d.open, e)
		}
	}
	return d
}

// post adds a customer's message. One in ten is in a chat that was finished; the chat that has
// been quiet for longest is finished in its stead.
func (d *directory) post(random *rand.Rand) (chats.ChatID, chats.MessageID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.open[random.IntN(len(d.open))]
	if random.IntN(10) == 0 {
		e = d.reopen(random)
	}
	d.add(e.id)
	e.updated = time.Now()
	if d.recentFirst {
		for _, list := range [][]*entry{d.all, d.open} {
			at := slices.Index(list, e)
			copy(list[1:at+1], list[:at])
			list[0] = e
		}
	}
	return e.id, d.market.CustomerSays(e.id, "message")
}

// add adds a chat to the Market before its history is read.
func (d *directory) add(id chats.ChatID) {
	if !d.added[id] {
		d.added[id] = true
		d.market.AddChat(chats.Chat{ID: id, CreatedAt: longAgo().CreatedAt})
	}
}

// reopen finishes a chat and returns another one that is not finished any more.
func (d *directory) reopen(random *rand.Rand) *entry {
	reopened := d.open[0]
	for !reopened.finished {
		reopened = d.all[random.IntN(len(d.all))]
	}
	finish := slices.MinFunc(d.open, func(a, b *entry) int { return a.updated.Compare(b.updated) })
	at := slices.Index(d.open, finish)
	d.open = slices.Delete(d.open, at, at+1)
	finish.finished, reopened.finished = true, false
	if at = 0; !d.recentFirst {
		at, _ = slices.BinarySearchFunc(d.open, reopened.id, func(o *entry, id chats.ChatID) int { return int(o.id - id) })
	}
	d.open = slices.Insert(d.open, at, reopened)
	return reopened
}

var operations = map[string]chats.Operation{
	"chats": chats.OpGetChats, "chat": chats.OpGetChat, "history": chats.OpGetChatHistory,
}

// RoundTrip implements http.RoundTripper.
func (d *directory) RoundTrip(req *http.Request) (*http.Response, error) {
	op := operations[req.URL.Path[strings.LastIndexByte(req.URL.Path, '/')+1:]]
	used := d.charge(op)
	var resp *http.Response
	var err error
	switch {
	case used > d.quotas[op]:
		resp = respond(req, 420, `{"status":"ERROR","errors":[{"code":"METHOD_FAILURE",`+
			`"message":"Hit rate limit of 1 requests per hour for resource R for business 1"}]}`)
	case op == chats.OpGetChats:
		sleep(latency)
		resp, err = d.list(req)
	default:
		id, _ := strconv.ParseInt(req.URL.Query().Get("chatId"), 10, 64)
		d.mu.Lock()
		d.add(chats.ChatID(id))
		d.mu.Unlock()
		resp, err = d.next.RoundTrip(req)
	}
	if err != nil {
		return nil, err
	}
	resp.Header.Set("X-RateLimit-Resource-Limit", strconv.Itoa(d.quotas[op]))
	resp.Header.Set("X-RateLimit-Resource-Remaining", strconv.Itoa(max(0, d.quotas[op]-used)))
	resp.Header.Set("X-RateLimit-Resource-Until", time.Now().Truncate(time.Hour).Add(time.Hour).UTC().Format(http.TimeFormat))
	return resp, nil
}

// charge counts a request and returns how many of this hour's there were.
func (d *directory) charge(op chats.Operation) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if hour := time.Now().Truncate(time.Hour); !hour.Equal(d.window) {
		d.window = hour
		for op, quota := range d.quotas {
			d.used[op] = int(d.others * float64(quota))
		}
	}
	d.used[op]++
	d.requests[op]++
	return d.used[op]
}

func (d *directory) list(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	_ = req.Body.Close()
	limit, _ := strconv.Atoi(req.URL.Query().Get("limit"))
	from, _ := strconv.Atoi(req.URL.Query().Get("pageToken"))
	d.mu.Lock()
	defer d.mu.Unlock()
	list := d.all
	if bytes.Contains(body, []byte("statuses")) {
		list = d.open
	}
	from = min(from, len(list))
	page := list[from:min(from+limit, len(list))]
	var b bytes.Buffer
	b.WriteString(`{"status":"OK","result":{"chats":[`)
	for i, e := range page {
		if i > 0 {
			b.WriteByte(',')
		}
		e.write(&b)
	}
	b.WriteString(`],"paging":{`)
	if from+limit < len(list) {
		fmt.Fprintf(&b, `"nextPageToken":"%d"`, from+limit)
	}
	b.WriteString(`}}}`)
	resp := respond(req, http.StatusOK, b.String())
	resp.Header.Del(chatstest.FaultHeader)
	resp.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	return resp, nil
}

func (e *entry) write(b *bytes.Buffer) {
	status := chats.StatusWaitingForPartner
	if e.finished {
		status = chats.StatusFinished
	}
	id := strconv.FormatInt(int64(e.id), 10)
	for _, part := range []string{
		`{"chatId":`, id, `,"context":{"type":"ORDER","orderId":`, id, `},"type":"CHAT","status":"`, string(status),
		`","createdAt":"`, e.created.UTC().Format(time.RFC3339), `","updatedAt":"`, e.updated.UTC().Format(time.RFC3339), `"}`,
	} {
		b.WriteString(part)
	}
}

// countedStore counts the calls to a store: each is one statement on PostgreSQL.
type countedStore struct {
	inbox.Store

	calls atomic.Int64
}

func (s *countedStore) Business(ctx context.Context, id chats.BusinessID) (inbox.BusinessState, error) {
	s.calls.Add(1)
	return s.Store.Business(ctx, id)
}

func (s *countedStore) Chats(ctx context.Context, id chats.BusinessID, ids []chats.ChatID) ([]inbox.ChatState, error) {
	s.calls.Add(1)
	return s.Store.Chats(ctx, id, ids)
}

func (s *countedStore) Due(ctx context.Context, id chats.BusinessID, at time.Time, n int) ([]inbox.ChatState, error) {
	s.calls.Add(1)
	return s.Store.Due(ctx, id, at, n)
}

func (s *countedStore) Open(ctx context.Context, id chats.BusinessID) ([]chats.ChatID, error) {
	s.calls.Add(1)
	return s.Store.Open(ctx, id)
}

func (s *countedStore) Save(ctx context.Context, lease inbox.Lease, state *inbox.BusinessState, rows []inbox.ChatState) error {
	s.calls.Add(1)
	return s.Store.Save(ctx, lease, state, rows)
}

func (s *countedStore) Wake(ctx context.Context, id chats.BusinessID, chat chats.ChatID, at time.Time) error {
	s.calls.Add(1)
	return s.Store.Wake(ctx, id, chat, at)
}

func (s *countedStore) Renew(ctx context.Context, lease inbox.Lease) (time.Time, error) {
	s.calls.Add(1)
	return s.Store.Renew(ctx, lease)
}

// trade is what a shop is like.
type trade struct {
	chats       int
	messages    int // an hour
	pushes      bool
	others      float64 // the part of each quota that other programs use at the beginning of an hour
	recentFirst bool    // the list's order; else by ID
	scale       int     // the quota of getChats is divided by it
}

// cost is what an inbox costs, and how long messages take from the moment at which they are
// visible until they are handled.
type cost struct {
	first                        time.Duration // from the start to the first delivery
	mean, p99, worst             time.Duration
	lists, histories, statements float64 // an hour
}

// experiment is an inbox of a directory of chats, in the time of testing/synctest.
type experiment struct {
	trade

	t         *testing.T
	directory *directory
	store     *countedStore
	inbox     *inbox.Inbox
	random    *rand.Rand
	pushes    sync.WaitGroup

	mu     sync.Mutex
	began  time.Time
	posted map[chats.MessageID]time.Time // and not handled
	took   []time.Duration
	cost   cost
}

// pushDelay is from a message to its push.
const pushDelay = 500 * time.Millisecond

// measure runs an inbox and measures for as long as last, after warm.
func measure(t *testing.T, s trade, warm, last time.Duration) cost {
	t.Helper()
	sleep(17 * time.Minute) // not at the beginning of an hour
	e := &experiment{
		trade: s, t: t, directory: newDirectory(s.chats), store: &countedStore{Store: inbox.NewMemoryStore()},
		random: rand.New(rand.NewPCG(1, 2)), began: time.Now(), posted: map[chats.MessageID]time.Time{},
	}
	e.directory.recentFirst, e.directory.others = s.recentFirst, s.others
	e.directory.quotas[chats.OpGetChats] /= max(1, s.scale)
	client := e.directory.market.Client(chats.WithHTTPClient(&http.Client{Transport: e.directory}))
	if !*tableFlag { // half of the time
		client = connectVia(t, e.directory.market, e.directory)
	}
	e.inbox = newInbox(t, client, e.store)
	run := start(t, e.inbox, e.handle)
	e.run(warm, false)
	before := e.counts()
	e.run(last, true)
	after := e.counts()
	for n := 0; e.open() > 0 && n < 100; n++ {
		sleep(5 * time.Minute)
	}
	e.pushes.Wait()
	require.NoError(t, run.stop())
	assert.Empty(t, e.posted, "messages never handled")
	hours := last.Hours()
	e.cost.lists, e.cost.histories, e.cost.statements = (after[0]-before[0])/hours, (after[1]-before[1])/hours, (after[2]-before[2])/hours
	return e.summed()
}

func (e *experiment) handle(_ context.Context, d inbox.Delivery) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cost.first == 0 {
		e.cost.first = time.Since(e.began)
	}
	if at, measured := e.posted[d.Message.ID]; measured {
		e.took = append(e.took, time.Since(at))
		delete(e.posted, d.Message.ID)
	}
	return nil
}

// run lets customers write, at random moments.
func (e *experiment) run(last time.Duration, measured bool) {
	if e.messages == 0 {
		sleep(last)
		return
	}
	for end := time.Now().Add(last); ; {
		pause := time.Duration(e.random.ExpFloat64() * float64(time.Hour) / float64(e.messages))
		if pause > time.Until(end) {
			sleep(time.Until(end))
			return
		}
		sleep(pause)
		e.post(measured)
	}
}

func (e *experiment) post(measured bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	chat, message := e.directory.post(e.random)
	if measured {
		e.posted[message] = time.Now()
	}
	if e.trade.pushes {
		e.pushes.Go(func() {
			sleep(pushDelay)
			assert.NoError(e.t, e.inbox.Wake(e.t.Context(), chat))
		})
	}
}

func (e *experiment) open() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.posted)
}

// counts are the requests of lists, all others, and statements.
func (e *experiment) counts() [3]float64 {
	d := e.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	requests := d.requests[chats.OpGetChatHistory] + d.requests[chats.OpGetChat]
	return [3]float64{float64(d.requests[chats.OpGetChats]), float64(requests), float64(e.store.calls.Load())}
}

func (e *experiment) summed() cost {
	slices.Sort(e.took)
	n := len(e.took)
	if n == 0 {
		return e.cost
	}
	for _, d := range e.took {
		e.cost.mean += d / time.Duration(n)
	}
	e.cost.p99, e.cost.worst = e.took[n*99/100], e.took[n-1]
	return e.cost
}

func (c cost) String() string {
	return fmt.Sprintf("%s | %s | %s | %.0f | %.0f | %.0f", rounded(c.mean), rounded(c.p99), rounded(c.worst), c.lists, c.histories, c.statements)
}

// rounded has two digits at least.
func rounded(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	default:
		return fmt.Sprintf("%.1f min", d.Minutes())
	}
}

// The figures of docs/inbox.md stay within their bounds. With a tenth of the chats and a tenth
// of the quota sweeps take as long as with all.
func TestCost_StaysWithinItsBounds(t *testing.T) {
	t.Parallel()
	if race.Enabled {
		return // nothing happens in it that does not happen elsewhere
	}
	const tenth = 10
	for name, c := range map[string]struct {
		trade
		warm, last time.Duration
		most       cost
	}{
		"100 chats": {
			trade{chats: 100, messages: 100},
			time.Hour, time.Hour,
			cost{mean: 32 * time.Second, worst: 62 * time.Second, lists: 305, histories: 550, statements: 5_500},
		},
		"10,000 chats, idle": {
			trade{chats: 10_000 / tenth, scale: tenth, others: 0.5},
			time.Hour, time.Hour,
			cost{lists: 251, statements: 5_000},
		},
		"10,000 chats": {
			trade{chats: 10_000 / tenth, messages: 1_000, scale: tenth, others: 0.5},
			time.Hour, 2 * time.Hour,
			cost{mean: 48 * time.Second, worst: 100 * time.Second, lists: 255, histories: 3_600, statements: 16_000},
		},
		"10,000 chats, pushes": {
			trade{chats: 10_000 / tenth, messages: 1_000, pushes: true, scale: tenth, others: 0.5},
			time.Hour, time.Hour,
			cost{mean: time.Second, p99: 1500 * time.Millisecond, worst: 3 * time.Second, lists: 255, histories: 3_600, statements: 22_000},
		},
		"10,000 chats, the most recent first": { // as the figures of before were measured: 40 s and 90 s
			trade{chats: 10_000, messages: 500, recentFirst: true},
			10 * time.Minute, 20 * time.Minute,
			cost{mean: 40 * time.Second, worst: 90 * time.Second, lists: 2_600, histories: 3_600, statements: 16_000},
		},
		"250,000 chats": {
			trade{chats: 250_000 / tenth, messages: 1_000, scale: tenth, others: 0.5},
			time.Hour, 2 * time.Hour,
			cost{first: 5 * time.Minute, mean: 20 * time.Minute, worst: 80 * time.Minute, lists: 255, histories: 4_200, statements: 20_000},
		},
		"250,000 chats, pushes": {
			trade{chats: 250_000 / tenth, messages: 1_000, pushes: true, scale: tenth, others: 0.5},
			time.Hour, time.Hour,
			cost{first: 10 * time.Second, mean: 2 * time.Second, p99: 2 * time.Second, lists: 255, histories: 4_500, statements: 24_000},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				got := measure(t, c.trade, c.warm, c.last)
				t.Logf("first %v | %v", got.first, got)
				for _, f := range []struct {
					what      string
					got, most float64
				}{
					{"first", got.first.Seconds(), c.most.first.Seconds()},
					{"mean", got.mean.Seconds(), c.most.mean.Seconds()},
					{"p99", got.p99.Seconds(), c.most.p99.Seconds()},
					{"worst", got.worst.Seconds(), c.most.worst.Seconds()},
					{"lists", got.lists, c.most.lists},
					{"histories", got.histories, c.most.histories},
					{"statements", got.statements, c.most.statements},
				} {
					if f.most > 0 {
						assert.LessOrEqual(t, f.got, f.most, f.what)
					}
				}
			})
		})
	}
}

// TestTable prints the tables of docs/inbox.md: make inbox-table.
func TestTable(t *testing.T) {
	t.Parallel()
	if !*tableFlag {
		return
	}
	sizes, rates := []int{100, 1_000, 10_000, 60_000, 250_000}, []int{0, 100, 1_000}
	var mu sync.Mutex
	costs := map[trade]cost{}
	t.Cleanup(func() { printTables(t, sizes, rates, costs) })
	for _, size := range sizes {
		for _, rate := range rates {
			for _, s := range []trade{{}, {others: 0.5}, {pushes: true}, {pushes: true, others: 0.5}, {recentFirst: true}} {
				s.chats, s.messages = size, rate
				if rate == 0 && (s.pushes || s.recentFirst) || size < 10_000 && s.recentFirst {
					continue // the same
				}
				t.Run(fmt.Sprintf("%+v", s), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						warm := time.Hour
						if rate > 0 {
							warm = 12 * time.Hour // until most rechecks come as often as messages
						}
						c := measure(t, s, warm, 2*time.Hour)
						mu.Lock()
						defer mu.Unlock()
						costs[s] = c
						fmt.Printf("%+v: %v\n", s, c) // it takes long
					})
				})
			}
		}
	}
}

func printTables(t *testing.T, sizes, rates []int, costs map[trade]cost) {
	t.Helper()
	var table, order strings.Builder
	for _, size := range sizes {
		for _, rate := range rates {
			for _, others := range []float64{0, 0.5} {
				s := trade{chats: size, messages: rate, others: others}
				fmt.Fprintf(&table, "| %d | %d | %.0f %% | %v |", size, rate, 100*others, costs[s])
				if s.pushes = rate > 0; s.pushes {
					fmt.Fprintf(&table, " %v", costs[s])
				}
				table.WriteString("\n")
			}
			if s := (trade{chats: size, messages: rate, recentFirst: true}); costs[s].mean > 0 {
				fmt.Fprintf(&order, "| %d | %d | %v | first %v\n", size, rate, costs[s], costs[s].first)
			}
		}
	}
	t.Log("\n" + table.String() + "\n" + order.String())
}
