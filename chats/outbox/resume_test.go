package outbox_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
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

// hooked is a store with functions that a test puts before its methods.
type hooked struct {
	outbox.Store

	item    func() error
	save    func(r *outbox.Record) error
	saved   func(r *outbox.Record)
	backlog func() error

	afterSave func(r *outbox.Record) error
	acquire   func() error
	renew     func() error
}

func (s *hooked) Item(ctx context.Context, b chats.BusinessID, key string) (outbox.Record, error) {
	if s.item != nil {
		if err := s.item(); err != nil {
			return outbox.Record{}, err
		}
	}
	return s.Store.Item(ctx, b, key)
}

func (s *hooked) SaveItem(ctx context.Context, lease inbox.Lease, r *outbox.Record) error {
	if s.save != nil {
		if err := s.save(r); err != nil {
			return err
		}
	}
	err := s.Store.SaveItem(ctx, lease, r)
	if err == nil && s.saved != nil {
		s.saved(r)
	}
	if err == nil && s.afterSave != nil {
		err = s.afterSave(r)
	}
	return err
}

func (s *hooked) Backlog(ctx context.Context, b chats.BusinessID, at time.Time) (outbox.Backlog, error) {
	if s.backlog != nil {
		if err := s.backlog(); err != nil {
			return outbox.Backlog{}, err
		}
	}
	return s.Store.Backlog(ctx, b, at)
}

func (s *hooked) Acquire(ctx context.Context, b chats.BusinessID, purpose, holder string) (inbox.Lease, error) {
	if s.acquire != nil {
		if err := s.acquire(); err != nil {
			return inbox.Lease{}, err
		}
	}
	return s.Store.Acquire(ctx, b, purpose, holder)
}

func (s *hooked) Renew(ctx context.Context, lease inbox.Lease) (time.Time, error) {
	if s.renew != nil {
		if err := s.renew(); err != nil {
			return time.Time{}, err
		}
	}
	return s.Store.Renew(ctx, lease)
}

// died leaves an item as a process does that was killed right before or after its request:
// in the state Sending under an old lease. The shop's messages so far are its baseline.
func died(t *testing.T, market *chatstest.Market, store outbox.Store, key string) {
	t.Helper()
	lease, err := store.Acquire(t.Context(), market.Business(), outbox.Purpose, "killed")
	require.NoError(t, err)
	r, err := store.Item(t.Context(), market.Business(), key)
	require.NoError(t, err)
	r.State, r.Attempts, r.Token, r.LastAttempt = outbox.Sending, 1, lease.Token, time.Now()
	for _, m := range market.Messages(r.Item.Chat) {
		if m.Sender == chats.SenderPartner {
			r.Baseline = append(r.Baseline, m.ID)
		}
	}
	require.NoError(t, store.SaveItem(t.Context(), lease, &r))
}

func TestResume_DecidesByTheHistory(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before, after func(market *chatstest.Market, chat chats.ChatID) // the process was killed
		notAfter      time.Duration
		state         outbox.State
		posts         int // of "reply", the shop's own ones included
	}{
		"nothing was posted": {state: outbox.Sent, posts: 1},
		"it was posted": {
			after: func(m *chatstest.Market, id chats.ChatID) { m.AddMessage(id, chats.SenderPartner, "reply") },
			state: outbox.Sent, posts: 1,
		},
		"it becomes visible later": {
			after: func(m *chatstest.Market, id chats.ChatID) {
				time.AfterFunc(15*time.Second, func() { m.AddMessage(id, chats.SenderPartner, "reply") })
			},
			state: outbox.Sent, posts: 1,
		},
		"an operator wrote the same before": {
			before: func(m *chatstest.Market, id chats.ChatID) { m.AddMessage(id, chats.SenderPartner, "reply") },
			state:  outbox.Sent, posts: 2,
		},
		"an operator wrote other texts before": {
			before: func(m *chatstest.Market, id chats.ChatID) {
				for range 40 {
					m.AddMessage(id, chats.SenderPartner, "other")
				}
			},
			state: outbox.Sent, posts: 1,
		},
		"something else was posted": {
			after: func(m *chatstest.Market, id chats.ChatID) { m.AddMessage(id, chats.SenderPartner, "Reply!") },
			state: outbox.Uncertain, posts: 0,
		},
		"the customer writes": {
			after: func(m *chatstest.Market, id chats.ChatID) { m.CustomerSays(id, "reply") },
			state: outbox.Sent, posts: 1,
		},
		"it is too late, nothing was posted": {notAfter: 10 * time.Second, state: outbox.Expired},
		"it is too late, it was posted": {
			after:    func(m *chatstest.Market, id chats.ChatID) { m.AddMessage(id, chats.SenderPartner, "reply") },
			notAfter: 10 * time.Second, state: outbox.Sent, posts: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market, store := chatstest.NewMarket(), outbox.NewMemoryStore()
				chat := market.AddChat(chats.Chat{})
				if c.before != nil {
					c.before(market, chat)
				}
				o := newOutbox(t, connect(t, market), store)
				item := text("reply", chat)
				if c.notAfter > 0 {
					item.NotAfter = time.Now().Add(c.notAfter)
				}
				put(t, o, item, text("next", chat))
				died(t, market, store, "reply")
				if c.after != nil {
					c.after(market, chat)
				}
				run := start(t, o)
				sleep(5 * time.Minute)
				require.NoError(t, run.stop())
				assert.Equal(t, c.state, get(t, o, "reply").State)
				own := 0
				for _, m := range market.Messages(chat) {
					if m.Sender == chats.SenderPartner && m.Text == "reply" {
						own++
					}
				}
				assert.Equal(t, c.posts, own)
				assert.Equal(t, outbox.Sent, get(t, o, "next").State)
			})
		})
	}
}

// A call whose first send is in doubt is not the last word on it when the item is too late
// for the second.
func TestResume_ExpiryDoesNotSettleADoubtfulSend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithVisibility(func(chats.Message) time.Duration { return 20 * time.Second }))
		market.Fail(chats.OpSendMessageToChat, chatstest.DropAfter())
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore())
		item := text("reply", market.AddChat(chats.Chat{}))
		item.NotAfter = time.Now().Add(10 * time.Second)
		put(t, o, item)
		run := start(t, o)
		sleep(time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, outbox.Sent, get(t, o, "reply").State)
	})
}

// The response of a send is lost, and from then on the server forbids the chat: what became
// of the item can never be found out. A limit in between says nothing about that.
func TestResume_InAForbiddenChat(t *testing.T) {
	t.Parallel()
	for name, limitAt := range map[string]time.Duration{"always": time.Hour, "but for a limit": 6 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market, began := chatstest.NewMarket(), time.Now()
				chat := market.AddChat(chats.Chat{})
				var sent, limited atomic.Bool
				market.FailFunc(func(op chats.Operation, _ int) chatstest.Fault {
					switch {
					case op == chats.OpGetChats:
						return chatstest.OK()
					case sent.Load() && time.Since(began) > limitAt && !limited.Swap(true):
						return chatstest.RateLimitedHourly(time.Now().Add(time.Minute))
					case sent.Load():
						return chatstest.Status(403, forbidden)
					case op == chats.OpSendMessageToChat:
						sent.Store(true)
						return chatstest.DropAfter()
					}
					return chatstest.OK()
				})
				o := newOutbox(t, connect(t, market), outbox.NewMemoryStore())
				put(t, o, text("a", chat), text("b", chat))
				run := start(t, o)
				sleep(15 * time.Minute)
				assert.Equal(t, outbox.Sending, get(t, o, "a").State)
				sleep(5 * time.Minute)
				result := get(t, o, "a")
				assert.Equal(t, outbox.Uncertain, result.State)
				require.ErrorContains(t, result.Err, "403")
				assert.Equal(t, name != "always", limited.Load())
				market.FailFunc(nil)
				sleep(5 * time.Minute)
				assert.Equal(t, outbox.Sent, get(t, o, "b").State, "what is behind it goes on")
				require.NoError(t, run.stop())
				assert.Equal(t, []string{"a", "b"}, posted(market, chat))
			})
		})
	}
}

// The message that an operator has given to another item does not count.
func TestResume_MessagesOfOtherItems(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, store := chatstest.NewMarket(), outbox.NewMemoryStore()
		chat := market.AddChat(chats.Chat{})
		o := newOutbox(t, connect(t, market), store)
		put(t, o, outbox.Item{Key: "a", Chat: chat, Text: "same"}, outbox.Item{Key: "b", Chat: chat, Text: "same"})
		lease, err := store.Acquire(t.Context(), market.Business(), outbox.Purpose, "killed")
		require.NoError(t, err)
		r, err := store.Item(t.Context(), market.Business(), "a")
		require.NoError(t, err)
		r.State, r.SettledAt, r.Reported = outbox.Uncertain, time.Now(), true
		require.NoError(t, store.SaveItem(t.Context(), lease, &r))
		require.NoError(t, store.Release(t.Context(), lease))
		died(t, market, store, "b")
		late := market.AddMessage(chat, chats.SenderPartner, "same") // a's
		require.NoError(t, o.Resolve(t.Context(), "a", outbox.MarkSent(late)))
		run := start(t, o)
		sleep(time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"same", "same"}, posted(market, chat))
		assert.NotEqual(t, late, get(t, o, "b").Message.ID)
		assert.Equal(t, outbox.Sent, get(t, o, "b").State)
		require.ErrorIs(t, o.Resolve(t.Context(), "b", outbox.MarkSent(late)), outbox.ErrState)
	})
}

// slow is a transport on which sends take long.
type slow struct {
	http.RoundTripper

	by time.Duration
}

func (s slow) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.HasSuffix(req.URL.Path, "/message") {
		sleep(s.by)
	}
	return s.RoundTripper.RoundTrip(req)
}

// An attempt may become visible until the search time has passed since its end.
func TestResume_AfterASlowSend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		chat := market.AddChat(chats.Chat{})
		client := market.Client(chats.WithHTTPClient(&http.Client{Transport: slow{contract.Transport(t, market.Transport()), 9 * time.Second}}))
		o := newOutbox(t, client, outbox.NewMemoryStore())
		market.Fail(chats.OpSendMessageToChat, chatstest.ProcessLate(9*time.Second))
		refused := chatstest.Status(404, badRequest) // ends the search of the call
		market.Fail(chats.OpGetChatHistory, chatstest.OK(), refused, refused)
		put(t, o, text("reply", chat))
		run := start(t, o)
		sleep(10 * time.Second)
		assert.Equal(t, outbox.Sending, get(t, o, "reply").State)
		assert.Empty(t, posted(market, chat))
		sleep(time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"reply"}, posted(market, chat))
		assert.Equal(t, outbox.Sent, get(t, o, "reply").State)
	})
}

// The server has accepted an item, which cannot be stored for longer than the search lasts.
func TestResume_AcceptedWhileTheStoreIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithVisibility(func(chats.Message) time.Duration { return time.Hour }))
		chat, store := market.AddChat(chats.Chat{}), &hooked{Store: outbox.NewMemoryStore()}
		var down atomic.Bool
		store.save = func(*outbox.Record) error {
			if down.Load() {
				return errors.New("read-only")
			}
			return nil
		}
		o := newOutbox(t, connect(t, market), store)
		put(t, o, text("reply", chat))
		run := start(t, o)
		sleep(5 * time.Second)
		down.Store(true)
		sleep(2 * time.Minute)
		down.Store(false)
		sleep(10 * time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"reply"}, posted(market, chat))
		assert.Equal(t, outbox.Uncertain, get(t, o, "reply").State)
	})
}

// A process that was frozen right before its request must not post what another one has
// taken over: the lease is checked as the last thing.
func TestPost_ChecksTheLeaseRightBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		chat := market.AddChat(chats.Chat{})
		var frozen atomic.Bool
		frozen.Store(true)
		store := &hooked{Store: outbox.NewMemoryStore()}
		store.saved = func(r *outbox.Record) {
			if r.State == outbox.Sending && frozen.Load() {
				sleep(6 * time.Second) // the process is frozen, its renewals as well
				frozen.Store(false)
			}
		}
		store.renew = func() error {
			if frozen.Load() {
				return errors.New("frozen")
			}
			return nil
		}
		o := newOutbox(t, connect(t, market), store)
		put(t, o, text("reply", chat))
		_, err := o.Step(t.Context())
		require.ErrorIs(t, err, inbox.ErrLeaseLost)
		assert.Zero(t, market.Calls(chats.OpSendMessageToChat))
		steps, began := 0, time.Now()
		for next := began; !next.IsZero(); steps++ {
			sleep(time.Until(next))
			next, err = o.Step(t.Context())
			require.NoError(t, err)
		}
		assert.Equal(t, []string{"reply"}, posted(market, chat))
		assert.Less(t, steps, 10)
		assert.Less(t, time.Since(began), chats.SearchTime+time.Second)
	})
}

// A worker that wakes up after its lease has expired changes nothing.
func TestPost_WritesAreFenced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		chat := market.AddChat(chats.Chat{})
		shared := outbox.NewMemoryStore()
		var frozen atomic.Bool
		frozen.Store(true)
		store := &hooked{Store: shared}
		store.save = func(r *outbox.Record) error {
			if r.State == outbox.Sent && frozen.Load() {
				sleep(time.Minute)
				frozen.Store(false)
			}
			return nil
		}
		store.renew = func() error {
			if frozen.Load() {
				return errors.New("frozen")
			}
			return nil
		}
		first, second := newOutbox(t, connect(t, market), store), newOutbox(t, connect(t, market), shared)
		put(t, first, text("reply", chat))
		run, other := start(t, first), start(t, second)
		sleep(30 * time.Second)
		result := get(t, second, "reply")
		assert.Equal(t, outbox.Sent, result.State, "the second process has found it")
		sleep(2 * time.Minute)
		require.NoError(t, run.stop())
		require.NoError(t, other.stop())
		assert.Equal(t, result, get(t, second, "reply"))
		assert.Equal(t, []string{"reply"}, posted(market, chat))
	})
}

// dying is the store of a process that is killed right after it has stored that an item is
// being sent, before the request.
func dying(store outbox.Store, kill func()) *hooked {
	var dead atomic.Bool
	return &hooked{
		Store: store,
		save: func(*outbox.Record) error {
			if dead.Load() {
				return errors.New("killed")
			}
			return nil
		},
		saved: func(r *outbox.Record) {
			if r.State == outbox.Sending {
				dead.Store(true)
				kill()
			}
		},
	}
}

// Ways in which the outcome of a send remains unknown although it was never processed.
var unprocessed = map[string]func(t *testing.T, market *chatstest.Market, store outbox.Store){
	"the process is killed before the request": func(t *testing.T, market *chatstest.Market, store outbox.Store) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		market.Fail(chats.OpSendMessageToChat, chatstest.DropBefore())
		_, _ = newOutbox(t, connect(t, market), dying(store, cancel)).Step(ctx)
	},
	"the connection breaks, and then the history is down": func(_ *testing.T, market *chatstest.Market, _ outbox.Store) {
		var down atomic.Bool
		market.FailFunc(func(op chats.Operation, _ int) chatstest.Fault {
			switch {
			case down.Load():
				return chatstest.Status(503, "")
			case op == chats.OpSendMessageToChat:
				down.Store(true)
				time.AfterFunc(20*time.Minute, func() { market.FailFunc(nil) })
				return chatstest.DropBefore()
			}
			return chatstest.OK()
		})
	},
}

// The history before an attempt is read only from a day before the last message that the
// outbox knows. An older message of the shop is not a new one because of that.
func TestResume_OlderMessagesOfTheShopAreNotNew(t *testing.T) {
	t.Parallel()
	for name, lose := range unprocessed {
		for _, old := range []string{"reply", "another text"} {
			t.Run(name+", "+old, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					market, store := chatstest.NewMarket(), outbox.NewMemoryStore()
					chat := market.AddChat(chats.Chat{})
					market.AddMessage(chat, chats.SenderPartner, old) // by an operator
					sleep(72 * time.Hour)
					o := newOutbox(t, connect(t, market), store)
					put(t, o, text("first", chat))
					_, err := o.Step(t.Context())
					require.NoError(t, err)
					put(t, o, text("reply", chat))
					lose(t, market, store)
					run := start(t, o)
					sleep(2 * time.Hour)
					require.NoError(t, run.stop())
					result, all := get(t, o, "reply"), market.Messages(chat)
					assert.Equal(t, outbox.Sent, result.State)
					assert.Equal(t, all[len(all)-1].ID, result.Message.ID)
					assert.Equal(t, []string{old, "first", "reply"}, posted(market, chat))
				})
			})
		}
	}
}

// The same with a message of an item that has been deleted after the retention.
func TestResume_MessagesOfDeletedItemsAreNotNew(t *testing.T) {
	t.Parallel()
	for name, lose := range unprocessed {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market, store := chatstest.NewMarket(), outbox.NewMemoryStore()
				chat := market.AddChat(chats.Chat{})
				o := newOutbox(t, connect(t, market), store)
				for n, text := range []string{"thanks", "hello", "the last that the outbox knows"} {
					key := strconv.Itoa(n + 1)
					put(t, o, outbox.Item{Key: key, Chat: chat, Text: text})
					_, err := o.Step(t.Context())
					require.NoError(t, err)
					if n < 2 {
						sleep(31 * 24 * time.Hour)
					}
				}
				_, err := o.Get(t.Context(), "1")
				require.ErrorIs(t, err, outbox.ErrUnknownKey)
				put(t, o, outbox.Item{Key: "4", Chat: chat, Text: "thanks"})
				lose(t, market, store)
				run := start(t, o)
				sleep(2 * time.Hour)
				require.NoError(t, run.stop())
				assert.Equal(t, outbox.Sent, get(t, o, "4").State)
				assert.Len(t, filter(posted(market, chat), "thanks"), 2)
			})
		})
	}
}

// NotAfter passes at the end of the search, while the history is read or the next attempt is saved.
// The item will not be posted again, so the search goes on for as long as it does for an item that has
// expired before.
func TestResume_ExpiresAtTheEndOfTheSearch(t *testing.T) {
	t.Parallel()
	for name, slow := range map[string]struct{ reads, saves time.Duration }{
		"history": {reads: 2 * time.Second},
		"save":    {saves: 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market := chatstest.NewMarket(chatstest.WithVisibility(func(chats.Message) time.Duration { return 25 * time.Second }))
				chat, began := market.AddChat(chats.Chat{}), time.Now()
				isEnding := func() bool { return time.Since(began) >= chats.SearchTime }
				store := &hooked{Store: outbox.NewMemoryStore(), saved: func(r *outbox.Record) {
					if r.State == outbox.Sending && isEnding() {
						sleep(slow.saves)
					}
				}}
				o := newOutbox(t, connect(t, market), store)
				market.Fail(chats.OpSendMessageToChat, chatstest.DropAfter())
				market.FailFunc(func(chats.Operation, int) chatstest.Fault {
					if isEnding() {
						return chatstest.SlowHeaders(slow.reads)
					}
					return chatstest.OK()
				})
				item := text("reply", chat)
				item.NotAfter = began.Add(chats.SearchTime + time.Second)
				put(t, o, item)
				run := start(t, o)
				awaitState(t, o, "reply", outbox.Sent)
				require.NoError(t, run.stop())
				assert.Len(t, posted(market, chat), 1)
			})
		})
	}
}
