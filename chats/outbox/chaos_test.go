package outbox_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
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

var (
	large     = flag.Bool("chaos", false, "run the simulation with 2,000 chats and 20,000 replies")
	seedsFlag = flag.Int("chaos.seeds", 4, "how many simulations to run")
)

// plan is what one simulation is made of.
type plan struct {
	seed                uint64
	chats, items, kills int
	late                time.Duration // how long after its connection was closed a request may be processed
	slow                time.Duration // one message in sixteen becomes visible only after the search time, within slow
	processes           int           // at a time
	steps               bool          // they take turns by Step; otherwise one runs and the others stand by
	breaks              int           // the connection breaks in one of so many calls of the store; 0: never
	retention           time.Duration
}

// simulation is a Market and a store that outlive the processes of one simulation.
type simulation struct {
	t         *testing.T
	plan      plan
	random    *rand.Rand
	market    *chatstest.Market
	store     *outbox.MemoryStore
	chats     []chats.ChatID
	elsewhere chats.ChatID         // has no items
	old       map[chats.ChatID]int // the shop's messages with the text that most items have, from long before
	items     []outbox.Item

	saving sync.Mutex // transitions are recorded in the order in which they are stored

	mu          sync.Mutex
	states      map[string][]outbox.State // as saved
	reported    map[string]outbox.Result  // as last heard of
	uncertain   []doubt                   // in the order in which the items became Uncertain
	decided     int                       // how many of these
	illegal     []string
	running     *outbox.Outbox // one of those that post
	kills       int
	interrupted int // calls of Put and Resolve whose process was killed
	deleted     int // items
	mixedUp     int // histories that were those of another chat
	requests    int
	tooLate     map[string]int // messages that became visible after the search time, by chat and content
	isFed       bool
}

// doubt is an item that is Uncertain.
type doubt struct {
	key   string
	since time.Time
}

// process is one that will be killed: from then on none of its calls has an effect.
type process struct {
	*simulation

	callsLeft atomic.Int64
	dead      atomic.Bool
	killed    chan struct{}
	once      sync.Once
	isSteady  bool // its connection to the database never breaks
}

var (
	errKilled     = errors.New("the process was killed")
	errConnection = errors.New("the connection to the database was lost")
)

const forever = 1 << 60

func (w *simulation) start(calls int64) *process {
	p := &process{simulation: w, killed: make(chan struct{})}
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
		if p.plan.chats > 0 { // the chats of a fuzzed script may have no message of the shop, without which no client could notice
			p.spaceOut()
			req = p.mixUp(req)
		}
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

// spaceOut delays requests differently: IDs are times, and no two chats get the same.
func (p *process) spaceOut() {
	p.mu.Lock()
	p.requests++
	n := p.requests
	p.mu.Unlock()
	sleep(time.Duration(n%1000) * time.Microsecond)
}

// mixUp is a gateway that now and then mixes up responses: the history becomes that of another chat
// with messages of the shop.
func (p *process) mixUp(req *http.Request) *http.Request {
	chat := p.chats[p.intN(len(p.chats))]
	if !isHistory(req) || !p.rare(25) || !slices.ContainsFunc(p.market.Messages(chat), func(m chats.Message) bool {
		age := time.Since(m.CreatedAt)
		return m.Sender == chats.SenderPartner && age > time.Minute && age < time.Hour
	}) {
		return req
	}
	p.mu.Lock()
	p.mixedUp++
	p.mu.Unlock()
	return ofChat(req, chat)
}

// outbox returns the outbox of the process.
func (p *process) outbox() *outbox.Outbox {
	client := p.market.Client(chats.WithHTTPClient(&http.Client{Transport: p}))
	return newOutbox(p.t, client, killable{p.store, p}, outbox.WithSettled(p.settled), outbox.WithRetention(p.plan.retention))
}

// killable is the store as a process sees it: all of its methods but Counts, which neither workers nor Put and Resolve call.
type killable struct {
	outbox.Store
	*process
}

// call is during, but now and then the connection breaks before or after do.
func (s killable) call(do func() error) error {
	return s.during(func() error {
		isBroken := s.plan.breaks > 0 && s.rare(s.plan.breaks)
		if isBroken && s.rare(2) {
			return errConnection
		}
		if err := do(); err != nil || !isBroken {
			return err
		}
		return errConnection
	})
}

func (s killable) Put(ctx context.Context, b chats.BusinessID, items ...outbox.Item) error {
	return s.call(func() error { return s.Store.Put(ctx, b, items...) })
}

func (s killable) Head(ctx context.Context, b chats.BusinessID, chat chats.ChatID) (r outbox.Record, err error) {
	err = s.call(func() error { r, err = s.Store.Head(ctx, b, chat); return err })
	return r, err
}

func (s killable) Item(ctx context.Context, b chats.BusinessID, key string) (r outbox.Record, err error) {
	err = s.call(func() error { r, err = s.Store.Item(ctx, b, key); return err })
	return r, err
}

func (s killable) Backlog(ctx context.Context, b chats.BusinessID, at time.Time) (l outbox.Backlog, err error) {
	err = s.call(func() error { l, err = s.Store.Backlog(ctx, b, at); return err })
	return l, err
}

func (s killable) SaveItem(ctx context.Context, lease inbox.Lease, r *outbox.Record) error {
	return s.save(outbox.Worker, r, func() error { return s.Store.SaveItem(ctx, lease, r) })
}

func (s killable) ResolveItem(ctx context.Context, r *outbox.Record) error {
	return s.save(outbox.Resolve, r, func() error { return s.Store.ResolveItem(ctx, r) })
}

func (s killable) save(by outbox.Actor, r *outbox.Record, do func() error) error {
	return s.during(func() error {
		s.saving.Lock()
		defer s.saving.Unlock()
		if err := do(); err != nil {
			return err
		}
		s.saved(by, r)
		if !s.isSteady && s.rare(50) {
			r.Version-- // as a store does that could not say so
			return errConnection
		}
		return nil
	})
}

func (s killable) PostedAs(
	ctx context.Context, b chats.BusinessID, chat chats.ChatID, above chats.MessageID,
) (ids []chats.MessageID, err error) {
	err = s.call(func() error { ids, err = s.Store.PostedAs(ctx, b, chat, above); return err })
	return ids, err
}

func (s killable) DeleteSettled(ctx context.Context, b chats.BusinessID, before time.Time, limit int) (n int, err error) {
	err = s.call(func() error { n, err = s.Store.DeleteSettled(ctx, b, before, limit); return err })
	return n, err
}

func (s killable) Acquire(ctx context.Context, b chats.BusinessID, purpose, holder string) (lease inbox.Lease, err error) {
	err = s.call(func() error { lease, err = s.Store.Acquire(ctx, b, purpose, holder); return err })
	return lease, err
}

func (s killable) Renew(ctx context.Context, lease inbox.Lease) (next time.Time, err error) {
	err = s.call(func() error { next, err = s.Store.Renew(ctx, lease); return err })
	return next, err
}

func (s killable) Release(ctx context.Context, lease inbox.Lease) error {
	return s.call(func() error { return s.Store.Release(ctx, lease) })
}

func (w *simulation) rare(n int) bool { return w.intN(n) == 0 }

func (w *simulation) intN(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.random.IntN(n)
}

// upTo returns a random time.
func (w *simulation) upTo(d time.Duration) time.Duration { return time.Duration(w.intN(int(d))) }

// saved holds the transitions to those that are documented.
func (w *simulation) saved(by outbox.Actor, r *outbox.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	states := w.states[r.Item.Key]
	from := outbox.Queued
	if n := len(states); n > 0 {
		from = states[n-1]
	}
	if from == r.State {
		return
	}
	if outbox.Transitions[outbox.Transition{From: from, To: r.State}] != by {
		w.illegal = append(w.illegal, fmt.Sprint(r.Item.Key, ": ", from, " -> ", r.State, " by ", by))
	}
	w.states[r.Item.Key] = append(states, r.State)
	if r.State == outbox.Uncertain {
		w.uncertain = append(w.uncertain, doubt{r.Item.Key, time.Now()})
	}
}

func (p *process) settled(_ context.Context, r outbox.Result) error {
	return p.during(func() error {
		if p.rare(20) {
			return errors.New("the shop's database is down")
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.reported[r.Item.Key] = r
		return nil
	})
}

// fault is what goes wrong with a request.
func (w *simulation) fault(op chats.Operation, _ int) chatstest.Fault {
	if w.intN(100) >= 12 {
		return chatstest.OK()
	}
	faults := []chatstest.Fault{
		chatstest.DropBefore(), chatstest.DropAfter(), chatstest.Refused(), chatstest.HTML(502), chatstest.Status(503, ""),
		chatstest.RateLimitedParallel(), chatstest.Truncate(20), chatstest.SlowHeaders(4 * time.Second), chatstest.StatusAfter(500, ""),
		chatstest.TruncateSilently(10), chatstest.Malformed("{"), chatstest.BadStatusLine("SSH-2.0"), chatstest.HTML(404),
		chatstest.SlowBody(2 * time.Second), chatstest.Delay(3 * time.Second), chatstest.Respond(429, nil, ""),
		chatstest.Status(401, `{"status":"ERROR"}`), chatstest.Status(403, forbidden),
		chatstest.Rewrite(func(r *chatstest.Response) { r.Body = append([]byte("\ufeff"), r.Body...) }),
		chatstest.Rewrite(func(r *chatstest.Response) { r.Body = r.Body[:len(r.Body)/2] }),
	}
	if op != chats.OpGetChatHistory {
		// Replay only here: no client could notice that a history is an old one of the same chat. See mixUp for those of other chats.
		faults = append(faults, chatstest.ProcessLate(w.plan.late), chatstest.ProcessLate(w.plan.late/3), chatstest.RespondEarly(0, 500, ""),
			chatstest.Status(400, badRequest), chatstest.StatusAfter(409, "<html>"), chatstest.DropAfter(), chatstest.DropAfter(), chatstest.Replay())
	}
	switch {
	case w.rare(100):
		return chatstest.RateLimitedHourly(time.Now().Add(w.upTo(10 * time.Minute)))
	case w.rare(200):
		return chatstest.EndlessBody() // rare because it is expensive: eight megabytes each
	}
	return faults[w.intN(len(faults))]
}

const sameText = "the same text"

func newSimulation(t *testing.T, plan plan) *simulation {
	t.Helper()
	w := &simulation{
		t: t, plan: plan, random: rand.New(rand.NewPCG(plan.seed, 1)), store: outbox.NewMemoryStore(),
		states: map[string][]outbox.State{}, reported: map[string]outbox.Result{}, old: map[chats.ChatID]int{},
		tooLate: map[string]int{},
	}
	w.market = chatstest.NewMarket(
		chatstest.WithLatency(100*time.Millisecond),
		chatstest.WithHourlyLimit(chats.OpSendMessageToChat, max(plan.items/3, 40)),
		chatstest.WithHourlyLimit(chats.OpGetChatHistory, 2*plan.items),
		chatstest.WithStoredText(func(text string) string {
			if strings.Contains(text, "odd") {
				return strings.ToUpper(text)
			}
			return strings.ReplaceAll(text, " ", "  ")
		}),
		chatstest.WithVisibility(w.visibility),
	)
	for n := range plan.chats {
		w.chats = append(w.chats, w.market.AddChat(chats.Chat{}))
		sleep(time.Millisecond)
		w.market.AddMessage(w.chats[n], chats.SenderPartner, "greetings")
		for w.old[w.chats[n]] = 0; n%2 == 1 && w.old[w.chats[n]] < 1+n%40; w.old[w.chats[n]]++ {
			w.market.AddMessage(w.chats[n], chats.SenderPartner, sameText)
		}
	}
	w.elsewhere = w.market.AddChat(chats.Chat{})
	sleep(72 * time.Hour)
	for n := range plan.items {
		w.items = append(w.items, w.newItem(n))
	}
	w.market.FailFunc(w.fault)
	return w
}

// visibility returns after what time a message is shown. The outbox assumes that it is shown within
// chats.SearchTime after the end of the attempt.
func (w *simulation) visibility(m chats.Message) time.Duration {
	switch longest := chats.SearchTime - w.plan.late; w.intN(16) {
	case 0, 1, 2, 3:
		return w.upTo(longest)
	case 4, 5:
		return longest
	case 6, 7:
		return longest - w.upTo(time.Second)
	case 8:
		if w.plan.slow == 0 || m.Sender != chats.SenderPartner || content(m) == sameText {
			return 0
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.tooLate[content(m)]++
		return chats.SearchTime + time.Duration(w.random.Int64N(int64(w.plan.slow-chats.SearchTime)))
	default:
		return 0
	}
}

func (w *simulation) newItem(n int) outbox.Item {
	item := outbox.Item{Key: fmt.Sprintf("reply %05d", n), Chat: w.chats[w.random.IntN(len(w.chats))]}
	switch n % 8 {
	case 0:
		item.FileName, item.File = fmt.Sprintf("%05d.txt", n), []byte(fmt.Sprint("file ", n))
	case 1, 2:
		item.Text = sameText
	case 3:
		item.Text = fmt.Sprintf("%05d odd", n)
	case 4:
		item.NotAfter = time.Now().Add(w.upTo(5 * time.Hour))
		fallthrough
	default:
		item.Text = fmt.Sprintf("%05d text", n)
	}
	return item
}

// run starts processes, kills them and returns when everything is settled, decided and reported.
func (w *simulation) run() {
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	var all sync.WaitGroup
	for range w.plan.processes {
		all.Go(func() { w.keepRunning(ctx, &all) })
	}
	sleep(time.Second)
	all.Go(w.feed)
	all.Go(func() { w.resolve(ctx) })
	all.Go(func() { w.others(ctx) })
	for began := time.Now(); !w.isDone(); sleep(10 * time.Second) {
		if time.Since(began) > 2*24*time.Hour {
			w.mu.Lock()
			assert.Fail(w.t, "it never ends", "%d of %d Uncertain items decided, %d of %d reported", w.decided, len(w.uncertain), len(w.reported), len(w.items))
			w.mu.Unlock()
			break
		}
	}
	cancel()
	all.Wait()
}

// keepRunning runs one process after another. Most are killed, and the next one then starts at once.
func (w *simulation) keepRunning(ctx context.Context, all *sync.WaitGroup) {
	for ctx.Err() == nil {
		p := w.start(w.lifetime())
		o := p.outbox()
		w.mu.Lock()
		w.running = o
		w.mu.Unlock()
		life, kill := context.WithCancel(ctx)
		ended := make(chan struct{})
		all.Go(func() {
			defer close(ended)
			w.work(life, o)
		})
		select {
		case <-p.killed:
		case <-ended:
		}
		kill()
	}
}

// lifetime is the number of calls after which a process is killed.
func (w *simulation) lifetime() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.kills++; w.kills > w.plan.kills {
		return forever
	}
	return int64(1 + w.random.IntN(80*w.plan.items/(w.plan.kills+1)))
}

// work posts until ctx is done, or until Run gives up.
func (w *simulation) work(ctx context.Context, o *outbox.Outbox) {
	if !w.plan.steps {
		_ = o.Run(ctx)
		return
	}
	for ctx.Err() == nil {
		limited, cancel := context.WithTimeout(ctx, w.upTo(2*time.Minute))
		next, _ := o.Step(limited)
		cancel()
		if next.IsZero() || time.Until(next) > 10*time.Second {
			next = time.Now().Add(10 * time.Second)
		}
		select {
		case <-time.After(time.Until(next) + w.upTo(2*time.Second)):
		case <-ctx.Done():
		}
	}
}

// insist repeats an idempotent call, in one process after another, until it succeeds: in those that
// post, and in others that are killed as well.
func (w *simulation) insist(call func(*outbox.Outbox) error) {
	for {
		w.mu.Lock()
		o := w.running
		w.mu.Unlock()
		if w.rare(2) {
			o = w.start(int64(1 + w.intN(8))).outbox()
		}
		err := call(o)
		if err == nil {
			return
		}
		if errors.Is(err, errKilled) {
			w.mu.Lock()
			w.interrupted++
			w.mu.Unlock()
		} else if !assert.ErrorIs(w.t, err, errConnection) {
			return
		}
		sleep(w.upTo(5 * time.Second))
	}
}

// feed puts the items while the processes work, and discards a few.
func (w *simulation) feed() {
	put := func(items ...outbox.Item) {
		w.insist(func(o *outbox.Outbox) error { return o.Put(w.t.Context(), items...) })
	}
	for n := 0; n < len(w.items); {
		batch := w.items[n:min(n+1+w.intN(9), len(w.items))]
		put(batch...)
		put(batch...) // again
		n += len(batch)
		sleep(w.upTo(3 * time.Second))
		w.market.CustomerSays(w.chats[w.intN(len(w.chats))], "question")
		sleep(time.Millisecond)
		if w.rare(10) {
			w.market.AddMessage(w.chats[w.intN(len(w.chats))], chats.SenderPartner, "another operator")
		}
		if w.rare(10) {
			w.decide(batch[0].Key, outbox.Discard())
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isFed = true
}

func (w *simulation) decide(key string, as outbox.Resolution) {
	w.insist(func(o *outbox.Outbox) error {
		err := o.Resolve(w.t.Context(), key, as)
		if errors.Is(err, outbox.ErrState) {
			return nil
		}
		return err
	})
}

// resolve decides about most items that are Uncertain, as a person does who knows what was posted.
func (w *simulation) resolve(ctx context.Context) {
	for n := 0; ctx.Err() == nil; {
		w.mu.Lock()
		w.decided = n
		next := doubt{since: time.Now()}
		if n < len(w.uncertain) {
			next = w.uncertain[n]
		}
		w.mu.Unlock()
		if time.Since(next.since) < time.Minute {
			sleep(10 * time.Second)
			continue
		}
		w.decideUncertain(next.key)
		n++
	}
}

func (w *simulation) decideUncertain(key string) {
	r, err := w.store.Item(w.t.Context(), w.market.Business(), key)
	assert.NoError(w.t, err)
	var message chats.MessageID
	for _, m := range w.market.Messages(r.Item.Chat) {
		if m.Sender == chats.SenderPartner && content(m) == r.Item.Text+r.Item.FileName {
			message = m.ID
		}
	}
	switch {
	case w.rare(4):
	case r.Item.Text == sameText:
		w.decide(key, outbox.Discard())
	case message != 0:
		w.decide(key, outbox.MarkSent(message))
	default:
		w.decide(key, outbox.ResendAfter(r.Attempts))
	}
}

// others use half of the quotas at the beginning of every hour.
func (w *simulation) others(ctx context.Context) {
	client := w.market.Client(chats.WithRetry(chats.RetryPolicy{MaxAttempts: 1}))
	for ctx.Err() == nil {
		for n := range w.plan.items {
			if n%6 == 0 {
				_ = client.SendText(ctx, w.elsewhere, "of another program")
			}
			_, _ = client.HistoryPage(ctx, w.elsewhere, 0, chats.PageRequest{Size: 1})
		}
		select {
		case <-time.After(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour))):
		case <-ctx.Done():
		}
	}
}

func (w *simulation) isDone() bool {
	sum, err := w.store.Counts(w.t.Context(), w.market.Business())
	require.NoError(w.t, err)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.isFed && w.decided == len(w.uncertain) && len(w.reported) == len(w.items) && sum.Queued+sum.Sending+sum.Unreported == 0
}

// content returns the text or file name of a message as it was sent.
func content(m chats.Message) string {
	if len(m.Files) > 0 {
		return m.Files[0].Name
	}
	return strings.ToLower(strings.Join(strings.Fields(m.Text), " "))
}

// result returns an item as it is stored or, if it has been deleted, as it was reported.
func (w *simulation) result(key string) outbox.Result {
	r, err := w.store.Item(w.t.Context(), w.market.Business(), key)
	if errors.Is(err, outbox.ErrUnknownKey) {
		w.deleted++
		assert.NotEqual(w.t, outbox.Uncertain, w.reported[key].State, "%s must not be deleted", key)
		return w.reported[key]
	}
	assert.NoError(w.t, err)
	return outbox.Result{Item: r.Item, State: r.State, Message: r.Message}
}

// check compares the items with what stands in the chats. Only items whose messages were shown after
// the search time may be posted twice.
func (w *simulation) check() (counts map[outbox.State]int) {
	counts = map[outbox.State]int{}
	posts, contents := map[string]int{}, map[string]string{}
	for _, chat := range w.chats {
		posts[fmt.Sprint(chat, " ", sameText)] = -w.old[chat]
		for _, m := range w.market.Messages(chat) {
			if m.Sender == chats.SenderPartner {
				posts[fmt.Sprint(chat, " ", content(m))]++
				contents[fmt.Sprint(chat, " ", m.ID)] = content(m)
			}
		}
	}
	sent, uncertain, taken := map[string]int{}, map[string]int{}, map[string]string{}
	ordered := map[chats.ChatID]chats.MessageID{}
	for _, item := range w.items {
		r, states := w.result(item.Key), w.states[item.Key]
		counts[r.State]++
		assert.Equal(w.t, r.State, w.reported[item.Key].State, "%s: reported as it is", item.Key)
		where := fmt.Sprint(item.Chat, " ", item.Text+item.FileName)
		wasUncertain := slices.Contains(states, outbox.Uncertain)
		switch {
		case r.State == outbox.Sent:
			sent[where]++
			message := fmt.Sprint(item.Chat, " ", r.Message.ID)
			assert.Empty(w.t, taken[message], "%s has the message of another item", item.Key)
			taken[message] = item.Key
			assert.Equal(w.t, item.Text+item.FileName, contents[message], "%s has another message", item.Key)
			if !wasUncertain { // otherwise it may have been sent again
				assert.Less(w.t, ordered[item.Chat], r.Message.ID, "%s is out of order", item.Key)
				ordered[item.Chat] = r.Message.ID
			}
		case r.State == outbox.Uncertain, r.State == outbox.Discarded && wasUncertain:
			uncertain[where]++
		}
	}
	for _, item := range w.items {
		where := fmt.Sprint(item.Chat, " ", item.Text+item.FileName)
		assert.GreaterOrEqual(w.t, posts[where], sent[where], "%s: a reply is lost: %v", where, w.states[item.Key])
		assert.LessOrEqual(w.t, posts[where], sent[where]+uncertain[where]+w.tooLate[item.Text+item.FileName], "%s: posted twice: %v", where, w.states[item.Key])
	}
	assert.Empty(w.t, w.illegal, "transitions")
	return counts
}

func TestChaos(t *testing.T) {
	t.Parallel()
	size := plan{chats: 25, items: 250, kills: 60, breaks: 600, retention: time.Hour}
	if *large {
		size.chats, size.items, size.kills = 2000, 20_000, 1000
	}
	for seed := range *seedsFlag {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				plan := size
				plan.seed, plan.processes, plan.steps = uint64(seed), 1+seed%2, seed%4 == 3
				plan.late = []time.Duration{7 * time.Second, 0, 3 * time.Second, time.Second}[seed%4]
				plan.slow = []time.Duration{0, 0, 40 * time.Second}[seed%3]
				w := newSimulation(t, plan)
				began := time.Now()
				w.run()
				counts := w.check()
				t.Log(time.Since(began), w.kills, "processes,", w.interrupted, "calls interrupted,", w.deleted, "deleted,", w.mixedUp, "mixed up,", len(w.tooLate), "too late,", counts)
				assert.Greater(t, w.kills, plan.kills/2)
				assert.Positive(t, w.interrupted)
				assert.Positive(t, w.deleted)
				assert.Positive(t, w.mixedUp)
				assert.Greater(t, counts[outbox.Sent], plan.items/2)
			})
		})
	}
}
