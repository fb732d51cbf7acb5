package outbox_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
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
	"github.com/ymchats/ymchats-go/chats/internal/contract"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

var large = flag.Bool("chaos", false, "run the simulation with 2,000 chats and 20,000 replies")

// world is a Market and a store that outlive the processes of one simulation.
type world struct {
	t      *testing.T
	random *rand.Rand
	market *chatstest.Market
	store  *outbox.MemoryStore
	chats  []chats.ChatID
	old    map[chats.ChatID]int // the shop's messages with the text that most items have, from long before
	items  []outbox.Item

	mu       sync.Mutex
	states   map[string]outbox.State // as last saved
	reported map[string]outbox.State // as last heard of
	illegal  []string
	kills    int
}

// process is one that will be killed: from then on none of its calls has an effect.
type process struct {
	*world

	callsLeft atomic.Int64
	dead      atomic.Bool
	killed    chan struct{}
	once      sync.Once
}

var errKilled = errors.New("the process was killed")

func (w *world) start(calls int64) *process {
	p := &process{world: w, killed: make(chan struct{})}
	p.callsLeft.Store(calls)
	return p
}

// step is a moment at which the process may be killed. It reports whether it is alive.
func (p *process) step() bool {
	if p.callsLeft.Add(-1) <= 0 {
		p.dead.Store(true)
		p.once.Do(func() { close(p.killed) })
	}
	return !p.dead.Load()
}

// during calls do between two such moments.
func (p *process) during(do func() error) error {
	if !p.step() {
		return errKilled
	}
	err := do()
	if !p.step() {
		return errKilled
	}
	return err
}

// RoundTrip implements http.RoundTripper.
func (p *process) RoundTrip(req *http.Request) (resp *http.Response, err error) {
	err = p.during(func() error {
		resp, err = contract.Transport(p.t, p.market.Transport()).RoundTrip(req) //nolint:bodyclose // the caller closes it
		return err
	})
	if err != nil && resp != nil {
		_ = resp.Body.Close()
		resp = nil
	}
	if err != nil && req.Body != nil {
		_ = req.Body.Close()
	}
	return resp, err
}

// killable is the store as a process sees it.
type killable struct {
	outbox.Store
	*process
}

func (s killable) Head(ctx context.Context, b chats.BusinessID, chat chats.ChatID) (r outbox.Record, err error) {
	err = s.during(func() error { r, err = s.Store.Head(ctx, b, chat); return err })
	return r, err
}

func (s killable) Item(ctx context.Context, b chats.BusinessID, key string) (r outbox.Record, err error) {
	err = s.during(func() error { r, err = s.Store.Item(ctx, b, key); return err })
	return r, err
}

func (s killable) Backlog(ctx context.Context, b chats.BusinessID, at time.Time) (l outbox.Backlog, err error) {
	err = s.during(func() error { l, err = s.Store.Backlog(ctx, b, at); return err })
	return l, err
}

func (s killable) SaveItem(ctx context.Context, lease inbox.Lease, r *outbox.Record) error {
	return s.during(func() error {
		err := s.Store.SaveItem(ctx, lease, r)
		if err == nil {
			s.saved(r)
		}
		if err == nil && s.rare(50) {
			r.Version-- // as a store does that could not say so
			return errors.New("the connection to the database was lost")
		}
		return err
	})
}

func (s killable) PostedAs(
	ctx context.Context, b chats.BusinessID, chat chats.ChatID, above chats.MessageID,
) (ids []chats.MessageID, err error) {
	err = s.during(func() error { ids, err = s.Store.PostedAs(ctx, b, chat, above); return err })
	return ids, err
}

func (s killable) Renew(ctx context.Context, lease inbox.Lease) (next time.Time, err error) {
	err = s.during(func() error { next, err = s.Store.Renew(ctx, lease); return err })
	return next, err
}

func (s killable) Release(ctx context.Context, lease inbox.Lease) error {
	return s.during(func() error { return s.Store.Release(ctx, lease) })
}

func (w *world) rare(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.random.IntN(n) == 0
}

func (w *world) intN(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.random.IntN(n)
}

// saved holds the transitions to those that are documented.
func (w *world) saved(r *outbox.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	from := w.states[r.Item.Key]
	if from == "" {
		from = outbox.Queued
	}
	if from != r.State && !isLegal(from, r.State) {
		w.illegal = append(w.illegal, fmt.Sprint(r.Item.Key, ": ", from, " -> ", r.State))
	}
	w.states[r.Item.Key] = r.State
}

func isLegal(from, to outbox.State) bool {
	switch from {
	case outbox.Queued:
		return to == outbox.Sending || to == outbox.Failed || to == outbox.Expired
	case outbox.Sending:
		return to != outbox.Discarded
	default:
		return false
	}
}

func (p *process) settled(_ context.Context, r outbox.Result) error {
	return p.during(func() error {
		if p.rare(20) {
			return errors.New("the shop's database is down")
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.reported[r.Item.Key] = r.State
		return nil
	})
}

// fault is what goes wrong with a request. A post is visible within 12 s.
func (w *world) fault(op chats.Operation, _ int) chatstest.Fault {
	faults := []chatstest.Fault{
		chatstest.DropBefore(), chatstest.DropAfter(), chatstest.Refused(), chatstest.HTML(502), chatstest.Status(503, ""),
		chatstest.RateLimitedParallel(), chatstest.Truncate(20), chatstest.SlowHeaders(4 * time.Second), chatstest.StatusAfter(500, ""),
		chatstest.TruncateSilently(10), chatstest.Malformed("{"), chatstest.BadStatusLine("SSH-2.0"), chatstest.HTML(404),
		chatstest.SlowBody(2 * time.Second), chatstest.Delay(3 * time.Second), chatstest.Respond(429, nil, ""),
	}
	if op != chats.OpGetChatHistory {
		faults = append(faults, chatstest.ProcessLate(7*time.Second), chatstest.ProcessLate(time.Second), chatstest.RespondEarly(0, 500, ""),
			chatstest.Status(400, badRequest), chatstest.StatusAfter(409, "<html>"))
	}
	if w.intN(100) >= 12 {
		return chatstest.OK()
	}
	return faults[w.intN(len(faults))]
}

const sameText = "the same text"

func newWorld(t *testing.T, seed uint64, chatCount, itemCount int) *world {
	t.Helper()
	w := &world{
		t: t, random: rand.New(rand.NewPCG(seed, 1)), store: outbox.NewMemoryStore(),
		states: map[string]outbox.State{}, reported: map[string]outbox.State{}, old: map[chats.ChatID]int{},
	}
	w.market = chatstest.NewMarket(
		chatstest.WithLatency(100*time.Millisecond),
		chatstest.WithHourlyLimit(chats.OpSendMessageToChat, max(itemCount/3, 40)),
		chatstest.WithHourlyLimit(chats.OpGetChatHistory, 8*itemCount),
		chatstest.WithStoredText(func(text string) string {
			if strings.Contains(text, "odd") {
				return strings.ToUpper(text)
			}
			return strings.ReplaceAll(text, " ", "  ")
		}),
		chatstest.WithVisibility(func(m chats.Message) time.Duration {
			if m.ID%3 == 0 {
				return time.Duration(m.ID%4000) * time.Millisecond
			}
			return 0
		}),
	)
	for n := range chatCount {
		w.chats = append(w.chats, w.market.AddChat(chats.Chat{}))
		for w.old[w.chats[n]] = 0; n%2 == 1 && w.old[w.chats[n]] < 1+n%40; w.old[w.chats[n]]++ {
			w.market.AddMessage(w.chats[n], chats.SenderPartner, sameText)
		}
	}
	time.Sleep(72 * time.Hour)
	for n := range itemCount {
		chat := w.chats[w.random.IntN(chatCount)]
		item := outbox.Item{Key: fmt.Sprintf("reply %05d", n), Chat: chat}
		switch n % 8 {
		case 0:
			item.FileName, item.File = fmt.Sprintf("%05d.txt", n), []byte(fmt.Sprint("file ", n))
		case 1, 2:
			item.Text = sameText
		case 3:
			item.Text = fmt.Sprintf("%05d odd", n)
		default:
			item.Text = fmt.Sprintf("%05d text", n)
		}
		w.items = append(w.items, item)
	}
	w.market.FailFunc(w.fault)
	return w
}

// run starts processes, kills them and returns when everything is settled and reported.
func (w *world) run(maxKills int) {
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	w.feed(&running)
	for n := 0; ; n++ {
		calls := int64(1 << 60)
		if n < maxKills {
			calls = int64(1 + w.intN(60*len(w.items)/(maxKills+1)))
		}
		p := w.start(calls)
		o := newOutbox(w.t, w.market.Client(chats.WithHTTPClient(&http.Client{Transport: p})),
			killable{w.store, p}, outbox.WithSettled(p.settled))
		processCtx, kill := context.WithCancel(ctx)
		defer kill()
		running.Go(func() { _ = o.Run(processCtx) })
		if w.await(p) {
			return
		}
		w.kills++
		kill()
	}
}

// feed puts the items while the processes work.
func (w *world) feed(running *sync.WaitGroup) {
	running.Go(func() {
		o := newOutbox(w.t, w.market.Client(), w.store)
		for n := 0; n < len(w.items); {
			batch := w.items[n:min(n+1+w.intN(9), len(w.items))]
			assert.NoError(w.t, o.Put(w.t.Context(), batch...))
			assert.NoError(w.t, o.Put(w.t.Context(), batch...), "Put again")
			n += len(batch)
			time.Sleep(time.Duration(w.intN(3000)) * time.Millisecond)
			w.market.CustomerSays(w.chats[w.intN(len(w.chats))], "question")
		}
	})
}

// await waits until a process is killed, or everything is done.
func (w *world) await(p *process) (done bool) {
	for {
		select {
		case <-p.killed:
			return false
		case <-time.After(10 * time.Second):
		}
		sum, err := w.store.Counts(w.t.Context(), w.market.Business())
		require.NoError(w.t, err)
		w.mu.Lock()
		done = len(w.reported) == len(w.items)
		w.mu.Unlock()
		if done && sum.Queued+sum.Sending+sum.Unreported == 0 {
			return true
		}
	}
}

// check compares the items with what stands in the chats.
func (w *world) check() (counts map[outbox.State]int) {
	counts = map[outbox.State]int{}
	o := newOutbox(w.t, w.market.Client(), w.store)
	posts := map[chats.ChatID]map[string]int{}
	for _, chat := range w.chats {
		posts[chat] = map[string]int{sameText: -w.old[chat]}
		for _, content := range posted(w.market, chat) {
			posts[chat][strings.ToLower(strings.Join(strings.Fields(content), " "))]++
		}
	}
	sent, uncertain, messages := map[string]int{}, map[string]int{}, map[string]string{}
	ordered := map[chats.ChatID]chats.MessageID{}
	for _, item := range w.items {
		r := get(w.t, o, item.Key)
		counts[r.State]++
		assert.Equal(w.t, r.State, w.reported[item.Key], "%s: reported as it is", item.Key)
		content := fmt.Sprint(item.Chat, " ", item.Text+item.FileName)
		switch r.State {
		case outbox.Sent:
			sent[content]++
			message := fmt.Sprint(item.Chat, " ", r.Message.ID)
			assert.Empty(w.t, messages[message], "%s has the message of another item", item.Key)
			messages[message] = item.Key
			assert.Less(w.t, ordered[item.Chat], r.Message.ID, "%s is out of order", item.Key)
			ordered[item.Chat] = r.Message.ID
		case outbox.Uncertain:
			uncertain[content]++
		}
	}
	for _, item := range w.items {
		content := fmt.Sprint(item.Chat, " ", item.Text+item.FileName)
		n := posts[item.Chat][item.Text+item.FileName]
		assert.GreaterOrEqual(w.t, n, sent[content], "%q in chat %d: a reply is lost", item.Text+item.FileName, item.Chat)
		assert.LessOrEqual(w.t, n, sent[content]+uncertain[content], "%q in chat %d: posted twice", item.Text+item.FileName, item.Chat)
	}
	assert.Empty(w.t, w.illegal, "transitions")
	return counts
}

func TestChaos(t *testing.T) {
	t.Parallel()
	chatCount, itemCount, kills, seeds := 25, 250, 60, 4
	if *large {
		chatCount, itemCount, kills, seeds = 2000, 20000, 600, 3
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, seed, chatCount, itemCount)
				w.run(kills)
				counts := w.check()
				t.Log(w.kills, "kills,", counts)
				assert.Positive(t, w.kills)
				assert.Greater(t, counts[outbox.Sent], itemCount/2)
			})
		})
	}
}
