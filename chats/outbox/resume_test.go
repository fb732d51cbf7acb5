package outbox_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

// hooked is a store with functions that a test puts before its methods.
type hooked struct {
	outbox.Store

	save    func(r *outbox.Record) error
	saved   func(r *outbox.Record)
	backlog func() error
	acquire func() error
	renew   func() error
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
				pass(5 * time.Minute)
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
		pass(time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"same", "same"}, posted(market, chat))
		assert.NotEqual(t, late, get(t, o, "b").Message.ID)
		assert.Equal(t, outbox.Sent, get(t, o, "b").State)
		require.ErrorIs(t, o.Resolve(t.Context(), "b", outbox.MarkSent(late)), outbox.ErrState)
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
				pass(6 * time.Second) // the process is frozen, its renewals as well
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
			pass(time.Until(next))
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
				pass(time.Minute)
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
		pass(30 * time.Second)
		result := get(t, second, "reply")
		assert.Equal(t, outbox.Sent, result.State, "the second process has found it")
		pass(2 * time.Minute)
		require.NoError(t, run.stop())
		require.NoError(t, other.stop())
		assert.Equal(t, result, get(t, second, "reply"))
		assert.Equal(t, []string{"reply"}, posted(market, chat))
	})
}
