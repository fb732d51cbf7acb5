package fleet_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/fleet/internal/rig"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

var manyKills = flag.Bool("kills", false, "kill the processes 200 times, with 2,400 replies, wait for River's rescue, and bound the latencies; needs an idle machine")

func TestFleet_ProcessesComeAndGo(t *testing.T) {
	t.Parallel()
	s := newCluster(t, 30, 3, func(c *rig.WorkerConfig) { c.HandlerTime = 50 * time.Millisecond })
	quiet := during(func() { s.pushes(40, s.shops) })
	killed := s.workers[0]
	var concerned []chats.BusinessID
	kill := during(func() { // it remains among the receivers for a while
		s.pushes(20, s.shops)
		killed.Kill()
		concerned = s.shopsOf(killed)
		s.pushes(20, s.shops)
	})
	s.remove(0)
	joined := s.add(s.config)
	joins := time.Now()
	join := during(func() {
		for s.firstOf(joined).IsZero() && time.Since(joins) < time.Minute {
			s.pushes(10, s.shops)
		}
	})
	stopped, stopTime := s.workers[0], make(chan time.Duration, 1)
	stop := during(func() {
		go func() { stopTime <- stopped.Stop() }()
		s.pushes(40, s.shops)
	})
	s.remove(0)
	s.awaitAll()
	s.checkTwice(killed)
	require.NotZero(t, s.firstOf(joined), "a process that joins gets work")

	all := func(chats.BusinessID) bool { return true }
	isConcerned := func(id chats.BusinessID) bool { return slices.Contains(concerned, id) }
	usual := s.slowest(quiet, all)
	for name, figure := range map[string]struct{ is, bound time.Duration }{
		"kill: push to handler, other shops":        {s.slowest(kill, func(id chats.BusinessID) bool { return !isConcerned(id) }), 2 * time.Second},
		"kill: push to handler, shops concerned":    {s.slowest(kill, isConcerned), 75 * time.Second},
		"join: until the process handles a message": {s.firstOf(joined).Sub(joins), 5 * time.Second},
		"join: push to handler":                     {s.slowest(join, all), 2 * time.Second},
		"stop: push to handler":                     {s.slowest(stop, all), 2 * time.Second},
		"stop: until the process has ended":         {<-stopTime, 5 * time.Second},
	} {
		t.Log(name, figure.is.Round(time.Millisecond))
		if !*manyKills { // the machine may be busy: less than the rescue of a job
			figure.bound = max(figure.bound, 15*time.Second+5*usual)
		}
		assert.Less(t, figure.is, figure.bound, name)
	}
	t.Log("quiet: push to handler", usual.Round(time.Millisecond), "shops concerned", len(concerned))

	// Sweeps continue as well, for every shop, without a push.
	for _, id := range s.shops {
		s.say(id, s.marketplace.Chats(id)[0])
	}
	s.awaitAll()
	s.checkTwice(killed)
}

// A frozen process has lost its leases by the time it continues.
func TestFleet_FrozenProcessSavesNothing(t *testing.T) {
	t.Parallel()
	s := newCluster(t, 10, 3, func(c *rig.WorkerConfig) { c.HandlerTime = 30 * time.Millisecond })
	s.audit()
	for n := range 3 {
		p := s.remove(0)
		s.replies(10)
		p.Signal(syscall.SIGSTOP)
		s.pushes(40, s.shops) // twice the lease
		s.replies(10)
		p.Signal(syscall.SIGCONT)
		s.mu.Lock()
		s.workers = append(s.workers, p)
		s.mu.Unlock()
		s.pushes(10*(n+1), s.shops)
	}
	s.awaitAll()
	s.checkAudit(3)
}

func TestFleet_ProcessThatIsCutOffSavesNothing(t *testing.T) {
	t.Parallel()
	s := newCluster(t, 10, 2, func(c *rig.WorkerConfig) { c.HandlerTime = 30 * time.Millisecond })
	s.audit()
	p, dsn := s.proxied()
	c := s.config
	c.DSN = dsn
	cut := s.add(c)
	s.pushes(20, s.shops)
	s.await(func() bool { return s.stats(cut).InboxSteps > 0 })
	s.remove(2)
	s.replies(20)
	p.dropped.Store(true)
	s.pushes(60, s.shops)
	s.replies(20)
	p.dropped.Store(false)
	s.pushes(20, s.shops)
	s.awaitAll()
	s.checkAudit(3)
}

// What a process has sent while it had the leases reaches the database when others have them.
func TestFleet_DelayedProcessSavesNothing(t *testing.T) {
	t.Parallel()
	s := newCluster(t, 10, 2, func(c *rig.WorkerConfig) { c.HandlerTime = 1500 * time.Millisecond })
	s.audit()
	p, dsn := s.proxied()
	c := s.config
	c.DSN = dsn
	s.add(c)
	for _, id := range s.shops {
		s.marketplace.Market(id).SetOptions(chatstest.WithBusiness(id), chatstest.WithLatency(300*time.Millisecond))
	}
	for range 3 {
		s.pushes(20, s.shops)
		s.replies(20)
		delayed := s.remove(2)
		p.delayed.Store(true)
		s.replies(5)
		s.pushes(35, s.shops) // until others handle the messages that the process has handled
		p.delayed.Store(false)
		s.mu.Lock()
		s.workers = append(s.workers, delayed)
		s.mu.Unlock()
	}
	s.awaitAll()
	s.checkAudit(3)
}

// A refused key, a hanging handler, a backlog and an exhausted quota occupy only a few workers,
// although pushes for these shops go on.
func TestFleet_FaultyShopsHoldUpNoOther(t *testing.T) {
	t.Parallel()
	const hanging, refused, busy, exhausted = first, first + 1, first + 2, first + 3
	s := newCluster(t, 20, 2, func(c *rig.WorkerConfig) { c.Hang, c.WrongKey, c.Workers = hanging, refused, 5 })
	faulty, others := s.shops[:4], s.shops[4:]
	quiet := during(func() { s.pushes(30, others) })
	s.marketplace.Market(exhausted).SetOptions(chatstest.WithBusiness(exhausted),
		chatstest.WithHourlyLimit(chats.OpGetChats, 0), chatstest.WithHourlyLimit(chats.OpGetChatHistory, 0))
	for _, id := range []chats.BusinessID{hanging, refused, busy} {
		for _, chat := range s.marketplace.Chats(id) {
			for range 2000 {
				s.marketplace.Market(id).CustomerSays(chat, "Где мой заказ?")
			}
			s.notify(id, chat, 1)
		}
	}
	calls := func() int {
		market := s.marketplace.Market(exhausted)
		return market.Calls(chats.OpGetChats) + market.Calls(chats.OpGetChatHistory)
	}
	before := calls()
	faults := during(func() {
		for n := range 60 {
			id := faulty[n%len(faulty)]
			chat := s.marketplace.Chats(id)[n%3]
			s.notify(id, chat, s.marketplace.Market(id).CustomerSays(chat, "Где мой заказ?"))
			s.pushes(1, others)
		}
	})
	s.awaitAll()
	s.checkTwice()
	all := func(chats.BusinessID) bool { return true }
	usual, slowest := s.slowest(quiet, all), s.slowest(faults, all)
	t.Log("other shops, push to handler: usually", usual, "now", slowest, "requests of the shop without a quota", calls()-before)
	assert.Less(t, slowest, 15*time.Second+5*usual, "the machine may be busy")
	assert.Zero(t, s.count(hanging))
	assert.Zero(t, s.count(refused))
	assert.Zero(t, s.count(exhausted))
	assert.Less(t, calls()-before, 15, "the pushes alone are as many")
	s.await(func() bool { return s.count(busy) >= 6000+15 }, "the backlog is worked off")
}

func (s *cluster) count(business chats.BusinessID) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.handled {
		if strings.HasPrefix(key, itoa(business)+" ") {
			n++
		}
	}
	return n
}

func TestFleet_PostsOnceThoughProcessesAreKilled(t *testing.T) {
	t.Parallel()
	kills, replies := 8, 160
	if *manyKills {
		kills, replies = 200, 2400
	}
	s := newCluster(t, 4, 3, nil)
	items := map[chats.BusinessID][]outbox.Item{}
	for n := range replies {
		id := s.shops[n%len(s.shops)]
		item := outbox.Item{Key: fmt.Sprint("reply-", n), Chat: s.marketplace.Chats(id)[n%3], Text: fmt.Sprint("Reply ", n)}
		items[id] = append(items[id], item)
		s.retry(func(w *rig.Process) error {
			return w.Post("/put", rig.Put{Business: id, Items: []outbox.Item{item}}, nil)
		})
		if n%(replies/kills) == 0 {
			time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
			s.remove(rand.IntN(2)).Kill()
			s.add(s.config)
		}
	}
	s.awaitSettled()
	states := map[string]int{}
	for id, of := range items {
		posts := map[string]int{}
		for _, chat := range s.marketplace.Chats(id) {
			for _, m := range s.marketplace.Market(id).Messages(chat) {
				posts[m.Text]++
			}
		}
		for _, item := range of {
			var state string
			require.NoError(t, s.db.QueryRow(t.Context(), `SELECT state FROM ymchats_outbox WHERE business = $1 AND key = $2`, int64(id), item.Key).Scan(&state))
			states[state]++
			assert.Equal(t, 1, posts[item.Text], "%s is %s", item.Key, state)
		}
	}
	t.Log(kills, "kills,", states)
}

// Without a push, River's rescue decides how long a killed process's shops wait.
func TestFleet_KilledProcessCostsItsShopsAMinute(t *testing.T) {
	t.Parallel()
	if !*manyKills {
		return // it takes a minute and a half; make kills-fleet
	}
	s := newCluster(t, 5, 1, func(c *rig.WorkerConfig) { c.HandlerTime = 10 * time.Second })
	for _, id := range s.shops {
		s.push(id)
	}
	time.Sleep(5 * time.Second) // the wakes are in their handlers
	killed := s.remove(0)
	s.add(s.config)
	began := time.Now()
	killed.Kill()
	s.awaitAll()
	t.Log("took", time.Since(began))
	assert.Less(t, time.Since(began), 75*time.Second+s.config.HandlerTime)
}
