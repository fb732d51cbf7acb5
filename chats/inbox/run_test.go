package inbox_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strconv"
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
)

var errAway = errors.New("no connection")

// flakyStore is a store that fails on request. call is Business, Chats, Due, Open, Save, Wake,
// Summary, Acquire, Renew or Release.
type flakyStore struct {
	*inbox.MemoryStore

	mu     sync.Mutex
	before func(call string) error // before the call
	after  func(call string) error // after it was made
	saves  int
}

func (s *flakyStore) set(before, after func(call string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.after = before, after
}

// fails makes calls fail from now on; none lets all succeed.
func (s *flakyStore) fails(calls ...string) {
	s.set(func(call string) error {
		for _, c := range calls {
			if c == call || c == "all" {
				return errAway
			}
		}
		return nil
	}, nil)
}

func (s *flakyStore) do(call string, f func() error) error {
	s.mu.Lock()
	before, after := s.before, s.after
	if call == "Save" {
		s.saves++
	}
	s.mu.Unlock()
	if before != nil {
		if err := before(call); err != nil {
			return err
		}
	}
	if err := f(); err != nil || after == nil {
		return err
	}
	return after(call)
}

func (s *flakyStore) Business(ctx context.Context, id chats.BusinessID) (state inbox.BusinessState, err error) {
	err = s.do("Business", func() (err error) { state, err = s.MemoryStore.Business(ctx, id); return err })
	return state, err
}

func (s *flakyStore) Chats(ctx context.Context, id chats.BusinessID, ids []chats.ChatID) (rows []inbox.ChatState, err error) {
	err = s.do("Chats", func() (err error) { rows, err = s.MemoryStore.Chats(ctx, id, ids); return err })
	return rows, err
}

func (s *flakyStore) Due(ctx context.Context, id chats.BusinessID, at time.Time, n int) (rows []inbox.ChatState, err error) {
	err = s.do("Due", func() (err error) { rows, err = s.MemoryStore.Due(ctx, id, at, n); return err })
	return rows, err
}

func (s *flakyStore) Open(ctx context.Context, id chats.BusinessID) (ids []chats.ChatID, err error) {
	err = s.do("Open", func() (err error) { ids, err = s.MemoryStore.Open(ctx, id); return err })
	return ids, err
}

func (s *flakyStore) Save(ctx context.Context, lease inbox.Lease, state *inbox.BusinessState, rows []inbox.ChatState) error {
	kept := append([]inbox.ChatState(nil), rows...)
	var version int64
	if state != nil {
		version = state.Version
	}
	err := s.do("Save", func() error { return s.MemoryStore.Save(ctx, lease, state, rows) })
	if err != nil { // whatever has become of it, the arguments are as they were
		copy(rows, kept)
		if state != nil {
			state.Version = version
		}
	}
	return err
}

func (s *flakyStore) Acquire(ctx context.Context, id chats.BusinessID, purpose, holder string) (lease inbox.Lease, err error) {
	err = s.do("Acquire", func() (err error) { lease, err = s.MemoryStore.Acquire(ctx, id, purpose, holder); return err })
	return lease, err
}

func (s *flakyStore) Renew(ctx context.Context, lease inbox.Lease) (next time.Time, err error) {
	err = s.do("Renew", func() (err error) { next, err = s.MemoryStore.Renew(ctx, lease); return err })
	return next, err
}

func (s *flakyStore) Summary(ctx context.Context, id chats.BusinessID, at time.Time) (sum inbox.Summary, err error) {
	err = s.do("Summary", func() (err error) { sum, err = s.MemoryStore.Summary(ctx, id, at); return err })
	return sum, err
}

func (s *flakyStore) Release(ctx context.Context, lease inbox.Lease) error {
	return s.do("Release", func() error { return s.MemoryStore.Release(ctx, lease) })
}

func TestRun_ARefusedCredentialEndsItAfterAMinute(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]int{"401": 401, "403": 403} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market, _ := shop()
				var refusing atomic.Bool
				client := connect(t, market)
				market.FailFunc(func(chats.Operation, int) chatstest.Fault {
					if refusing.Load() {
						return chatstest.Status(status, `{"status":"ERROR"}`)
					}
					return chatstest.OK()
				})
				in := newInbox(t, client, inbox.NewMemoryStore())
				run := start(t, in, (&recorder{}).handle)
				sleep(10 * time.Minute)
				refusing.Store(true)
				sleep(55 * time.Second)
				require.Empty(t, run.done)
				refusing.Store(false)
				sleep(10 * time.Minute)
				refusing.Store(true)
				began := time.Now()
				err := run.end(t)
				target := map[int]error{401: chats.ErrUnauthorized, 403: chats.ErrForbidden}[status]
				require.ErrorIs(t, err, target)
				require.ErrorContains(t, err, "credential")
				assert.Greater(t, time.Since(began), time.Minute)
				assert.Less(t, time.Since(began), 3*time.Minute)
				n := 0
				for _, err := range in.Messages(t.Context()) {
					require.ErrorIs(t, err, target, "at the start as well")
					n++
				}
				assert.Equal(t, 1, n, "once, and last")
			})
		})
	}
}

// A stray refusal long after another one, with an outage between them, is a stray one still.
func TestRun_RefusalsWithAnOutageBetween(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, _ := shop()
		began := time.Now()
		market.FailFunc(func(chats.Operation, int) chatstest.Fault {
			switch at := time.Since(began); {
			case at < 10*time.Second, at > 5*time.Minute && at < 5*time.Minute+40*time.Second:
				return chatstest.Status(401, `{"status":"ERROR"}`)
			case at < 5*time.Minute:
				return chatstest.Status(503, `{"status":"ERROR"}`)
			default:
				return chatstest.OK()
			}
		})
		run := start(t, newInbox(t, connect(t, market), inbox.NewMemoryStore()), (&recorder{}).handle)
		sleep(10 * time.Minute)
		assert.Empty(t, run.done)
		require.NoError(t, run.stop())
	})
}

// A 401 to histories ends it, too; a 403 to one chat says nothing of the credential.
func TestRun_WhatASingleChatIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		ours := market.AddChat(longAgo())
		const foreign = 777
		var asked, status atomic.Int32
		status.Store(403)
		client := connectVia(t, market, intercepted(market, func(req *http.Request) *http.Response {
			if asksFor(req, "/chats/history", ours) || asksFor(req, "/chat", foreign) {
				asked.Add(1)
				return respond(req, int(status.Load()), `{"status":"ERROR","errors":[{"code":"FORBIDDEN"}]}`)
			}
			return nil
		}))
		seen := &recorder{}
		in := newInbox(t, client, inbox.NewMemoryStore(), inbox.WithPollInterval(time.Hour))
		run := start(t, in, seen.handle)
		sleep(time.Minute)
		market.CustomerSays(ours, "unreadable")
		wake(t, in, ours)
		wake(t, in, foreign)
		sleep(30 * time.Minute)
		market.CustomerSays(id, "for us")
		wake(t, in, id)
		sleep(time.Minute)
		assert.Equal(t, []string{"for us"}, seen.texts())
		assert.Less(t, asked.Load(), int32(20))
		status.Store(200)
		require.NoError(t, run.stop())
	})
}

func TestRun_WaitsForAServerThatIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		quiet := market.AddChat(longAgo())
		down := func(chats.Operation, int) chatstest.Fault { return chatstest.HTML(502) }
		market.FailFunc(down)
		store, seen := inbox.NewMemoryStore(), &recorder{}
		in := newInbox(t, connect(t, market), store)
		run := start(t, in, seen.handle)
		sleep(time.Hour)
		market.FailFunc(nil)
		sleep(2 * time.Minute)
		market.CustomerSays(quiet, "after the first sweep")
		sleep(2 * time.Minute)
		assert.Equal(t, []string{"after the first sweep"}, seen.texts())

		market.FailFunc(down)
		market.CustomerSays(id, "while it was down")
		wake(t, in, id)
		calls := market.Calls(chats.OpGetChatHistory) + market.Calls(chats.OpGetChats)
		sleep(time.Hour)
		calls = market.Calls(chats.OpGetChatHistory) + market.Calls(chats.OpGetChats) - calls
		assert.Less(t, calls, 1400, "no hammering")
		status, err := in.Status(t.Context())
		require.NoError(t, err)
		assert.Contains(t, status.LastError, "502")
		market.FailFunc(nil)
		sleep(6 * time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, "while it was down", seen.texts()[len(seen.texts())-1])
	})
}

func TestRun_WaitsForAStoreThatIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		store, seen := &flakyStore{MemoryStore: inbox.NewMemoryStore()}, &recorder{}
		in := newInbox(t, connect(t, market), store)
		run := start(t, in, func(ctx context.Context, d inbox.Delivery) error {
			if d.Message.Text == "1" && len(seen.all()) == 1 {
				store.fails("all")
			}
			return seen.handle(ctx, d)
		})
		sleep(time.Minute)
		store.fails("all")
		market.CustomerSays(id, "0")
		sleep(time.Hour)
		assert.Empty(t, seen.texts(), "nothing is delivered that could not be saved")
		store.fails()
		sleep(3 * time.Minute)
		assert.Equal(t, []string{"0"}, seen.texts())
		market.CustomerSays(id, "1")
		market.CustomerSays(id, "2")
		sleep(time.Hour)
		assert.Equal(t, []string{"0", "1"}, seen.texts(), "nothing more before the last one is saved")
		store.fails()
		sleep(3 * time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"0", "1", "1", "2"}, seen.texts())
	})
}

// A failure of one kind of call at a time, for longer than the lease lasts.
func TestRun_HealsWithTheStore(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"Business", "Chats", "Due", "Open", "Save", "Acquire", "Renew", "Release"} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market, id := shop()
				store, seen := &flakyStore{MemoryStore: inbox.NewMemoryStore()}, &recorder{}
				run := start(t, newInbox(t, connect(t, market), store), seen.handle)
				sleep(time.Minute)
				store.fails(call)
				market.CustomerSays(id, "meanwhile")
				sleep(3 * time.Minute)
				store.fails()
				market.CustomerSays(id, "after")
				sleep(3 * time.Minute)
				require.NoError(t, run.stop())
				texts := seen.texts()
				assert.Equal(t, "after", texts[len(texts)-1])
				assert.Contains(t, texts, "meanwhile")
			})
		})
	}
}

// The end of a failure is logged, like its beginning.
func TestRun_LogsTheEndOfAFailure(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fails  string // an operation, or a method of the store
		during time.Duration
		begins string
		ends   string
	}{
		"a list":       {string(chats.OpGetChats), time.Minute, "inbox: listing chats failed", "inbox: chats can be listed again"},
		"a history":    {string(chats.OpGetChatHistory), time.Minute, "inbox: reading a chat failed", "inbox: chat can be read again"},
		"a rate limit": {string(chats.OpGetChatHistory), time.Minute, "inbox: reading a chat refused", "inbox: chats can be read again"},
		"due chats":    {"Due", 10 * time.Second, "inbox: loading due chats failed", "inbox: due chats can be loaded again"},
		"a renewal":    {"Renew", 2 * time.Second, "inbox: renewing the lease failed", "inbox: lease renewed after failures"},
		"a save":       {"Save", 2 * time.Second, "inbox: save failed", "inbox: saved after failures"},
		"a lost lease": {"all", time.Minute, "inbox: work interrupted", "inbox: lease acquired"},
	} {
		bubble(t, name, func(t *testing.T) {
			t.Helper()
			market, id := shop()
			store, log := &flakyStore{MemoryStore: inbox.NewMemoryStore()}, &logBuffer{}
			run := start(t, newInbox(t, connect(t, market), store, log.option()), (&recorder{}).handle)
			sleep(5 * time.Minute)
			require.Empty(t, log.lines(c.ends))
			market.CustomerSays(id, "new")
			market.FailFunc(func(op chats.Operation, _ int) chatstest.Fault {
				switch {
				case string(op) != c.fails:
					return chatstest.OK()
				case name == "a history":
					return chatstest.Status(500, "")
				}
				return chatstest.RateLimitedParallel()
			})
			for len(log.lines(c.begins)) == 0 {
				store.fails(c.fails)
				sleep(c.during)
			}
			require.NotEmpty(t, log.lines(c.begins))
			require.Empty(t, log.lines(c.ends))
			market.FailFunc(nil)
			store.fails()
			sleep(5 * time.Minute)
			require.NoError(t, run.stop())
			for _, line := range log.lines(c.ends) {
				assert.Contains(t, line, "business=")
			}
			assert.NotEmpty(t, log.lines(c.ends))
		})
	}
}

// Every call to the store takes 2 s, which is less than half of what the lease lasts.
func TestRun_AStoreThatIsSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		store, seen, log := &flakyStore{MemoryStore: inbox.NewMemoryStore()}, &recorder{}, &logBuffer{}
		store.set(func(string) error { sleep(2 * time.Second); return nil }, nil)
		run := start(t, newInbox(t, connect(t, market), store, log.option()), seen.handle)
		sleep(2 * time.Minute)
		market.CustomerSays(id, "message")
		sleep(3 * time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"message"}, seen.texts())
		assert.Empty(t, log.lines("interrupted"))
	})
}

// A process that can renew its lease but write nothing else yields to one whose database
// works.
func TestRun_GivesWayIfItCannotSave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		shared := inbox.NewMemoryStore()
		store, log := &flakyStore{MemoryStore: shared}, &logBuffer{}
		one, two := &recorder{}, &recorder{}
		first := start(t, newInbox(t, connect(t, market), store, log.option()), one.handle)
		sleep(time.Minute)
		second := start(t, newInbox(t, connect(t, market), shared), two.handle)
		sleep(time.Minute)
		store.fails("Save")
		market.CustomerSays(id, "message")
		sleep(2 * time.Minute)
		assert.Equal(t, []string{"message"}, two.texts())
		assert.Len(t, log.lines("nothing could be saved"), 1)
		require.NoError(t, first.stop())
		require.NoError(t, second.stop())
	})
}

// The store saves, but its response is lost. A store that has then tried again itself, as a driver
// or a proxy may do, reports a conflict with what it has saved.
func TestRun_ASaveWhoseResponseWasLostIsMade(t *testing.T) {
	t.Parallel()
	for _, lost := range []error{errors.New("connection reset"), inbox.ErrConflict} {
		t.Run(lost.Error(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market, id := shop()
				n := 0
				store, seen, log := &flakyStore{MemoryStore: inbox.NewMemoryStore()}, &recorder{}, &logBuffer{}
				store.set(nil, func(call string) error {
					if call != "Save" {
						return nil
					}
					if n++; n%2 == 0 {
						return lost
					}
					return nil
				})
				run := start(t, newInbox(t, connect(t, market), store, log.option()), seen.handle)
				sleep(time.Minute)
				for _, text := range numbers(10) {
					market.CustomerSays(id, text)
				}
				sleep(5 * time.Minute)
				require.NoError(t, run.stop())
				assert.Equal(t, numbers(10), seen.texts(), "once each")
				assert.Empty(t, log.lines("saving a chat failed"))
				assert.Empty(t, log.lines("interrupted"))
			})
		})
	}
}

// particular is a store whose saves of one chat fail.
type particular struct {
	*flakyStore

	chat chats.ChatID
	errs []error // one for each save
}

func (s *particular) Save(ctx context.Context, lease inbox.Lease, state *inbox.BusinessState, rows []inbox.ChatState) error {
	if len(s.errs) > 0 && slices.ContainsFunc(rows, func(row inbox.ChatState) bool { return row.Chat == s.chat }) {
		err := s.errs[0]
		s.errs = s.errs[1:]
		return err
	}
	return s.flakyStore.Save(ctx, lease, state, rows)
}

// Whatever the store says of one chat's row, its message is not lost, and the others go on.
func TestRun_SavesOfOneChatFail(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		errs       []error
		also       string // what fails as well
		log        string
		deliveries int
	}{
		"the row was changed":           {[]error{inbox.ErrConflict}, "", "saving a chat failed", 2},
		"the lease is lost":             {[]error{inbox.ErrLeaseLost}, "", "interrupted", 2},
		"no connection, then a change":  {[]error{errAway, inbox.ErrConflict}, "", "saving a chat failed", 2},
		"the row cannot be read either": {[]error{errAway, inbox.ErrConflict}, "Chats", "saving a chat failed", 2},
		// What was handled is saved by the next poll.
		"no connection for more than a minute": {slices.Repeat([]error{errAway}, 70), "", "save failed", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market, id := shop()
				other := market.AddChat(longAgo())
				store := &particular{flakyStore: &flakyStore{MemoryStore: inbox.NewMemoryStore()}, chat: id}
				seen, log := &recorder{}, &logBuffer{}
				in := newInbox(t, connect(t, market), store, log.option(), never)
				run := start(t, in, seen.handle)
				sleep(time.Minute)
				store.errs = c.errs
				if c.also != "" {
					store.fails(c.also)
				}
				market.CustomerSays(id, "message")
				wake(t, in, id)
				for range 60 {
					sleep(2 * time.Second)
					market.CustomerSays(other, "other")
					wake(t, in, other)
				}
				store.fails()
				sleep(2 * time.Minute)
				require.NoError(t, run.stop())
				assert.Len(t, slices.DeleteFunc(seen.texts(), func(text string) bool { return text != "message" }), c.deliveries)
				assert.Len(t, seen.texts(), 60+c.deliveries)
				assert.NotEmpty(t, log.lines(c.log))
				assert.Empty(t, store.errs)
			})
		})
	}
}

func TestRun_WhatWasHandledWhileItEndsIsSaved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		store := &flakyStore{MemoryStore: inbox.NewMemoryStore()}
		in := newInbox(t, connect(t, market), store)
		first, second := &recorder{}, &recorder{}
		run := start(t, in, func(ctx context.Context, d inbox.Delivery) error {
			_ = first.handle(ctx, d)
			<-ctx.Done() // it notices, and still finishes
			sleep(20 * time.Second)
			return nil
		})
		sleep(time.Minute)
		market.CustomerSays(id, "1")
		market.CustomerSays(id, "2")
		market.CustomerSays(market.AddChat(chats.Chat{}), "at the same time")
		sleep(2 * time.Minute)
		require.NoError(t, run.stop())
		assert.ElementsMatch(t, []string{"1", "at the same time"}, first.texts())

		run = start(t, in, func(ctx context.Context, d inbox.Delivery) error {
			_ = second.handle(ctx, d)
			store.fails("all")
			return nil
		})
		sleep(10 * time.Second)
		began := time.Now()
		require.NoError(t, run.stop())
		assert.LessOrEqual(t, time.Since(began), 11*time.Second, "a store that is away does not keep it")
		assert.Equal(t, []string{"2"}, second.texts())
	})
}

func TestRun_ALostLeaseStopsTheHandling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		store, seen := &flakyStore{MemoryStore: inbox.NewMemoryStore()}, &recorder{}
		var stopped atomic.Pointer[time.Time]
		run := start(t, newInbox(t, connect(t, market), store), func(ctx context.Context, d inbox.Delivery) error {
			_ = seen.handle(ctx, d)
			if len(seen.texts()) == 1 {
				<-ctx.Done()
				now := time.Now()
				stopped.Store(&now)
			}
			return nil // handled, but under no lease any more
		})
		sleep(time.Minute)
		market.CustomerSays(id, "1")
		market.CustomerSays(id, "2")
		sleep(2 * time.Minute)
		require.Len(t, seen.texts(), 1)
		store.fails("Renew", "Acquire")
		lost := time.Now()
		sleep(6 * time.Second)
		require.NotNil(t, stopped.Load(), "the handler is notified")
		assert.LessOrEqual(t, stopped.Load().Sub(lost), 5*time.Second, "before another one can have the lease")
		store.fails()
		sleep(2 * time.Minute)
		assert.Equal(t, []string{"1", "1", "2"}, seen.texts(), "what was handled without the lease is not saved")
		require.NoError(t, run.stop())
	})
}

func TestRun_ALeaseThatCannotBeAcquired(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		store := &flakyStore{MemoryStore: inbox.NewMemoryStore()}
		store.fails("Acquire")
		in := newInbox(t, connect(t, market), store)
		began := time.Now()
		require.ErrorIs(t, start(t, in, (&recorder{}).handle).end(t), errAway)
		assert.Equal(t, (1+2+4+8+16)*time.Second, time.Since(began), "six attempts")

		store.fails()
		seen := &recorder{}
		run := start(t, in, seen.handle)
		sleep(time.Minute)
		store.fails("Acquire", "Renew")
		sleep(time.Hour)
		store.fails()
		market.CustomerSays(id, "1")
		sleep(3 * time.Minute)
		assert.Equal(t, []string{"1"}, seen.texts(), "once acquired, it is waited for")
		require.NoError(t, run.stop())
	})
}

func TestRun_AStandbyWaitsAndTakesOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		store, one, two, log := inbox.NewMemoryStore(), &recorder{}, &recorder{}, &logBuffer{}
		leader := newInbox(t, connect(t, market), store)
		first := start(t, leader, one.handle)
		sleep(10 * time.Second)
		standby := newInbox(t, connect(t, market), store, log.option())
		second := start(t, standby, two.handle)
		sleep(time.Hour)
		require.Len(t, log.lines("standing by"), 1, "once, however long it lasts")
		status, err := standby.Status(t.Context())
		require.NoError(t, err)
		assert.Equal(t, inbox.RoleStandby, status.Role)
		assert.Contains(t, log.lines("standing by")[0], status.Holder)
		assert.Contains(t, log.lines("standing by")[0], "business=1234567")
		market.CustomerSays(id, "1")
		sleep(2 * time.Minute)
		lists := market.Calls(chats.OpGetChats)
		require.NoError(t, first.stop())
		market.CustomerSays(id, "2")
		wake(t, leader, id) // a push that reaches a process without the lease
		sleep(2 * time.Second)
		assert.Equal(t, []string{"2"}, two.texts())
		assert.Len(t, log.lines("taking over"), 1)
		sleep(time.Minute)
		assert.LessOrEqual(t, market.Calls(chats.OpGetChats)-lists, 4, "a takeover lists nothing anew")
		third := start(t, newInbox(t, connect(t, market), store), one.handle)
		sleep(time.Minute)
		require.NoError(t, third.stop(), "a standby ends like any other")
		require.NoError(t, second.stop())
		assert.Equal(t, []string{"1"}, one.texts())
	})
}

// A process that dies without a word is succeeded when its lease has expired.
func TestRun_AStandbyFollowsAProcessThatDied(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		shared := inbox.NewMemoryStore()
		store, seen := &flakyStore{MemoryStore: shared}, &recorder{}
		start(t, newInbox(t, connect(t, market), store), (&recorder{}).handle)
		sleep(time.Minute)
		second := start(t, newInbox(t, connect(t, market), shared), seen.handle)
		sleep(time.Minute)
		store.fails("all")
		market.CustomerSays(id, "1")
		assert.NoError(t, shared.Wake(t.Context(), market.Business(), id, time.Now()))
		sleep(7 * time.Second)
		assert.Equal(t, []string{"1"}, seen.texts())
		require.NoError(t, second.stop())
	})
}

// Two parts of a program that serve one business need a store each: on one the second
// stands by, and says so.
func TestRun_TwoConsumersOfOneBusiness(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		direct := market.AddChat(chats.Chat{CreatedAt: time.Now().Add(-72 * time.Hour), Subject: chats.Subject{Kind: chats.SubjectDirect}})
		about := func(kind chats.SubjectKind) inbox.Option {
			return inbox.WithFilter(chats.Filter{SubjectKinds: []chats.SubjectKind{kind}})
		}
		store, other := inbox.NewMemoryStore(), inbox.NewMemoryStore()
		log, orders, questions, more := &logBuffer{}, &recorder{}, &recorder{}, &recorder{}
		runs := []*running{start(t, newInbox(t, connect(t, market), store, about(chats.SubjectOrder)), orders.handle)}
		sleep(5 * time.Second)
		runs = append(runs, start(t, newInbox(t, connect(t, market), store, about(chats.SubjectDirect), log.option()), more.handle),
			start(t, newInbox(t, connect(t, market), other, about(chats.SubjectDirect)), questions.handle))
		sleep(time.Minute)
		market.CustomerSays(direct, "a question")
		sleep(2 * time.Minute)
		assert.Equal(t, []string{"a question"}, questions.texts())
		assert.Empty(t, orders.texts())
		assert.Empty(t, more.texts())
		assert.Len(t, log.lines("standing by"), 1)
		for _, run := range runs {
			require.NoError(t, run.stop())
		}
	})
}

func TestRun_OneAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, _ := shop()
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore())
		run := start(t, in, (&recorder{}).handle)
		synctest.Wait()
		require.ErrorIs(t, in.Run(t.Context(), (&recorder{}).handle), inbox.ErrRunning)
		_, err := in.Step(t.Context(), (&recorder{}).handle)
		require.ErrorIs(t, err, inbox.ErrRunning)
		n := 0
		for _, err := range in.Messages(t.Context()) {
			require.ErrorIs(t, err, inbox.ErrRunning)
			n++
		}
		assert.Equal(t, 1, n)
		require.NoError(t, run.stop())
	})
}

func TestMessages_InALoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore(), inbox.WithStartTime(time.Now()))
		for i := range 3 {
			market.CustomerSays(id, strconv.Itoa(i+1))
		}
		loop := func(ctx context.Context, leave string) (texts []string) {
			for d, err := range in.Messages(ctx) {
				require.NoError(t, err)
				if texts = append(texts, d.Message.Text); d.Message.Text == leave {
					break
				}
			}
			return texts
		}
		assert.Equal(t, []string{"1", "2"}, loop(t.Context(), "2"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		assert.Equal(t, []string{"2", "3"}, loop(ctx, ""), "the one that was left comes again, and the end is silent")
		ctx, cancel = context.WithCancel(t.Context())
		market.CustomerSays(id, "4")
		for _, err := range in.Messages(ctx) {
			require.NoError(t, err)
			cancel() // the loop asks for the next all the same: handled
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		assert.Empty(t, loop(ctx, ""))
		market.CustomerSays(id, "5")
		assert.PanicsWithValue(t, "mine", func() {
			for range in.Messages(t.Context()) { //nolint:errcheck // the panic is what is tested
				panic("mine")
			}
		})
		assert.Equal(t, []string{"5"}, loop(t.Context(), "5"), "a panic of the loop's is the loop's")
	})
}

// A delivery that has timed out waits for the loop to come back, and does not keep the inbox from
// ending.
func TestMessages_ALoopThatIsSlowerThanTheTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore(),
			inbox.WithStartTime(time.Now()), inbox.WithHandlerTimeout(time.Second))
		market.CustomerSays(id, "1")
		var texts []string
		for d, err := range in.Messages(t.Context()) {
			require.NoError(t, err)
			texts = append(texts, d.Message.Text)
			sleep(time.Minute)
			break
		}
		assert.Equal(t, []string{"1"}, texts)
	})
}

// The loop takes long for one message. No other counts as failed before the loop has had it.
func TestMessages_OneThatIsSlowFailsNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		dead := func(context.Context, inbox.Delivery, error) error { return nil }
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore(), inbox.WithStartTime(time.Now()),
			inbox.WithHandlerTimeout(time.Second), inbox.WithMaxAttempts(2, dead))
		for _, text := range []string{"1", "slow", "3", "4"} {
			market.CustomerSays(id, text)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		var texts []string
		for d, err := range in.Messages(ctx) {
			require.NoError(t, err)
			if texts = append(texts, d.Message.Text); d.Message.Text == "slow" {
				sleep(time.Minute)
			}
		}
		assert.Equal(t, []string{"1", "slow", "slow", "3", "4"}, texts)
	})
}

// The clock of the last process was ten hours ahead.
func TestRun_AClockThatWasAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		store, seen := inbox.NewMemoryStore(), &recorder{}
		run := start(t, newInbox(t, connect(t, market), store), seen.handle)
		sleep(10 * time.Minute)
		require.NoError(t, run.stop())
		lease, err := store.Acquire(t.Context(), market.Business(), inbox.Purpose, "ahead")
		require.NoError(t, err)
		state, err := store.Business(t.Context(), market.Business())
		require.NoError(t, err)
		for _, sweep := range []*inbox.SweepState{&state.Incremental, &state.Full} {
			sweep.FinishedAt, sweep.NextAt = sweep.FinishedAt.Add(10*time.Hour), sweep.NextAt.Add(10*time.Hour)
		}
		state.Handlers = inbox.BreakerState{Failures: 3, Probes: 9, RetryAt: time.Now().Add(10 * time.Hour)}
		require.NoError(t, store.Save(t.Context(), lease, &state, nil))
		require.NoError(t, store.Release(t.Context(), lease))
		run = start(t, newInbox(t, connect(t, market), store), seen.handle)
		market.CustomerSays(id, "hello")
		sleep(2 * time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"hello"}, seen.texts())
	})
}

// A process whose clock was ten hours ahead took over for a moment: it could not list a page, or could
// not read a chat. Only the time of its next attempt is ahead.
func TestRun_AFailureByAClockThatWasAhead(t *testing.T) {
	t.Parallel()
	for _, of := range []string{"sweep", "chat"} {
		bubble(t, of, func(t *testing.T) {
			t.Helper()
			market, id := shop()
			market.FinishChat(id)
			sleep(48 * time.Hour)
			store, seen := inbox.NewMemoryStore(), &recorder{}
			run := start(t, newInbox(t, connect(t, market), store), seen.handle)
			sleep(10 * time.Minute)
			require.NoError(t, run.stop())
			lease, err := store.Acquire(t.Context(), market.Business(), inbox.Purpose, "ahead")
			require.NoError(t, err)
			state, err := store.Business(t.Context(), market.Business())
			require.NoError(t, err)
			market.CustomerSays(id, "hello")
			market.FinishChat(id)
			failing := row(t, store, market, id)
			if of == "sweep" {
				state.Full.StartedAt, state.Full.Failures = time.Now(), 1
				state.Full.NextAt = time.Now().Add(10 * time.Hour)
			} else {
				failing.Snapshot = market.Chat(id)
				failing.UpdatedAt, failing.SeenAt, failing.Explained = failing.Snapshot.UpdatedAt, time.Now(), false
				failing.FailingSince, failing.DueAt = time.Now(), time.Now().Add(10*time.Hour)
			}
			require.NoError(t, store.Save(t.Context(), lease, &state, []inbox.ChatState{failing}))
			require.NoError(t, store.Release(t.Context(), lease))
			run = start(t, newInbox(t, connect(t, market), store), seen.handle)
			sleep(10 * time.Minute)
			require.NoError(t, run.stop())
			assert.Equal(t, []string{"hello"}, seen.texts())
		})
	}
}

func TestRun_AFilterThatIsInvalidEndsIt(t *testing.T) {
	t.Parallel()
	for name, filter := range map[string]chats.Filter{
		"an order without a number": {Subjects: []chats.Subject{chats.AboutOrder(0)}},
		"an empty status":           {Statuses: []chats.Status{""}},
		"an empty type":             {Types: []chats.ChatType{""}},
	} {
		bubble(t, name, func(t *testing.T) {
			t.Helper()
			market, _ := shop()
			in := newInbox(t, connect(t, market), inbox.NewMemoryStore(), inbox.WithFilter(filter))
			require.ErrorIs(t, start(t, in, (&recorder{}).handle).end(t), chats.ErrInvalidArgument)
			_, err := in.Step(t.Context(), (&recorder{}).handle)
			require.ErrorIs(t, err, chats.ErrInvalidArgument)
		})
	}
}

// So are the times of its chats: of one whose handler fails, and of one that it had just listed.
func TestRun_ChatsOfAClockThatWasAhead(t *testing.T) {
	t.Parallel()
	for name, ofFailing := range map[string]func(*inbox.ChatState) []*time.Time{
		"every time":        func(r *inbox.ChatState) []*time.Time { return []*time.Time{&r.DueAt, &r.FailingSince, &r.SeenAt} },
		"the next try only": func(r *inbox.ChatState) []*time.Time { return []*time.Time{&r.DueAt} },
	} {
		bubble(t, name, func(t *testing.T) {
			t.Helper()
			market, failing := shop()
			listed := market.AddChat(longAgo())
			var works atomic.Bool
			store, seen := inbox.NewMemoryStore(), &recorder{}
			handle := func(ctx context.Context, d inbox.Delivery) error {
				if !works.Load() {
					return errors.New("no")
				}
				return seen.handle(ctx, d)
			}
			run := start(t, newInbox(t, connect(t, market), store), handle)
			sleep(time.Minute)
			market.CustomerSays(failing, "failing")
			sleep(2 * time.Minute)
			require.NoError(t, run.stop())
			market.CustomerSays(listed, "listed")
			rows := []inbox.ChatState{row(t, store, market, failing), row(t, store, market, listed)}
			for _, at := range ofFailing(&rows[0]) {
				*at = at.Add(10 * time.Hour)
			}
			rows[1].Snapshot = market.Chat(listed)
			rows[1].UpdatedAt, rows[1].Explained = rows[1].Snapshot.UpdatedAt, false
			rows[1].SeenAt = time.Now().Add(10 * time.Hour)
			rows[1].DueAt = rows[1].SeenAt
			lease, err := store.Acquire(t.Context(), market.Business(), inbox.Purpose, "ahead")
			require.NoError(t, err)
			require.NoError(t, store.Save(t.Context(), lease, nil, rows))
			require.NoError(t, store.Release(t.Context(), lease))
			works.Store(true)
			run = start(t, newInbox(t, connect(t, market), store), handle)
			sleep(7 * time.Minute)
			require.NoError(t, run.stop())
			assert.ElementsMatch(t, []string{"failing", "listed"}, seen.texts())
		})
	}
}

// limiterFunc is a limiter made of a function.
type limiterFunc func()

func (f limiterFunc) Wait(context.Context) error {
	f()
	return nil
}

// A hook or a limiter of the client panics, or ends its goroutine, which is one of the inbox's.
func TestRun_ClientFunctionThatPanics(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(){"panic": func() { panic("a bug") }, "Goexit": runtime.Goexit} {
		for kind, option := range map[string]func(func()) chats.Option{
			"limiter": func(f func()) chats.Option { return chats.WithLimiter(limiterFunc(f)) },
			"hook":    func(f func()) chats.Option { return chats.WithHook(func(context.Context, chats.Attempt) { f() }) },
		} {
			for how, begin := range map[string]func(*testing.T, *inbox.Inbox, handler) *running{"Run": start, "Step": startSteps} {
				for at := int64(1); at <= 5; at++ {
					bubble(t, fmt.Sprint(name, " in call ", at, " of the ", kind, ", ", how), func(t *testing.T) {
						t.Helper()
						market, id := shop()
						seen, log := &recorder{}, &logBuffer{}
						var calls atomic.Int64
						client := connectVia(t, market, market.Transport(), option(func() {
							if calls.Add(1) == at {
								end()
							}
						}))
						run := begin(t, newInbox(t, client, inbox.NewMemoryStore(), log.option()), seen.handle)
						for _, text := range numbers(2) {
							sleep(90 * time.Second)
							market.CustomerSays(id, text)
						}
						sleep(90 * time.Second)
						require.NoError(t, run.stop())
						assert.Equal(t, numbers(2), seen.texts())
						assert.Len(t, log.lines("failed"), 1)
					})
				}
			}
		}
	}
}

// A credential source that never returns is logged after 1, 2, 4 ... min, like a handler.
func TestRun_ClientFunctionThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, _ := shop()
		release, log := make(chan struct{}), &logBuffer{}
		client, err := chats.New(market.Business(), chats.APIKeySource(func(context.Context) (string, error) {
			<-release
			return market.Key(), nil
		}), chats.WithHTTPClient(&http.Client{Transport: contract.Transport(t, market.Transport())}))
		require.NoError(t, err)
		run := start(t, newInbox(t, client, inbox.NewMemoryStore(), log.option()), (&recorder{}).handle)
		sleep(5 * time.Minute)
		assert.Len(t, log.lines("inbox: listing chats still running"), 3)
		close(release)
		require.NoError(t, run.stop())
	})
}

// A worker that is done takes the next chat that is due, and does not wait for a renewal of the
// lease.
func TestRun_ABacklogIsWorkedOffWithoutPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		store, seen := inbox.NewMemoryStore(), &recorder{}
		in := newInbox(t, connect(t, market), store, inbox.WithWorkers(2), seldom)
		run := start(t, in, seen.handle)
		sleep(time.Minute)
		require.NoError(t, run.stop())
		for _, text := range numbers(50) {
			id := market.AddChat(chats.Chat{})
			market.CustomerSays(id, text)
			wake(t, in, id)
		}
		run = start(t, in, seen.handle)
		sleep(time.Minute)
		require.NoError(t, run.stop())
		require.Len(t, seen.all(), 50)
		assert.Less(t, seen.all()[49].at.Sub(seen.all()[0].at), time.Second)
	})
}
