package inbox_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
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
)

var (
	seedFlag  = flag.Uint64("seed", 0, "the seed of the simulations; 0 draws new ones")
	chaosFlag = flag.Bool("chaos", false, "simulate 10,000 chats and a million messages (ten minutes)")
	scaleFlag = flag.Int("chaos.messages", 1_000_000, "how many messages, over ten days")
)

// world is a simulation: a Market where messages keep arriving, pushes that get
// lost, doubled and late, faults of every kind, and an inbox that is killed again
// and again. Its time is synctest's.
type world struct {
	plan   plan
	market *chatstest.Market
	marks  *inbox.MemoryStore
	ids    []chats.ChatID
	calm   atomic.Bool // no more faults and kills
	inbox  atomic.Pointer[inbox.Inbox]

	mu        sync.Mutex
	posted    map[chats.ChatID][]chats.MessageID
	handled   map[chats.ChatID]int // how many of posted
	committed map[chats.ChatID]chats.MessageID
	wrong     []string // what must not happen

	deliveries, kills, pushes int
}

type plan struct {
	seed     uint64
	chats    int
	messages int
	last     time.Duration
	kills    int
	workers  int
	every    time.Duration
	options  []chatstest.Option
}

func newWorld(p plan) *world {
	w := &world{
		plan: p, marks: inbox.NewMemoryStore(), market: chatstest.NewMarket(p.options...),
		posted: map[chats.ChatID][]chats.MessageID{}, handled: map[chats.ChatID]int{},
		committed: map[chats.ChatID]chats.MessageID{},
	}
	random := w.random(1)
	for i := range p.chats {
		chat := longAgo()
		chat.Status = chats.StatusFinished
		if random.IntN(10) == 0 {
			chat.Status = chats.StatusWaitingForCustomer
		}
		id := w.market.AddChat(chat)
		w.ids = append(w.ids, id)
		if i%100 == 0 {
			w.market.CustomerSays(id, "old")
		}
	}
	pass(time.Hour)
	return w
}

func (w *world) random(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(w.plan.seed, stream)) }

// live lets the messages arrive, and kills the inbox in the meantime; then lets it
// come to rest.
func (w *world) live(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { w.runInboxes(ctx) })
	w.awaitFollowed(t)
	w.market.FailFunc(w.faults(w.random(2)))
	w.customers(&all)
	w.calm.Store(true)
	w.market.FailFunc(nil)
	for began := time.Now(); !w.isDone() && time.Since(began) < 24*time.Hour; {
		pass(time.Minute)
	}
	cancel()
	all.Wait()
}

// awaitFollowed lets the first start come through: what arrives before is old. Some
// inboxes die in it.
func (w *world) awaitFollowed(t *testing.T) {
	t.Helper()
	for followed := false; !followed; {
		pass(time.Minute)
		marks, err := w.marks.Marks(t.Context(), w.market.Business())
		assert.NoError(t, err)
		followed = !marks[0].UpdatedAt.IsZero()
	}
}

func (w *world) isDone() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, posted := range w.posted {
		if w.handled[id] < len(posted) || w.committed[id] < posted[len(posted)-1] {
			return false
		}
	}
	return true
}

// customers write, and others as well.
func (w *world) customers(all *sync.WaitGroup) {
	random := w.random(3)
	const atOnce = 4.0 / 3 // messages, on average
	mean := atOnce * float64(w.plan.last) / float64(w.plan.messages)
	newOneIn := max(20, 2*w.plan.messages/w.plan.chats) // so that at most half as many come to be
	senders := []chats.Sender{chats.SenderCustomer, chats.SenderCustomer, chats.SenderPartner, chats.SenderMarket, chats.SenderSupport}
	for posted := 0; posted < w.plan.messages; {
		pass(time.Duration(random.ExpFloat64() * mean))
		id := w.ids[random.IntN(len(w.ids))]
		switch {
		case random.IntN(newOneIn) == 0:
			w.mu.Lock()
			id = w.market.AddChat(chats.Chat{})
			w.ids = append(w.ids, id)
			w.mu.Unlock()
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
		w.announce(all, id, random)
	}
}

func (w *world) post(id chats.ChatID, sender chats.Sender) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.posted[id] = append(w.posted[id], w.market.AddMessage(id, sender, strconv.Itoa(len(w.posted[id]))))
}

// announce sends pushes: some are lost, some come late, some twice.
func (w *world) announce(all *sync.WaitGroup, id chats.ChatID, random *rand.Rand) {
	for n := random.IntN(3); n > 0; n-- {
		late := time.Duration(random.IntN(3000)) * time.Millisecond
		if random.IntN(10) == 0 {
			late *= 100
		}
		w.pushes++
		all.Go(func() {
			pass(late)
			if in := w.inbox.Load(); in != nil {
				_ = in.Wake(context.Background(), id)
			}
		})
	}
}

// faults are what may go wrong with a request; one in 25 does, and for some minutes
// of every other hour all do.
func (w *world) faults(random *rand.Rand) func(chats.Operation, int) chatstest.Fault {
	return func(chats.Operation, int) chatstest.Fault {
		now := time.Now()
		outage := now.Hour()%2 == 0 && now.Minute() == 30
		if !outage && random.IntN(25) > 0 {
			return chatstest.OK()
		}
		switch random.IntN(12) {
		case 0:
			return chatstest.RateLimitedHourly(now.Add(time.Duration(random.IntN(120)) * time.Second))
		case 1:
			return chatstest.RateLimitedParallel()
		case 2:
			return chatstest.DropBefore()
		case 3:
			return chatstest.DropAfter()
		case 4:
			return chatstest.Truncate(random.IntN(500))
		case 5:
			return chatstest.Malformed(`{"status":"OK","result":{"chats":null`)
		case 6:
			return chatstest.Delay(time.Duration(random.IntN(60)) * time.Second)
		case 7:
			return chatstest.SlowBody(time.Duration(random.IntN(60)) * time.Second)
		case 8:
			return chatstest.Refused()
		case 9:
			return chatstest.StatusAfter(500, "")
		case 10:
			return chatstest.Status(404, `{"status":"ERROR","errors":[{"code":"NOT_FOUND"}]}`)
		default:
			return chatstest.HTML(502)
		}
	}
}

// runInboxes starts one inbox after the other, each with nothing but the store.
func (w *world) runInboxes(ctx context.Context) {
	random := w.random(4)
	for ctx.Err() == nil {
		life := newLife(w, random)
		err := life.run(ctx)
		if err != nil {
			w.fault("Run: %v", err)
			return
		}
		w.kills++
		pass(time.Duration(random.IntN(20)) * time.Second)
	}
}

func (w *world) fault(format string, values ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrong = append(w.wrong, fmt.Sprintf(format, values...))
}

// life is an inbox from its start to its death. Everything it does passes here:
// from the death on nothing does any more, as if the process had been killed.
type life struct {
	w      *world
	mu     sync.Mutex
	random *rand.Rand
	left   int // steps to live
	dead   chan struct{}
}

var errKilled = errors.New("killed")

func newLife(w *world, random *rand.Rand) *life {
	l := &life{w: w, random: rand.New(rand.NewPCG(random.Uint64(), 5)), left: -1, dead: make(chan struct{})}
	if !w.calm.Load() && w.kills < w.plan.kills {
		// Half of them die young, while they read the list.
		l.left = 1 + random.IntN(50)
		if random.IntN(2) == 0 {
			l.left = 1 + random.IntN(2*stepsPerLife(w.plan))
		}
	}
	return l
}

// stepsPerLife spreads the kills over the simulation.
func stepsPerLife(p plan) int { return 100 + p.chats/10 + p.messages*8/max(1, p.kills) }

// step is a point at which the inbox may die.
func (l *life) step(ctx context.Context) error {
	l.mu.Lock()
	if l.left > 0 {
		if l.left--; l.left == 0 {
			close(l.dead)
		}
	}
	l.mu.Unlock()
	select {
	case <-l.dead:
		<-ctx.Done() // it never returns; the end of the process ends it
		return errKilled
	default:
		return nil
	}
}

func (l *life) chance(oneIn int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.w.calm.Load() && l.random.IntN(oneIn) == 0
}

func (l *life) run(ctx context.Context) error {
	ctx, kill := context.WithCancel(ctx)
	defer kill()
	client := l.w.market.Client(chats.WithHTTPClient(&http.Client{Transport: mortal{l, l.w.market.Transport()}}))
	in, err := inbox.New(client, &ledgerOf{l, l.w.marks}, inbox.WithPollInterval(l.w.plan.every), inbox.WithWorkers(l.w.plan.workers))
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

// mortal is the network of a life.
type mortal struct {
	l    *life
	next http.RoundTripper
}

func (m mortal) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := m.l.step(req.Context()); err != nil {
		return nil, err
	}
	resp, err := m.next.RoundTrip(req)
	if err == nil {
		if err = m.l.step(req.Context()); err != nil {
			_ = resp.Body.Close()
			return nil, err
		}
	}
	return resp, err
}

// ledgerOf is the store as a life sees it: it fails before and after it does what
// it is asked for, and it hangs.
type ledgerOf struct {
	l *life
	*inbox.MemoryStore
}

var errStore = errors.New("the store is away")

func (s *ledgerOf) Marks(ctx context.Context, business chats.BusinessID) (map[chats.ChatID]inbox.Mark, error) {
	if err := s.l.step(ctx); err != nil {
		return nil, err
	}
	if s.l.chance(20) {
		return nil, errStore
	}
	return s.MemoryStore.Marks(ctx, business)
}

func (s *ledgerOf) Commit(ctx context.Context, business chats.BusinessID, chat chats.ChatID, from, to inbox.Mark) error {
	if err := s.l.step(ctx); err != nil {
		return err
	}
	if s.l.chance(50) {
		return errStore
	}
	if s.l.chance(200) {
		<-ctx.Done()
		return ctx.Err()
	}
	if err := s.MemoryStore.Commit(ctx, business, chat, from, to); err != nil {
		return err
	}
	s.l.w.commit(chat, to)
	if err := s.l.step(ctx); err != nil {
		return err
	}
	if s.l.chance(50) {
		return errStore
	}
	return nil
}

func (w *world) commit(chat chats.ChatID, to inbox.Mark) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if to.Message < w.committed[chat] {
		w.wrong = append(w.wrong, fmt.Sprintf("chat %d: the mark went back to %d", chat, to.Message))
	}
	w.committed[chat] = to.Message
}

// handle is the user's handler: it takes its time, fails and panics.
func (l *life) handle(ctx context.Context, d inbox.Delivery) error {
	if err := l.step(ctx); err != nil {
		return err
	}
	l.w.check(d)
	if l.chance(3) {
		pass(time.Duration(d.Message.ID%3000) * time.Millisecond)
	}
	if l.chance(50) {
		return errors.New("not now")
	}
	if l.chance(200) {
		panic("not now")
	}
	if err := l.step(ctx); err != nil {
		return err
	}
	l.w.done(d)
	return l.step(ctx)
}

// check is what is promised of a delivery.
func (w *world) check(d inbox.Delivery) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deliveries++
	chat, id := d.Chat.ID, d.Message.ID
	if id <= w.committed[chat] {
		w.wrong = append(w.wrong, fmt.Sprintf("chat %d: message %d was committed before", chat, id))
	}
	number, err := strconv.Atoi(d.Message.Text)
	if err != nil || number >= len(w.posted[chat]) || w.posted[chat][number] != id {
		w.wrong = append(w.wrong, fmt.Sprintf("chat %d: message %d is not to be delivered", chat, id))
		return
	}
	if number > w.handled[chat] {
		w.wrong = append(w.wrong, fmt.Sprintf("chat %d: message %d comes before its time", chat, id))
	}
}

func (w *world) done(d inbox.Delivery) {
	w.mu.Lock()
	defer w.mu.Unlock()
	number, _ := strconv.Atoi(d.Message.Text)
	w.handled[d.Chat.ID] = max(w.handled[d.Chat.ID], number+1)
}

// verify is what is promised of the whole.
func (w *world) verify(t *testing.T) {
	t.Helper()
	assert.Empty(t, w.wrong, "seed %d", w.plan.seed)
	lost, total := 0, 0
	for id, posted := range w.posted {
		total += len(posted)
		lost += len(posted) - w.handled[id]
	}
	assert.Zero(t, lost, "messages never handled, seed %d", w.plan.seed)
	t.Logf("seed %d: %d chats, %d messages, %d deliveries, %d pushes, %d kills; requests: %d getChats, %d getChatHistory, %d getChat",
		w.plan.seed, len(w.ids), total, w.deliveries, w.pushes, w.kills,
		w.market.Calls(chats.OpGetChats), w.market.Calls(chats.OpGetChatHistory), w.market.Calls(chats.OpGetChat))
}

func seeds(n int) []uint64 {
	if *seedFlag != 0 {
		return []uint64{*seedFlag}
	}
	all := make([]uint64, n)
	for i := range all {
		all[i] = rand.Uint64N(1_000_000_000)
	}
	return all
}

// Small worlds of several seeds, and of every order that Market may have.
func TestNothingIsLostInSmallWorlds(t *testing.T) {
	t.Parallel()
	options := [][]chatstest.Option{
		nil,
		{chatstest.WithOrder(chatstest.NewestFirst), chatstest.WithDuplicates()},
		{chatstest.WithOrder(chatstest.NewestPageFirst), chatstest.WithExclusiveSince(), chatstest.WithPreciseTimes()},
		{chatstest.WithLatency(300 * time.Millisecond), chatstest.WithEmptyPages()},
	}
	for i, seed := range seeds(len(options)) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(plan{
					seed: seed, chats: 100, messages: 400, last: 6 * time.Hour, kills: 80,
					workers: 1 + i*2, every: time.Minute, options: options[i],
				})
				w.live(t)
				w.verify(t)
			})
		})
	}
}

// 2,000 chats, and a day.
func TestNothingIsLostInADay(t *testing.T) {
	if testing.Short() {
		t.Skip("the small worlds are simulated instead")
	}
	t.Parallel()
	seed := seeds(1)[0]
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(plan{
			seed: seed, chats: 2000, messages: 3000, last: 24 * time.Hour, kills: 200, workers: 8, every: 10 * time.Minute,
			options: []chatstest.Option{chatstest.WithLatency(30 * time.Millisecond)},
		})
		w.live(t)
		w.verify(t)
		assert.GreaterOrEqual(t, w.kills, 200)
	})
}

// The same, longer and larger: make chaos.
func TestChaos(t *testing.T) {
	if !*chaosFlag {
		t.Skip("run with -chaos; it takes ten minutes or more")
	}
	t.Parallel()
	for _, seed := range seeds(1) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(plan{
				seed: seed, chats: 10_000, messages: *scaleFlag, last: 10 * 24 * time.Hour, kills: 1000, workers: 8, every: 5 * time.Minute,
				options: []chatstest.Option{chatstest.WithLatency(30 * time.Millisecond)},
			})
			w.live(t)
			w.verify(t)
		})
	}
}
