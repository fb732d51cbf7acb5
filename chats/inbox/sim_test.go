package inbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
	"github.com/ymchats/ymchats-go/chats/internal/race"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "the seed of the simulations; 0 draws new ones")
	chaosFlag = flag.Bool("chaos", false, "simulate 10,000 chats and as many messages as chaos.messages says")
	scaleFlag = flag.Int("chaos.messages", 1_000_000, "how many messages, over ten days")
	seedsFlag = flag.Int("chaos.seeds", 1, "how many simulations, with the messages shared among them")
)

// plan is what a simulation is to be like.
type plan struct {
	seed     uint64
	chats    int
	messages int
	last     time.Duration
	late     time.Duration // the latest that a message becomes visible
	kills    int
	interval time.Duration
	market   []chatstest.Option
	inbox    []inbox.Option
	quota    int  // of getChats, an hour
	contract bool // hold the exchanges to the contract
}

// simulation simulates a Market where messages keep arriving, some of which become visible late
// or have no time, pushes that get lost, doubled and late, other programs that use the quota,
// faults of every kind, and an inbox that is killed again and again. Its time is synctest's.
type simulation struct {
	t      *testing.T
	plan   plan
	market *chatstest.Market
	store  *inbox.MemoryStore
	ids    []chats.ChatID
	calm   atomic.Bool // no more faults and kills
	inbox  atomic.Pointer[inbox.Inbox]

	mu      sync.Mutex
	posted  map[chats.ChatID]map[chats.MessageID]bool // whether it was handled
	order   map[chats.ChatID][]chats.MessageID        // of those that were visible at once
	next    map[chats.ChatID]int                      // in order, the first that was not handled
	saved   map[chats.ChatID]inbox.ChatState
	open    int // posted and not handled
	unsaved int // posted and not saved as handled
	wrong   []string

	deliveries, kills, late, leases int
}

func newSimulation(t *testing.T, p plan) *simulation {
	t.Helper()
	w := &simulation{
		t: t, plan: p, store: inbox.NewMemoryStore(), posted: map[chats.ChatID]map[chats.MessageID]bool{},
		order: map[chats.ChatID][]chats.MessageID{}, next: map[chats.ChatID]int{}, saved: map[chats.ChatID]inbox.ChatState{},
	}
	w.market = chatstest.NewMarket(append([]chatstest.Option{
		chatstest.WithVisibility(w.delay), chatstest.WithOddItems(w.odd),
		chatstest.WithHourlyLimit(chats.OpGetChats, p.quota), chatstest.WithHourlyLimit(chats.OpGetChatHistory, max(10_000, p.messages/50)),
	}, p.market...)...)
	random := w.random(1)
	for i := range p.chats {
		chat := longAgo()
		chat.Status = chats.StatusFinished
		if random.IntN(10) == 0 {
			chat.Status = chats.StatusWaitingForCustomer
		}
		id := w.market.AddChat(chat)
		w.ids = append(w.ids, id)
		if i%20 == 0 {
			w.market.CustomerSays(id, "old")
		}
	}
	sleep(time.Hour + 2*p.late) // until all that is old is visible
	return w
}

func (w *simulation) random(stream uint64) *rand.Rand {
	return rand.New(rand.NewPCG(w.plan.seed, stream))
}

// chance draws by a value, the same for the same one.
func (w *simulation) chance(value any, oneIn uint64) bool { return w.hash(value)%oneIn == 0 }

func (w *simulation) hash(value any) uint64 {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, w.plan.seed, value)
	return h.Sum64()
}

// delay is how late a message becomes visible: from milliseconds to hours, one in ten.
func (w *simulation) delay(m chats.Message) time.Duration {
	if m.Text == "old" || w.plan.late == 0 || !w.chance(m.ID, 10) {
		return 0
	}
	d := time.Millisecond
	for n := w.hash(-m.ID) % 24; n > 0 && d < w.plan.late/2; n-- {
		d *= 2
	}
	return d
}

// odd drops times, empties them, and makes other fields unreadable, some IDs among them: those of old
// messages, of messages that are late, for as long again, and of a chat for 20 minutes.
func (w *simulation) odd(item map[string]any) {
	id, chat := item["messageId"], item["chatId"]
	isNew := id != nil && item["message"] != "old"
	created, _ := time.Parse(time.RFC3339, fmt.Sprint(item["createdAt"]))
	if number, isNumber := id.(json.Number); isNumber {
		message, _ := number.Int64()
		late := w.delay(chats.Message{ID: chats.MessageID(message)})
		if !isNew && w.chance(fmt.Sprint("id", id), 10) || isNew && time.Since(created) < 2*late {
			item["messageId"] = unreadable[w.hash(id)%uint64(len(unreadable))]
		}
	}
	if chat != nil && !w.calm.Load() && w.chance(fmt.Sprint("id", chat, time.Now().Truncate(20*time.Minute)), 30) {
		item["chatId"] = unreadable[w.hash(chat)%uint64(len(unreadable))]
	}
	switch {
	case isNew && w.chance(fmt.Sprint("timeless", id), 20):
		delete(item, "createdAt")
	case isNew && w.chance(fmt.Sprint("empty", id), 50):
		item["createdAt"] = ""
	case chat != nil && w.chance(fmt.Sprint("timeless", chat), 50):
		delete(item, "updatedAt")
	case chat != nil && w.chance(fmt.Sprint("empty", chat), 50):
		item["updatedAt"] = ""
	}
	if id != nil && w.chance(fmt.Sprint("files", id), 50) {
		item["payload"] = "none"
	}
	if chat != nil && w.chance(fmt.Sprint("type", chat), 50) {
		item["type"] = 7
	}
}

// unreadable are IDs that are no numbers above 0.
var unreadable = []any{nil, "", "none", 0, 0.5, map[string]any{}}

// live lets the messages arrive, and kills the inbox in the meantime; then lets it come to
// rest.
func (w *simulation) live() {
	ctx, cancel := context.WithCancel(w.t.Context())
	var all sync.WaitGroup
	all.Go(func() { w.runInboxes(ctx) })
	w.awaitStart()
	w.market.FailFunc(w.faults(w.random(2)))
	all.Go(func() { w.others(ctx) })
	w.customers(&all)
	w.calm.Store(true)
	w.market.FailFunc(nil)
	for began := time.Now(); !w.isDone() && time.Since(began) < 48*time.Hour; {
		sleep(time.Minute)
	}
	cancel()
	all.Wait()
}

func (w *simulation) awaitStart() {
	for {
		sleep(time.Second)
		state, err := w.store.Business(w.t.Context(), w.market.Business())
		assert.NoError(w.t, err)
		if !state.StartTime.IsZero() {
			sleep(5 * time.Second)
			return
		}
	}
}

func (w *simulation) isDone() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.open == 0 && w.unsaved == 0
}

// others use half of the quota at the beginning of every hour.
func (w *simulation) others(ctx context.Context) {
	client := w.market.Client(chats.WithRetry(chats.RetryPolicy{MaxAttempts: 1}))
	for ctx.Err() == nil && !w.calm.Load() {
		for range w.plan.quota / 2 {
			_, _ = client.ChatsPage(ctx, chats.Filter{PageSize: 1}, chats.PageRequest{})
		}
		sleep(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour)))
	}
}

// customers write, and others as well.
func (w *simulation) customers(all *sync.WaitGroup) {
	random := w.random(3)
	const atOnce = 4.0 / 3 // messages, on average
	mean := atOnce * float64(w.plan.last) / float64(w.plan.messages)
	newOneIn := max(20, 2*w.plan.messages/w.plan.chats) // so that at most half as many come to be
	senders := []chats.Sender{chats.SenderCustomer, chats.SenderCustomer, chats.SenderPartner, chats.SenderMarket, chats.SenderSupport}
	for posted := 0; posted < w.plan.messages; {
		sleep(time.Duration(random.ExpFloat64() * mean))
		id := w.ids[random.IntN(len(w.ids))]
		switch {
		case random.IntN(newOneIn) == 0:
			id = w.market.AddChat(chats.Chat{})
			w.ids = append(w.ids, id)
		case random.IntN(7) == 0:
			id = w.ids[random.IntN(1+len(w.ids)/50)] // some write more
		}
		for range 1 + random.IntN(3)/2 { // now and then two in one moment
			w.post(id, senders[random.IntN(len(senders))])
			posted++
		}
		if random.IntN(4) == 0 {
			w.market.FinishChat(id)
		}
		w.push(all, id, random)
	}
}

func (w *simulation) post(id chats.ChatID, sender chats.Sender) {
	w.mu.Lock()
	defer w.mu.Unlock()
	message := w.market.AddMessage(id, sender, "new")
	if w.posted[id] == nil {
		w.posted[id] = map[chats.MessageID]bool{}
	}
	w.posted[id][message] = false
	w.open++
	w.unsaved++
	if w.delay(chats.Message{ID: message, Text: "new"}) == 0 {
		w.order[id] = append(w.order[id], message)
	} else {
		w.late++
	}
}

// push announces a message: some pushes are lost, some come late, some twice.
func (w *simulation) push(all *sync.WaitGroup, id chats.ChatID, random *rand.Rand) {
	for n := random.IntN(3); n > 0; n-- {
		late := time.Duration(random.IntN(3000)) * time.Millisecond
		if random.IntN(10) == 0 {
			late *= 100
		}
		all.Go(func() {
			sleep(late)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if in := w.inbox.Load(); in != nil {
				_ = in.Wake(ctx, id)
			}
		})
	}
}

// faults are what may go wrong with a request; one in 25 does, and for some minutes of
// every other hour all do.
func (w *simulation) faults(random *rand.Rand) func(chats.Operation, int) chatstest.Fault {
	const notFound = `{"status":"ERROR","errors":[{"code":"NOT_FOUND"}]}`
	kinds := []func(time.Time) chatstest.Fault{
		func(now time.Time) chatstest.Fault {
			return chatstest.RateLimitedHourly(now.Add(time.Duration(random.IntN(120)) * time.Second))
		},
		func(time.Time) chatstest.Fault { return chatstest.RateLimitedParallel() },
		func(time.Time) chatstest.Fault { return chatstest.DropBefore() },
		func(time.Time) chatstest.Fault { return chatstest.DropAfter() },
		func(time.Time) chatstest.Fault { return chatstest.Truncate(random.IntN(500)) },
		func(time.Time) chatstest.Fault { return chatstest.Malformed(`{"status":"OK","result":{"chats":null`) },
		func(time.Time) chatstest.Fault { return chatstest.Delay(time.Duration(random.IntN(60)) * time.Second) },
		func(time.Time) chatstest.Fault {
			return chatstest.SlowBody(time.Duration(random.IntN(60)) * time.Second)
		},
		func(time.Time) chatstest.Fault { return chatstest.Refused() },
		func(time.Time) chatstest.Fault { return chatstest.StatusAfter(500, "") },
		func(time.Time) chatstest.Fault { return chatstest.Status(404, notFound) },
		func(time.Time) chatstest.Fault { return chatstest.HTML(400) },
		func(time.Time) chatstest.Fault { return chatstest.HTML(502) },
	}
	return func(op chats.Operation, _ int) chatstest.Fault {
		now := time.Now()
		switch minute := now.Minute(); {
		case now.Hour()%3 == 1 && minute >= 30 && minute < 40:
			return chatstest.HTML(503) // a storm
		case now.Hour()%3 == 2 && minute >= 10 && minute < 12 && op == chats.OpGetChatHistory:
			return chatstest.Status(404, notFound)
		case now.Hour()%3 == 1 && minute >= 50 && minute < 52:
			return chatstest.Status(400, `{"status":"ERROR","errors":[{"code":"BAD_REQUEST"}]}`)
		case now.Hour()%3 == 2 && minute >= 40 && minute < 42 && (op != chats.OpGetChats || minute == 40 && now.Second() < 40):
			return chatstest.Status(403, `{"status":"ERROR","errors":[{"code":"FORBIDDEN"}]}`)
		case now.Hour()%3 == 0 && minute >= 20 && minute < 22:
			return chatstest.RateLimitedParallel()
		case now.Hour()%3 == 0 && minute == 50 && now.Second() < 40:
			return chatstest.Status(401, `{"status":"ERROR"}`) // a new key is not known everywhere
		case random.IntN(25) > 0:
			return chatstest.OK()
		}
		return kinds[random.IntN(len(kinds))](now)
	}
}

// runInboxes starts one inbox after the other, each with nothing but the store.
func (w *simulation) runInboxes(ctx context.Context) {
	random := w.random(4)
	for ctx.Err() == nil {
		if err := newProcess(w, random).run(ctx); err != nil && !errors.Is(err, errKilled) {
			w.fault("Run: %v", err)
			return
		}
		w.kills++
		sleep(time.Duration(random.IntN(20)) * time.Second)
	}
}

func (w *simulation) fault(format string, values ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrong = append(w.wrong, fmt.Sprintf(format, values...))
}

// process is an inbox from its start to its death. Everything it does passes here: from the
// death on nothing does any more, as if the process had been killed.
type process struct {
	w      *simulation
	mu     sync.Mutex
	random *rand.Rand
	left   int // steps to live; -1: for ever
	dead   chan struct{}
}

var errKilled = errors.New("killed")

func newProcess(w *simulation, random *rand.Rand) *process {
	l := &process{w: w, random: rand.New(rand.NewPCG(random.Uint64(), 5)), left: -1, dead: make(chan struct{})}
	if !w.calm.Load() && w.kills < w.plan.kills {
		l.left = 1 + random.IntN(100) // half of them die young
		if random.IntN(2) == 0 {
			l.left = 1 + random.IntN(100+w.plan.messages*20/max(1, w.plan.kills))
		}
	}
	return l
}

// step is a point at which the inbox may die.
func (l *process) step() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left > 0 && !l.w.calm.Load() {
		if l.left--; l.left == 0 {
			close(l.dead)
		}
	}
	select {
	case <-l.dead:
		return errKilled
	default:
		return nil
	}
}

func (l *process) chance(oneIn int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.w.calm.Load() && l.random.IntN(oneIn) == 0
}

func (l *process) run(ctx context.Context) error {
	ctx, kill := context.WithCancel(ctx)
	defer kill()
	transport := l.w.market.Transport()
	if l.w.plan.contract {
		transport = contract.Transport(l.w.t, transport)
	}
	client := l.w.market.Client(chats.WithHTTPClient(&http.Client{Transport: killableTransport{l, transport}}))
	options := append([]inbox.Option{inbox.WithPollInterval(l.w.plan.interval)}, l.w.plan.inbox...)
	var store inbox.Store = &killableStore{l, l.w.store}
	if l.random.IntN(2) == 0 {
		store = killableSteps{&killableStore{l, l.w.store}}
	}
	in, err := inbox.New(client, store, options...)
	if err != nil {
		return err
	}
	l.w.inbox.Store(in)
	defer l.w.inbox.Store(nil)
	var reaper sync.WaitGroup
	defer reaper.Wait()
	defer kill()
	reaper.Go(func() {
		select {
		case <-l.dead:
			kill()
		case <-ctx.Done():
		}
	})
	return in.Run(ctx, l.handle)
}

// killableTransport is the network of a process.
type killableTransport struct {
	l    *process
	next http.RoundTripper
}

func (m killableTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := m.l.step(); err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	resp, err := m.next.RoundTrip(req)
	if err == nil {
		if err = m.l.step(); err != nil {
			_ = resp.Body.Close()
			return nil, err
		}
	}
	return resp, err
}

// killableStore is the store as a process sees it: it fails before and after it does what it is
// asked for, it hangs, and its leases get lost.
type killableStore struct {
	l *process
	*inbox.MemoryStore
}

func (s *killableStore) do(ctx context.Context, f func() error) error {
	if err := s.l.step(); err != nil {
		return err
	}
	if s.l.chance(100) {
		return errAway
	}
	if s.l.chance(2000) {
		<-ctx.Done()
		return ctx.Err()
	}
	if err := f(); err != nil {
		return err
	}
	if err := s.l.step(); err != nil {
		return err
	}
	if s.l.chance(100) {
		return errAway
	}
	return nil
}

func (s *killableStore) Business(ctx context.Context, id chats.BusinessID) (state inbox.BusinessState, err error) {
	err = s.do(ctx, func() (err error) { state, err = s.MemoryStore.Business(ctx, id); return err })
	return state, err
}

func (s *killableStore) Chats(ctx context.Context, id chats.BusinessID, ids []chats.ChatID) (rows []inbox.ChatState, err error) {
	err = s.do(ctx, func() (err error) { rows, err = s.MemoryStore.Chats(ctx, id, ids); return err })
	return rows, err
}

func (s *killableStore) Due(ctx context.Context, id chats.BusinessID, at time.Time, n int) (rows []inbox.ChatState, err error) {
	err = s.do(ctx, func() (err error) { rows, err = s.MemoryStore.Due(ctx, id, at, n); return err })
	return rows, err
}

func (s *killableStore) Open(ctx context.Context, id chats.BusinessID) (ids []chats.ChatID, err error) {
	err = s.do(ctx, func() (err error) { ids, err = s.MemoryStore.Open(ctx, id); return err })
	return ids, err
}

func (s *killableStore) Save(ctx context.Context, lease inbox.Lease, state *inbox.BusinessState, rows []inbox.ChatState) error {
	return s.do(ctx, func() error {
		written := slices.Clone(rows) // the arguments of a call that fails stay as they are
		var business *inbox.BusinessState
		if state != nil {
			kept := *state
			business = &kept
		}
		if err := s.MemoryStore.Save(ctx, lease, business, written); err != nil {
			return err
		}
		s.l.w.save(written)
		if state != nil {
			state.Version = business.Version
		}
		copy(rows, written)
		return nil
	})
}

func (s *killableStore) Wake(ctx context.Context, id chats.BusinessID, chat chats.ChatID, at time.Time) error {
	return s.do(ctx, func() error { return s.MemoryStore.Wake(ctx, id, chat, at) })
}

func (s *killableStore) Acquire(ctx context.Context, id chats.BusinessID, purpose, holder string) (lease inbox.Lease, err error) {
	err = s.do(ctx, func() (err error) { lease, err = s.MemoryStore.Acquire(ctx, id, purpose, holder); return err })
	return lease, err
}

func (s *killableStore) Renew(ctx context.Context, lease inbox.Lease) (next time.Time, err error) {
	if s.l.chance(3000) {
		s.l.w.leases++
		_ = s.MemoryStore.Release(ctx, lease) // and whatever is saved now is refused
	}
	err = s.do(ctx, func() (err error) { next, err = s.MemoryStore.Renew(ctx, lease); return err })
	return next, err
}

func (s *killableStore) Release(ctx context.Context, lease inbox.Lease) error {
	return s.do(ctx, func() error { return s.MemoryStore.Release(ctx, lease) })
}

// killableSteps is a killableStore that is a StepStore.
type killableSteps struct{ *killableStore }

func (s killableSteps) AcquireBusiness(
	ctx context.Context, id chats.BusinessID, purpose, holder string,
) (lease inbox.Lease, state inbox.BusinessState, err error) {
	err = s.do(ctx, func() (err error) {
		if lease, err = s.MemoryStore.Acquire(ctx, id, purpose, holder); err == nil {
			state, err = s.MemoryStore.Business(ctx, id)
		}
		return err
	})
	return lease, state, err
}

func (s killableSteps) ReleaseBusiness(
	ctx context.Context, lease inbox.Lease, state *inbox.BusinessState,
) (next time.Time, err error) {
	err = s.do(ctx, func() (err error) {
		if state != nil {
			written := *state
			if err = s.MemoryStore.Save(ctx, lease, &written, nil); err != nil {
				return err
			}
		}
		if next, err = s.MemoryStore.Renew(ctx, lease); err == nil {
			err = s.MemoryStore.Release(ctx, lease)
		}
		return err
	})
	return next, err
}

func isHandled(row inbox.ChatState, id chats.MessageID) bool {
	return id <= row.Checkpoint || slices.Contains(row.Handled, id)
}

// save is what is promised of a row: what is handled stays so.
func (w *simulation) save(rows []inbox.ChatState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, row := range rows {
		before := w.saved[row.Chat]
		if row.Checkpoint < before.Checkpoint {
			w.wrong = append(w.wrong, fmt.Sprintf("chat %d: the checkpoint went back to %d", row.Chat, row.Checkpoint))
		}
		for _, id := range before.Handled {
			if !isHandled(row, id) {
				w.wrong = append(w.wrong, fmt.Sprintf("chat %d: message %d was forgotten", row.Chat, id))
			}
		}
		for id := range w.posted[row.Chat] {
			if isHandled(row, id) && !isHandled(before, id) {
				w.unsaved--
				if !w.posted[row.Chat][id] {
					w.wrong = append(w.wrong, fmt.Sprintf("chat %d: message %d was saved and not handled", row.Chat, id))
				}
			}
		}
		row.Handled = slices.Clone(row.Handled)
		w.saved[row.Chat] = row
	}
}

// handle is the user's handler: it takes its time, fails, panics, and is down for two hours.
func (l *process) handle(_ context.Context, d inbox.Delivery) error {
	if err := l.step(); err != nil {
		return err
	}
	l.w.check(d)
	if l.chance(3) {
		sleep(time.Duration(d.Message.ID%3000) * time.Millisecond)
	}
	if hour := time.Now().Hour() % 12; !l.w.calm.Load() && (hour == 3 || hour == 4) {
		return errors.New("the CRM is down")
	}
	if l.chance(50) {
		return errors.New("not now")
	}
	if l.chance(200) {
		panic("not now")
	}
	if err := l.step(); err != nil {
		return err
	}
	l.w.done(d)
	return l.step()
}

// check is what is promised of a delivery.
func (w *simulation) check(d inbox.Delivery) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deliveries++
	chat, id := d.Chat.ID, d.Message.ID
	if isHandled(w.saved[chat], id) {
		w.wrong = append(w.wrong, fmt.Sprintf("chat %d: message %d was saved as handled before", chat, id))
	}
	if _, ours := w.posted[chat][id]; !ours {
		w.wrong = append(w.wrong, fmt.Sprintf("chat %d: message %d (%q) is not to be delivered", chat, id, d.Message.Text))
		return
	}
	if next := w.next[chat]; next < len(w.order[chat]) && id > w.order[chat][next] {
		w.wrong = append(w.wrong, fmt.Sprintf("chat %d: message %d comes before its time", chat, id))
	}
}

func (w *simulation) done(d inbox.Delivery) {
	w.mu.Lock()
	defer w.mu.Unlock()
	chat := w.posted[d.Chat.ID]
	if handled, ours := chat[d.Message.ID]; !ours || handled {
		return
	}
	chat[d.Message.ID] = true
	w.open--
	order := w.order[d.Chat.ID]
	for n := w.next[d.Chat.ID]; n < len(order) && chat[order[n]]; n++ {
		w.next[d.Chat.ID] = n + 1
	}
}

// verify is what is promised of the whole.
func (w *simulation) verify() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	assert.Empty(w.t, w.wrong[:min(len(w.wrong), 10)], "seed %d", w.plan.seed)
	assert.Zero(w.t, w.open, "messages never handled, seed %d", w.plan.seed)
	assert.Zero(w.t, w.unsaved, "messages never saved, seed %d", w.plan.seed)
	w.t.Logf("seed %d: %d chats, %d messages (%d late), %d deliveries, %d kills, %d leases lost; requests: %d getChats, %d getChatHistory, %d getChat",
		w.plan.seed, len(w.ids), w.plan.messages, w.late, w.deliveries, w.kills, w.leases,
		w.market.Calls(chats.OpGetChats), w.market.Calls(chats.OpGetChatHistory), w.market.Calls(chats.OpGetChat))
}

func seeds(n int) []uint64 {
	if *seedFlag != 0 {
		return slices.Repeat([]uint64{*seedFlag}, n)
	}
	all := make([]uint64, n)
	for i := range all {
		all[i] = rand.Uint64N(1_000_000_000)
	}
	return all
}

// Small simulations of several seeds, and of every order that Market may have.
func TestSimulation_NothingIsLostInSmallWorlds(t *testing.T) {
	t.Parallel()
	options := [][]chatstest.Option{
		{chatstest.WithSwappedNeighbours()},
		{chatstest.WithOrder(chatstest.NewestFirst), chatstest.WithDuplicates(), chatstest.WithHistoryLag(90 * time.Second)},
		{chatstest.WithOrder(chatstest.NewestPageFirst), chatstest.WithExclusiveSince(), chatstest.WithPreciseTimes()},
		{chatstest.WithLatency(300 * time.Millisecond), chatstest.WithEmptyPages(), chatstest.WithStrictSince()},
	}
	messages, last := 200, 5*time.Hour
	if race.Enabled {
		messages, last = 80, 3*time.Hour
	}
	for i, seed := range seeds(len(options)) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newSimulation(t, plan{
					seed: seed, chats: 60, messages: messages, last: last, late: time.Hour, kills: 40,
					interval: 5 * time.Minute, quota: 400, market: options[i], inbox: []inbox.Option{inbox.WithWorkers(1 + 2*i)}, contract: true,
				})
				w.live()
				w.verify()
			})
		})
	}
}

// The same, longer and larger, and with everything at once: make chaos.
func TestChaos(t *testing.T) {
	scale := plan{
		chats: 10_000, messages: *scaleFlag / *seedsFlag, last: 10 * 24 * time.Hour, late: 10 * time.Hour, kills: 1000,
		interval: 5 * time.Minute, quota: 1000, inbox: []inbox.Option{inbox.WithLookback(1000)},
		market: []chatstest.Option{
			chatstest.WithLatency(30 * time.Millisecond), chatstest.WithHistoryLag(90 * time.Second), chatstest.WithSwappedNeighbours(),
		},
	}
	n := *seedsFlag
	if !*chaosFlag {
		n, scale.chats, scale.messages, scale.last, scale.late, scale.kills, scale.quota = 1, 300, 300, 3*time.Hour, 20*time.Minute, 20, 400
	}
	t.Parallel()
	for _, seed := range seeds(n) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				scale.seed = seed
				w := newSimulation(t, scale)
				w.live()
				w.verify()
			})
		})
	}
}
