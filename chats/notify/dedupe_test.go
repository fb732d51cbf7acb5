package notify_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats/notify"
)

// counter counts its calls.
type counter struct {
	mu    sync.Mutex
	calls int
	err   error
}

func (c *counter) handle(context.Context, notify.Event) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	return c.err
}

func (c *counter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls
}

func TestDedupe_CopyIsNotHandled(t *testing.T) {
	t.Parallel()
	for _, body := range []string{createdBody, sentBody, startedBody, finishedBody} {
		var shop counter
		handler := newHandler(t, shop.handle, notify.WithDedupe(time.Hour, 10))
		for range 3 {
			assert.Equal(t, http.StatusOK, post(t, handler, body).status)
		}
		assert.Equal(t, 1, shop.count(), body)
	}
}

func TestDedupe_OffHandlesEveryCopy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shop := blocking{outcome: make(chan error)}
		handler := newHandler(t, shop.handle, notify.WithDedupe(0, 0))
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { assert.Equal(t, http.StatusOK, post(t, handler, sentBody).status) })
		}
		synctest.Wait()
		assert.Equal(t, 3, shop.count())
		close(shop.outcome)
		all.Wait()
		post(t, handler, sentBody)
		assert.Equal(t, 4, shop.count())
	})
}

func TestDedupe_OnByDefault(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var shop counter
		handler := newHandler(t, shop.handle)
		post(t, handler, sentBody)
		time.Sleep(time.Hour + 10*time.Second)
		post(t, handler, sentBody)
		assert.Equal(t, 1, shop.count(), "if a 200 is lost, Market waits 10 seconds for it, and then up to an hour")
		time.Sleep(time.Hour - 10*time.Second - 1)
		post(t, handler, sentBody)
		assert.Equal(t, 1, shop.count())
		time.Sleep(time.Nanosecond)
		post(t, handler, sentBody)
		assert.Equal(t, 2, shop.count(), "the window is two hours")
	})
	synctest.Test(t, func(t *testing.T) {
		var shop counter
		handler := newHandler(t, shop.handle)
		for message := range 10_001 {
			post(t, handler, with("messageId", strconv.Itoa(message+1)))
		}
		post(t, handler, with("messageId", "2"))
		assert.Equal(t, 10_001, shop.count())
		post(t, handler, with("messageId", "1"))
		assert.Equal(t, 10_002, shop.count(), "10,000 events are remembered")
	})
}

// slowly wraps a handle function so that it takes longer than Market waits. Like most functions, it
// stops when its context ends.
func slowly(c *counter) handleFunc {
	return func(ctx context.Context, event notify.Event) error {
		select {
		case <-time.After(20 * time.Second):
			return c.handle(ctx, event)
		case <-ctx.Done():
			_ = c.handle(ctx, event)
			return ctx.Err()
		}
	}
}

// A notification whose function is slow is handled once, and its first retry gets a 200, so
// Market's other notifications are delivered after a minute.
func TestDedupe_SlowHandlerIsCalledOnce(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		createdBody, sentBody, startedBody, finishedBody, otherBody, with("messageId", "null"), with("sentAt", "null"),
		`{"notificationType":"CHAT_CREATED","chatId":9021}`, `{"notificationType":"CHAT_MESSAGE_SENT","chatId":9021}`,
	} {
		synctest.Test(t, func(t *testing.T) {
			var shop counter
			handler := newHandler(t, slowly(&shop))
			assert.Equal(t, http.StatusInternalServerError, post(t, handler, body).status, body)
			time.Sleep(time.Second)
			assert.Equal(t, http.StatusInternalServerError, post(t, handler, body).status, "it is still running")
			time.Sleep(time.Minute)
			assert.Equal(t, http.StatusOK, post(t, handler, body).status, body)
			assert.Equal(t, 1, shop.count(), body)
		})
	}
}

func TestDedupe_SlowFailureIsHandledAgain(t *testing.T) {
	t.Parallel()
	for _, body := range []string{sentBody, otherBody} {
		synctest.Test(t, func(t *testing.T) {
			shop := counter{err: errors.New("the database is down")}
			handler := newHandler(t, slowly(&shop))
			for n := range 3 {
				assert.Equal(t, http.StatusInternalServerError, post(t, handler, body).status, body)
				time.Sleep(time.Minute)
				assert.Equal(t, n+1, shop.count(), body)
			}
		})
	}
}

// An event without an identity is compared by its body, but a later one that looks the same
// may be a different event, so the body is remembered only until Market gets its 200.
func TestDedupe_EventWithoutIdentity(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		otherBody, `{"notificationType":"CHAT_CREATED","chatId":9021}`, `{"notificationType":"CHAT_MESSAGE_SENT","chatId":9021}`,
		`{"notificationType":"CHAT_ARBITRAGE_STARTED","chatId":9021}`, `{"notificationType":"CHAT_ARBITRAGE_FINISHED","chatId":9021}`,
	} {
		synctest.Test(t, func(t *testing.T) {
			shop := blocking{outcome: make(chan error)}
			handler := newHandler(t, shop.handle, notify.WithDedupe(time.Hour, 10))
			var all sync.WaitGroup
			for range 3 {
				all.Go(func() { assert.Equal(t, http.StatusOK, post(t, handler, body).status) })
			}
			synctest.Wait()
			assert.Equal(t, 1, shop.count(), "never twice at the same time")
			shop.outcome <- nil
			all.Wait()
			close(shop.outcome)
			post(t, handler, body)
			assert.Equal(t, 2, shop.count(), body)
		})
		synctest.Test(t, func(t *testing.T) {
			var shop counter
			handler := newHandler(t, slowly(&shop))
			post(t, handler, body)
			time.Sleep(time.Minute)
			assert.Equal(t, http.StatusOK, post(t, handler, body).status)
			assert.Equal(t, 1, shop.count(), body)
			post(t, handler, body)
			time.Sleep(time.Minute)
			assert.Equal(t, 2, shop.count(), body)
		})
	}
}

func TestDedupe_ConcurrentEventsWithoutIdentity(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shop := blocking{outcome: make(chan error)}
		handler := newHandler(t, shop.handle)
		bodies := []string{
			otherBody, strings.Replace(otherBody, "5150", "5151", 1), `{"notificationType":"CHAT_CREATED","chatId":9021}`,
			`{"notificationType":"CHAT_CREATED","chatId":9021,"createdAt":"today"}`,
		}
		var all sync.WaitGroup
		for _, body := range bodies {
			all.Go(func() { assert.Equal(t, http.StatusOK, post(t, handler, body).status, body) })
		}
		synctest.Wait()
		assert.Equal(t, len(bodies), shop.count(), "they are different events")
		close(shop.outcome)
		all.Wait()
	})
}

func TestDedupe_EventWithoutIdentityTakesNoRoom(t *testing.T) {
	t.Parallel()
	var shop counter
	handler := newHandler(t, shop.handle, notify.WithDedupe(time.Hour, 1))
	for _, body := range []string{sentBody, otherBody, sentBody} {
		assert.Equal(t, http.StatusOK, post(t, handler, body).status)
	}
	assert.Equal(t, 2, shop.count())
}

func TestDedupe_Identity(t *testing.T) {
	t.Parallel()
	replace := strings.NewReplacer
	for name, tc := range map[string]struct {
		first, second string
		copies        bool
	}{
		"another message":            {sentBody, replace("1776677400213000", "1776677400213001").Replace(sentBody), false},
		"another chat":               {sentBody, replace("9021", "9022").Replace(sentBody), false},
		"another business":           {sentBody, replace("7431", "7432").Replace(sentBody), false},
		"another time of a message":  {sentBody, replace("30:00", "30:01").Replace(sentBody), true},
		"the message as a number":    {sentBody, replace(`"1776677400213000"`, "1776677400213000").Replace(sentBody), true},
		"another time of a chat":     {createdBody, replace("30:00", "30:01").Replace(createdBody), false},
		"a nanosecond later":         {createdBody, replace(".213+", ".213000001+").Replace(createdBody), false},
		"another business's chat":    {createdBody, replace("7431", "7432").Replace(createdBody), false},
		"the same time elsewhere":    {createdBody, replace("12:30:00.213+03:00", "09:30:00.213Z").Replace(createdBody), true},
		"a dispute's begin and end":  {startedBody, replace("STARTED", "FINISHED", "startedAt", "finishedAt").Replace(startedBody), false},
		"a dispute at another time":  {startedBody, replace("31:00", "31:01").Replace(startedBody), false},
		"its end at another time":    {finishedBody, replace("31:00", "31:01").Replace(finishedBody), false},
		"the chat of the dispute":    {startedBody, replace("CHAT_ARBITRAGE_STARTED", "CHAT_CREATED", "startedAt", "createdAt").Replace(startedBody), false},
		"an event of another type":   {otherBody, otherBody, false},
		"a message without its id":   {with("messageId", ""), with("messageId", ""), false},
		"its id is unusable":         {with("messageId", `"three"`), with("messageId", `"four"`), false},
		"another time, without ids":  {with("messageId", ""), strings.Replace(with("messageId", ""), "30:00", "30:01", 1), false},
		"a message without its time": {with("sentAt", ""), with("sentAt", "7"), true},
		"neither id nor time":        {`{"notificationType":"CHAT_MESSAGE_SENT","chatId":2}`, `{"notificationType":"CHAT_MESSAGE_SENT","chatId":2}`, false},
		"without a business":         {with("businessId", ""), with("businessId", "null"), true},
		"ids as strings":             {with("chatId", "2"), with("chatId", `"2"`), true},
		"a message with new fields":  {sentBody, replace(`{`, `{"new":1,`).Replace(sentBody), true},
		"a chat in two time formats": {startedBody, replace("31:00Z", "31:00.000Z").Replace(startedBody), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var shop counter
			handler := newHandler(t, shop.handle, notify.WithDedupe(time.Hour, 10))
			post(t, handler, tc.first)
			post(t, handler, tc.second)
			assert.Equal(t, tc.copies, shop.count() == 1)
		})
	}
}

func TestDedupe_FailureIsHandledAgain(t *testing.T) {
	t.Parallel()
	shop := counter{err: errors.New("the database is down")}
	handler := newHandler(t, shop.handle, notify.WithDedupe(time.Hour, 10))
	for range 2 {
		assert.Equal(t, http.StatusInternalServerError, post(t, handler, sentBody).status)
	}
	shop.err = nil
	for range 2 {
		assert.Equal(t, http.StatusOK, post(t, handler, sentBody).status)
	}
	assert.Equal(t, 3, shop.count())
}

func TestDedupe_WindowEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var shop counter
		handler := newHandler(t, shop.handle, notify.WithDedupe(time.Minute, 10))
		post(t, handler, sentBody)
		time.Sleep(time.Minute - 1)
		post(t, handler, sentBody)
		assert.Equal(t, 1, shop.count(), "a copy does not extend the window")
		time.Sleep(time.Nanosecond)
		post(t, handler, sentBody)
		assert.Equal(t, 2, shop.count())
		time.Sleep(time.Minute - 1)
		post(t, handler, sentBody)
		assert.Equal(t, 2, shop.count())
	})
}

func TestDedupe_SizeKeepsMostRecent(t *testing.T) {
	t.Parallel()
	var shop counter
	handler := newHandler(t, shop.handle, notify.WithDedupe(time.Hour, 2))
	for _, message := range []string{"1", "2", "3"} {
		post(t, handler, with("messageId", message))
	}
	require.Equal(t, 3, shop.count())
	post(t, handler, with("messageId", "3"))
	post(t, handler, with("messageId", "2"))
	assert.Equal(t, 3, shop.count())
	post(t, handler, with("messageId", "1"))
	assert.Equal(t, 4, shop.count(), "the oldest one was evicted")
}

// blocking has a handle function that waits for its outcome.
type blocking struct {
	counter
	outcome chan error
}

func (b *blocking) handle(ctx context.Context, event notify.Event) error {
	_ = b.counter.handle(ctx, event)
	return <-b.outcome
}

func TestDedupe_ConcurrentCopiesShareOutcome(t *testing.T) {
	t.Parallel()
	for want, outcome := range map[int]error{
		http.StatusOK:                  nil,
		http.StatusInternalServerError: errors.New("no"),
	} {
		synctest.Test(t, func(t *testing.T) {
			shop := blocking{outcome: make(chan error)}
			handler := newHandler(t, shop.handle, notify.WithDedupe(time.Hour, 1))
			var all sync.WaitGroup
			for range 5 {
				all.Go(func() { assert.Equal(t, want, post(t, handler, sentBody).status) })
			}
			synctest.Wait()
			shop.outcome <- outcome
			all.Wait()
			assert.Equal(t, 1, shop.count())
		})
	}
}

// Market retries an event whose response was late, while the function is still running.
func TestDedupe_CopyWaitsForRunningHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shop := blocking{outcome: make(chan error)}
		handler := newHandler(t, shop.handle, notify.WithDedupe(time.Hour, 1))
		assert.Equal(t, http.StatusInternalServerError, post(t, handler, sentBody).status)

		time.Sleep(time.Minute)
		began := time.Now()
		assert.Equal(t, http.StatusInternalServerError, post(t, handler, sentBody).status)
		assert.Equal(t, 9*time.Second, time.Since(began), "the copy waits as long as its own response allows")

		time.Sleep(time.Minute)
		shop.outcome <- nil
		synctest.Wait()
		assert.Equal(t, http.StatusOK, post(t, handler, sentBody).status)
		assert.Equal(t, 1, shop.count())
	})
}

func TestDedupe_LateFailureIsHandledAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shop := blocking{outcome: make(chan error, 1)}
		handler := newHandler(t, shop.handle, notify.WithDedupe(time.Hour, 1))
		assert.Equal(t, http.StatusInternalServerError, post(t, handler, sentBody).status)
		shop.outcome <- errors.New("no")
		synctest.Wait()
		shop.outcome <- nil
		assert.Equal(t, http.StatusOK, post(t, handler, sentBody).status)
		assert.Equal(t, 2, shop.count())
	})
}

func TestDedupe_RunningEventsDoNotCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shop := blocking{outcome: make(chan error, 1)}
		handler := newHandler(t, shop.handle, notify.WithDedupe(time.Hour, 1))
		shop.outcome <- nil
		post(t, handler, with("messageId", "1"))
		var second sync.WaitGroup
		second.Go(func() { post(t, handler, with("messageId", "2")) })
		synctest.Wait()
		assert.Equal(t, http.StatusOK, post(t, handler, with("messageId", "1")).status)
		assert.Equal(t, 2, shop.count())
		shop.outcome <- nil
		second.Wait()
	})
}

func TestDedupe_RunningEventsAreNotEvicted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shop := blocking{outcome: make(chan error)}
		handler := newHandler(t, shop.handle, notify.WithDedupe(time.Hour, 1))
		var all sync.WaitGroup
		for range 2 {
			for _, message := range []string{"1", "2", "3"} {
				all.Go(func() { assert.Equal(t, http.StatusOK, post(t, handler, with("messageId", message)).status) })
			}
		}
		synctest.Wait()
		assert.Equal(t, 3, shop.count())
		close(shop.outcome)
		all.Wait()
		assert.Equal(t, 3, shop.count())
	})
}
