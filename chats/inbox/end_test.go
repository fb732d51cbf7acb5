package inbox_test

import (
	"context"
	"errors"
	"io"
	"net/http"
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
)

func TestARefusedCredentialEndsTheRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		in := newInbox(t, market.Client(), inbox.NewMemoryStore())
		run := start(t, in, 3, (&notebook{}).handle)
		pass(90 * time.Second)
		market.SetKey("another")
		_ = in.Wake(context.Background(), id)
		synctest.Wait()
		err := run.end(t)
		require.ErrorIs(t, err, chats.ErrUnauthorized)
		require.ErrorContains(t, err, "refused")
		require.ErrorIs(t, in.Run(t.Context(), (&notebook{}).handle), chats.ErrUnauthorized, "at the first start as well")
		n := 0
		for _, err := range in.Messages(t.Context()) {
			require.ErrorIs(t, err, chats.ErrUnauthorized)
			n++
		}
		assert.Equal(t, 1, n, "once, and last")
	})
}

func TestForbiddenMayPass(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		seen := &notebook{}
		in := newInbox(t, market.Client(), inbox.NewMemoryStore())
		run := start(t, in, 2, seen.handle)
		pass(90 * time.Second)
		market.FailFunc(func(_ chats.Operation, n int) chatstest.Fault {
			if n%3 == 0 {
				return chatstest.Status(403, `{"status":"ERROR"}`)
			}
			return chatstest.OK()
		})
		for i := range 20 {
			market.CustomerSays(id, strconv.Itoa(i))
			_ = in.Wake(context.Background(), id)
			pass(time.Minute)
		}
		assert.Len(t, seen.texts(), 20, "a 403 now and then is waited out")
		began, lists := time.Now(), market.Calls(chats.OpGetChats)
		market.FailFunc(func(chats.Operation, int) chatstest.Fault { return chatstest.Status(403, `{"status":"ERROR"}`) })
		err := run.end(t)
		assert.Equal(t, 6, market.Calls(chats.OpGetChats)-lists)
		require.ErrorIs(t, err, chats.ErrForbidden)
		assert.Less(t, time.Since(began), 2*time.Minute)
		assert.Greater(t, time.Since(began), 20*time.Second)
	})
}

func TestAFailingMarketIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		quiet := market.AddChat(longAgo())
		down := func(chats.Operation, int) chatstest.Fault { return chatstest.HTML(502) }
		market.FailFunc(down)
		store, seen := inbox.NewMemoryStore(), &notebook{}
		in := newInbox(t, market.Client(), store)
		run := start(t, in, 2, seen.handle)
		pass(time.Minute)
		market.CustomerSays(quiet, "while it could not be listed")
		pass(time.Hour)
		market.FailFunc(nil)
		pass(10 * time.Minute)
		assert.Equal(t, []string{"while it could not be listed"}, seen.texts())

		market.FailFunc(down)
		market.CustomerSays(id, "while it was down")
		_ = in.Wake(context.Background(), id)
		calls := market.Calls(chats.OpGetChatHistory) + market.Calls(chats.OpGetChats)
		pass(3 * time.Hour)
		calls = market.Calls(chats.OpGetChatHistory) + market.Calls(chats.OpGetChats) - calls
		assert.Less(t, calls, 4000, "no hammering")
		market.FailFunc(nil)
		pass(2 * time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, "while it was down", seen.texts()[len(seen.texts())-1])
	})
}

// shaky is a store that fails when it is told to.
type shaky struct {
	*inbox.MemoryStore

	fail    func(call string) error // before the call
	after   func(call string) error // after it was made
	hang    atomic.Bool
	commits atomic.Int32
}

func (s *shaky) Marks(ctx context.Context, business chats.BusinessID) (map[chats.ChatID]inbox.Mark, error) {
	if s.fail != nil {
		if err := s.fail("marks"); err != nil {
			return nil, err
		}
	}
	return s.MemoryStore.Marks(ctx, business)
}

func (s *shaky) Commit(ctx context.Context, business chats.BusinessID, chat chats.ChatID, from, to inbox.Mark) error {
	s.commits.Add(1)
	if s.hang.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	if s.fail != nil {
		if err := s.fail("commit"); err != nil {
			return err
		}
	}
	if err := s.MemoryStore.Commit(ctx, business, chat, from, to); err != nil || s.after == nil {
		return err
	}
	return s.after("commit")
}

func TestAStoreThatIsDownIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		var down atomic.Bool
		down.Store(true)
		fail := func(string) error {
			if down.Load() {
				return errors.New("no connection")
			}
			return nil
		}
		store, seen := &shaky{MemoryStore: inbox.NewMemoryStore(), fail: fail}, &notebook{}
		in := newInbox(t, market.Client(), store)
		run := start(t, in, 1, func(ctx context.Context, d inbox.Delivery) error {
			down.Store(d.Message.Text == "1")
			return seen.handle(ctx, d)
		})
		pass(time.Hour)
		assert.Zero(t, market.Calls(chats.OpGetChats))
		down.Store(false)
		pass(3 * time.Minute)
		down.Store(true)
		market.CustomerSays(id, "0")
		pass(time.Hour)
		assert.Empty(t, seen.texts(), "nothing is handed over that could not be committed")
		down.Store(false)
		pass(3 * time.Minute)
		market.CustomerSays(id, "1")
		market.CustomerSays(id, "2")
		_ = in.Wake(context.Background(), id)
		before := store.commits.Load()
		pass(time.Hour)
		assert.Equal(t, []string{"0", "1"}, seen.texts(), "nothing is handed over before the last one is committed")
		assert.Less(t, store.commits.Load()-before, int32(100))
		down.Store(false)
		pass(3 * time.Minute)
		assert.Equal(t, []string{"0", "1", "2"}, seen.texts())
		require.NoError(t, run.stop())
	})
}

// The store commits, but its answer is lost.
func TestACommitWhoseAnswerWasLostIsMade(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		n := 0
		store, seen := &shaky{MemoryStore: inbox.NewMemoryStore(), after: func(string) error {
			if n++; n%2 == 0 {
				return errors.New("connection reset")
			}
			return nil
		}}, &notebook{}
		run := start(t, newInbox(t, market.Client(), store), 1, seen.handle)
		pass(time.Minute)
		for i := range 10 {
			market.CustomerSays(id, strconv.Itoa(i))
		}
		pass(5 * time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}, seen.texts(), "once each")
	})
}

func TestWhatWasHandledWhileTheRunEndsIsCommitted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		store := &shaky{MemoryStore: inbox.NewMemoryStore()}
		in := newInbox(t, market.Client(), store, inbox.WithStartTime(time.Now()))
		first := market.CustomerSays(id, "1")
		market.CustomerSays(id, "2")
		handle := func(ctx context.Context, _ inbox.Delivery) error {
			<-ctx.Done() // it is told, and finishes all the same
			pass(20 * time.Second)
			return nil
		}
		other := market.CustomerSays(market.AddChat(chats.Chat{}), "at the same time")
		run := start(t, in, 3, handle)
		pass(time.Minute)
		require.NoError(t, run.stop())
		marks, err := store.Marks(t.Context(), market.Business())
		require.NoError(t, err)
		assert.Equal(t, first, marks[id].Message)
		assert.Equal(t, other, marks[market.Chats()[0].ID].Message)

		run = start(t, in, 1, func(context.Context, inbox.Delivery) error { store.hang.Store(true); return nil })
		pass(time.Second)
		began := time.Now()
		require.NoError(t, run.stop())
		assert.LessOrEqual(t, time.Since(began), 5*time.Second, "a store that hangs does not keep it")
	})
}

// lender is a Leaser whose leases end when it is told to.
type lender struct {
	inbox.Store
	mu       sync.Mutex
	lose     context.CancelFunc
	err      error
	leases   int
	released int
}

func (l *lender) Lease(ctx context.Context, _ chats.BusinessID) (context.Context, func(), error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return nil, nil, l.err
	}
	l.leases++
	held, cancel := context.WithCancel(ctx)
	l.lose = cancel
	return held, sync.OnceFunc(func() {
		cancel()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.released++
	}), nil
}

// take ends the lease as a lost database does.
func (l *lender) take() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lose()
}

func TestALostLeaseStopsTheHandling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		store, seen := &lender{Store: inbox.NewMemoryStore()}, &notebook{}
		in := newInbox(t, market.Client(), store, inbox.WithStartTime(time.Now()))
		market.CustomerSays(id, "1")
		market.CustomerSays(id, "2")
		var stopped atomic.Int32
		run := start(t, in, 2, func(ctx context.Context, d inbox.Delivery) error {
			_ = seen.handle(ctx, d)
			if len(seen.texts()) == 1 {
				<-ctx.Done()
				stopped.Add(1)
			}
			return nil // handled, but under no lease any more
		})
		pass(time.Minute)
		store.take()
		synctest.Wait()
		assert.EqualValues(t, 1, stopped.Load(), "the handler is told at once")
		pass(time.Minute)
		assert.Equal(t, []string{"1", "1", "2"}, seen.texts(), "what was handled without the lease is not committed")
		require.NoError(t, run.stop())
		assert.Equal(t, 2, store.leases)
		assert.Equal(t, 2, store.released)
	})
}

func TestALeaseThatCannotBeHad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		store := &lender{Store: inbox.NewMemoryStore(), err: errors.New("no such table")}
		in := newInbox(t, market.Client(), store)
		began := time.Now()
		require.ErrorIs(t, start(t, in, 1, (&notebook{}).handle).end(t), store.err)
		assert.Equal(t, (1+2+4+8+16)*time.Second, time.Since(began), "six tries, and the pauses between them")

		store.err = nil
		seen := &notebook{}
		run := start(t, in, 1, seen.handle)
		pass(time.Minute)
		store.mu.Lock()
		store.err = errors.New("the database is being restarted")
		store.mu.Unlock()
		store.take()
		pass(time.Hour)
		store.mu.Lock()
		store.err = nil
		store.mu.Unlock()
		market.CustomerSays(id, "1")
		pass(3 * time.Minute)
		assert.Equal(t, []string{"1"}, seen.texts(), "who had it once waits for it")
		require.NoError(t, run.stop())
	})
}

func TestAStandByWaitsAndTakesOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		store, one, two := inbox.NewMemoryStore(), &notebook{}, &notebook{}
		first := start(t, newInbox(t, market.Client(), store), 2, one.handle)
		synctest.Wait()
		second := start(t, newInbox(t, market.Client(), store), 2, two.handle)
		pass(time.Minute)
		market.CustomerSays(id, "1")
		pass(2 * time.Minute)
		require.NoError(t, first.stop())
		market.CustomerSays(id, "2")
		pass(2 * time.Minute)
		third := start(t, newInbox(t, market.Client(), store), 2, one.handle)
		pass(time.Minute)
		require.NoError(t, third.stop(), "a stand-by ends like any other")
		require.NoError(t, second.stop())
		assert.Equal(t, []string{"1"}, one.texts())
		assert.Equal(t, []string{"2"}, two.texts())
	})
}

// Two inboxes on one store without leases: what one has committed the other one
// never hands over, and no message is lost.
func TestTwoInboxesOnOneStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithLatency(30 * time.Millisecond))
		ids := make([]chats.ChatID, 20)
		for i := range ids {
			ids[i] = market.AddChat(longAgo())
		}
		pass(time.Hour)
		store := plain{inbox.NewMemoryStore()}
		var mu sync.Mutex
		committed, times := map[chats.ChatID]map[chats.MessageID]time.Time{}, map[string]int{}
		watched := &watcher{Store: store, commit: func(chat chats.ChatID, to inbox.Mark) {
			mu.Lock()
			defer mu.Unlock()
			if committed[chat] == nil {
				committed[chat] = map[chats.MessageID]time.Time{}
			}
			if committed[chat][to.Message].IsZero() {
				committed[chat][to.Message] = time.Now()
			}
		}}
		var ins [2]*inbox.Inbox
		for i := range ins {
			ins[i] = newInbox(t, market.Client(), watched, inbox.WithPollInterval(10*time.Second))
			start(t, ins[i], 3, func(_ context.Context, d inbox.Delivery) error {
				mu.Lock()
				// At one and the same moment both things happen: no store can rule that out.
				if at := committed[d.Chat.ID][d.Message.ID]; !at.IsZero() {
					assert.Equal(t, time.Now(), at, "committed already")
				}
				times[d.Message.Text]++
				mu.Unlock()
				pass(time.Duration(d.Message.ID%500) * time.Millisecond)
				return nil
			})
		}
		pass(5 * time.Second)
		for i := range 500 {
			id := ids[(i*7)%20]
			market.CustomerSays(id, strconv.Itoa(i))
			if i%3 == 0 {
				_ = ins[0].Wake(context.Background(), id)
			}
			if i%4 == 0 {
				_ = ins[1].Wake(context.Background(), id)
			}
			pass(777 * time.Millisecond)
		}
		pass(10 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		assert.Len(t, times, 500)
	})
}

// What another inbox has moved on is taken over from the store.
func TestOneInboxGoesOnForAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		store, one, two := plain{inbox.NewMemoryStore()}, &notebook{}, &notebook{}
		first := newInbox(t, market.Client(), store, inbox.WithPollInterval(24*time.Hour))
		second := newInbox(t, market.Client(), store, inbox.WithPollInterval(24*time.Hour))
		runFirst := start(t, first, 1, one.handle)
		pass(time.Minute)
		runSecond := start(t, second, 1, two.handle)
		pass(time.Minute)
		for i := range 3 {
			market.CustomerSays(id, strconv.Itoa(i))
			_ = first.Wake(context.Background(), id)
			pass(time.Minute)
		}
		require.NoError(t, runFirst.stop())
		market.CustomerSays(id, "3")
		_ = second.Wake(context.Background(), id)
		pass(time.Minute)
		require.NoError(t, runSecond.stop())
		assert.Equal(t, []string{"0", "1", "2"}, one.texts())
		assert.Equal(t, []string{"3"}, two.texts())
	})
}

// watcher is told of every commit that was made.
type watcher struct {
	inbox.Store
	mu     sync.Mutex
	commit func(chat chats.ChatID, to inbox.Mark)
}

func (w *watcher) Commit(ctx context.Context, business chats.BusinessID, chat chats.ChatID, from, to inbox.Mark) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.Store.Commit(ctx, business, chat, from, to)
	if err == nil {
		w.commit(chat, to)
	}
	return err
}

// through is a client whose requests answer may answer itself.
func through(market *chatstest.Market, answer func(*http.Request) *http.Response) *chats.Client {
	return market.Client(chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
		if resp := answer(req); resp != nil {
			return resp, nil
		}
		return market.Transport().RoundTrip(req)
	})}))
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func reply(req *http.Request, status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)),
	}
}

// asks: whether a request is of a path's end and of a chat.
func asks(req *http.Request, path string, id chats.ChatID) bool {
	return strings.HasSuffix(req.URL.Path, path) && req.URL.Query().Get("chatId") == strconv.FormatInt(int64(id), 10)
}

// Anybody can send a push, and Market may keep a chat to itself: that says nothing of
// the credential.
func TestAChatThatIsForbiddenEndsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		ours := market.AddChat(longAgo())
		const strange = 777
		asked := 0
		client := through(market, func(req *http.Request) *http.Response {
			if asks(req, "/chats/history", ours) || asks(req, "/chat", strange) {
				asked++
				return reply(req, 403, `{"status":"ERROR","errors":[{"code":"FORBIDDEN"}]}`)
			}
			return nil
		})
		seen := &notebook{}
		in := newInbox(t, client, inbox.NewMemoryStore(), inbox.WithPollInterval(time.Hour))
		run := start(t, in, 2, seen.handle)
		pass(time.Minute)
		market.CustomerSays(ours, "unreadable")
		_ = in.Wake(context.Background(), ours)
		_ = in.Wake(context.Background(), strange)
		pass(30 * time.Minute)
		market.CustomerSays(id, "for us")
		_ = in.Wake(context.Background(), id)
		pass(time.Minute)
		assert.Equal(t, []string{"for us"}, seen.texts())
		assert.Less(t, asked, 20)
		require.NoError(t, run.stop())
	})
}

// A connection to the database that is dead without knowing it.
type hanging struct {
	inbox.Store
	once sync.Once
}

func (h *hanging) Marks(ctx context.Context, business chats.BusinessID) (map[chats.ChatID]inbox.Mark, error) {
	h.once.Do(func() { <-ctx.Done() })
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return h.Store.Marks(ctx, business)
}

func TestMarksThatDoNotComeAreAskedForAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		seen := &notebook{}
		run := start(t, newInbox(t, market.Client(), &hanging{Store: inbox.NewMemoryStore()}), 2, seen.handle)
		pass(time.Minute)
		market.CustomerSays(id, "new")
		pass(2 * time.Minute)
		assert.Equal(t, []string{"new"}, seen.texts())
		require.NoError(t, run.stop())
	})
}

// formal is a store whose lease keeps nobody out, as SQLite's does not keep out other
// processes.
type formal struct{ inbox.Store }

func (formal) Lease(ctx context.Context, _ chats.BusinessID) (context.Context, func(), error) {
	held, cancel := context.WithCancel(ctx)
	return held, cancel, nil
}

func TestAFormalLeaseIsNoProof(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		store, one, two := formal{inbox.NewMemoryStore()}, &notebook{}, &notebook{}
		first := newInbox(t, market.Client(), store, inbox.WithPollInterval(time.Hour))
		second := newInbox(t, market.Client(), store, inbox.WithPollInterval(time.Hour))
		runFirst, runSecond := start(t, first, 1, one.handle), start(t, second, 1, two.handle)
		pass(time.Minute)
		market.CustomerSays(id, "once")
		_ = first.Wake(context.Background(), id)
		pass(2 * time.Second)
		_ = second.Wake(context.Background(), id)
		pass(3 * time.Hour)
		require.NoError(t, runFirst.stop())
		require.NoError(t, runSecond.stop())
		assert.Equal(t, []string{"once"}, one.texts())
		assert.Empty(t, two.texts(), "committed by the other one")
	})
}
