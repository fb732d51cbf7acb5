package fleet

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/inbox"
)

func TestEntry_IsAskedForAgainAfterItsLifetime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		shop := func(_ context.Context, id chats.BusinessID) (Shop, error) {
			asked++
			client, err := chats.New(id, chats.APIKey("key"))
			return Shop{Client: client}, err
		}
		f, err := New(struct{ Store }{}, shop, func(context.Context, inbox.Delivery) error { return nil })
		require.NoError(t, err)
		ask := func(id chats.BusinessID, anew bool) {
			_, err := f.entry(t.Context(), id, anew)
			require.NoError(t, err)
		}
		ask(1, false)
		time.Sleep(shopLifetime - time.Second)
		ask(1, false)
		assert.Equal(t, 1, asked)
		ask(1, true)
		assert.Equal(t, 2, asked, "after a refusal")
		time.Sleep(shopLifetime)
		ask(1, false)
		assert.Equal(t, 3, asked)
		for id := range chats.BusinessID(2 * maxEntries) {
			ask(id+1, false)
		}
		assert.Len(t, f.entries, maxEntries)
	})
}

// Before this process serves the business again, another one may have done so with the new
// credential.
func TestEntry_IsNotKeptAfterARefusal(t *testing.T) {
	t.Parallel()
	f, jobs := newFake(t)
	jobs.add(7, rivertype.JobStateScheduled)
	before, err := f.entry(t.Context(), 7, false)
	require.NoError(t, err)
	f.inbox.step = func(context.Context, *entry) (time.Time, error) { return time.Time{}, chats.ErrForbidden }
	_, after, _ := f.inbox.makeStep(t.Context(), 7, Backoff{}, 0)
	assert.Equal(t, 1, after.Failures)
	again, err := f.entry(t.Context(), 7, false)
	require.NoError(t, err)
	assert.NotSame(t, before, again)
}

// memory is a Store with the inbox's methods only.
type memory struct {
	*inbox.MemoryStore
	rest
}

type rest struct{ Store }

func TestStep_HandlesABacklogAtTheRateOfTheQuota(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		began, handled := time.Now(), []time.Duration{}
		id := market.AddChat(chats.Chat{})
		for range maxBurst + 10*maxRate {
			market.CustomerSays(id, "hello")
		}
		shop := func(_ context.Context, id chats.BusinessID) (Shop, error) {
			client, err := chats.New(id, chats.APIKey(market.Key()), chats.WithHTTPClient(&http.Client{Transport: market.Transport()}))
			return Shop{Client: client, Inbox: []inbox.Option{inbox.WithStartTime(began.Add(-time.Hour))}}, err
		}
		began = time.Now()
		f, err := New(memory{MemoryStore: inbox.NewMemoryStore()}, shop, func(context.Context, inbox.Delivery) error {
			handled = append(handled, time.Since(began))
			return nil
		})
		require.NoError(t, err)
		e, err := f.entry(t.Context(), market.Business(), false)
		require.NoError(t, err)
		_, err = f.inbox.step(t.Context(), e)
		require.NoError(t, err)
		require.Len(t, handled, maxBurst+10*maxRate)
		assert.Less(t, handled[maxBurst-1], time.Second, "a burst")
		assert.InDelta(t, 10, handled[len(handled)-1].Seconds(), 1)
	})
}

func TestEntry_ShopThatDoesNotReturnConcernsNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shop := func(ctx context.Context, id chats.BusinessID) (Shop, error) {
			switch id {
			case 1:
				panic("no key")
			case 2:
				runtime.Goexit()
			case 3:
				time.Sleep(time.Hour)
			}
			client, err := chats.New(id, chats.APIKeySource(func(context.Context) (string, error) {
				time.Sleep(time.Hour)
				return "key", nil
			}))
			return Shop{Client: client}, err
		}
		f, err := New(struct{ Store }{}, shop, func(context.Context, inbox.Delivery) error { return nil })
		require.NoError(t, err)
		for id, want := range map[chats.BusinessID]string{
			1: "panic: no key", 2: "ended its goroutine", 3: "no return within", 4: "no return within",
		} {
			began := time.Now()
			_, err := f.entry(t.Context(), id, false)
			require.ErrorContains(t, err, want)
			assert.LessOrEqual(t, time.Since(began), shopTimeout+time.Second)
		}
		time.Sleep(2 * time.Hour)
	})
}

// PostgreSQL cannot store a zero byte. With one, River could not record the end of any job.
func TestBackoff_HasNoZeroByte(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "bad key", Backoff{Failures: -1}.again(nil, errors.New("bad\x00 key")).Error)
}

func TestBackoff_DelaysGrowUntilAnotherCredential(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		refused, e := errors.New("refused"), &entry{fingerprint: "a"}
		var backoff Backoff
		for n, want := range []time.Duration{15 * time.Second, 30 * time.Second, time.Minute} {
			backoff = backoff.again(e, refused)
			assert.Equal(t, n+1, backoff.Failures)
			assert.Equal(t, want, time.Until(backoff.Until))
			assert.Equal(t, want, time.Until(backoff.nextAsk()))
		}
		for range 20 {
			backoff = backoff.again(e, refused)
		}
		assert.Equal(t, maxBackoff, time.Until(backoff.Until))
		assert.True(t, backoff.holds("a"))
		assert.False(t, backoff.holds("b"), "another credential is tried at once")
		assert.Equal(t, maxAskInterval, time.Until(backoff.nextAsk()))
		time.Sleep(maxBackoff)
		assert.False(t, backoff.holds("a"))
		backoff = backoff.again(&entry{fingerprint: "b"}, refused)
		assert.Equal(t, 1, backoff.Failures)
		assert.Equal(t, askInterval, time.Until(backoff.Until))
	})
}

// A backoff that was set by a clock days ahead does not hold the business up for days.
func TestBackoff_OfAWrongClockDoesNotHold(t *testing.T) {
	t.Parallel()
	for ahead, want := range map[time.Duration]bool{-time.Second: false, maxBackoff + time.Minute: true, 72 * time.Hour: false} {
		b := Backoff{Failures: 1, Until: time.Now().Add(ahead), Fingerprint: "a"}
		assert.Equal(t, want, b.holds("a"), ahead)
		assert.False(t, b.holds("b"), "another credential")
	}
}
