package outbox_test

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

func TestRun_PostsOnceInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, seen := chatstest.NewMarket(), &settled{}
		a, b := market.AddChat(chats.Chat{}), market.AddChat(chats.Chat{})
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore(), seen.option())
		put(t, o, text("before the start", a))
		run := start(t, o)
		put(t, o, text("same", a), outbox.Item{Key: "same again", Chat: a, Text: "same"}, file("f.txt", a), text("last", a), text("other", b))
		sleep(time.Second)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"before the start", "same", "same", "f.txt", "last"}, posted(market, a))
		assert.Equal(t, []string{"other"}, posted(market, b))
		assert.ElementsMatch(t, []string{
			"before the start sent", "same sent", "same again sent", "f.txt sent", "last sent", "other sent",
		}, seen.keys())
		first, second := get(t, o, "same"), get(t, o, "same again")
		assert.NotEqual(t, first.Message.ID, second.Message.ID)
		assert.Equal(t, 1, first.Attempts)
		require.NoError(t, first.Err)
		assert.Equal(t, []byte("content of f.txt"), market.Uploads(a)[0].Data)
	})
}

func TestRun_CostsThreeRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		chat := market.AddChat(chats.Chat{})
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore())
		run := start(t, o)
		put(t, o, text("a", chat), text("b", chat), text("c", chat))
		sleep(time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, 3, market.Calls(chats.OpSendMessageToChat))
		assert.Equal(t, 6, market.Calls(chats.OpGetChatHistory))
	})
}

// What the outcome of each kind of failure is, and how often a message was posted.
func TestPost_States(t *testing.T) {
	t.Parallel()
	send, history := chats.OpSendMessageToChat, chats.OpGetChatHistory
	lost := slices.Repeat([]chatstest.Fault{chatstest.DropAfter()}, 6)
	for name, c := range map[string]struct {
		options []chatstest.Option
		faults  map[chats.Operation][]chatstest.Fault
		state   outbox.State
		posts   int
		within  time.Duration
		reason  string
		alone   bool // the fault affects the other items of the chat as well
	}{
		"the response is lost":                 {faults: fail(send, chatstest.DropAfter()), state: outbox.Sent, posts: 1},
		"it is lost every time":                {faults: fail(send, lost...), state: outbox.Sent, posts: 1},
		"500 after it was posted":              {faults: fail(send, chatstest.StatusAfter(500, "")), state: outbox.Sent, posts: 1},
		"processed late":                       {faults: fail(send, chatstest.ProcessLate(9*time.Second)), state: outbox.Sent, posts: 1},
		"the connection breaks before":         {faults: fail(send, chatstest.DropBefore()), state: outbox.Sent, posts: 1},
		"no connection":                        {faults: fail(send, slices.Repeat([]chatstest.Fault{chatstest.Refused()}, 20)...), state: outbox.Sent, posts: 1},
		"503 for a while":                      {faults: fail(send, slices.Repeat([]chatstest.Fault{chatstest.Status(503, "")}, 8)...), state: outbox.Sent, posts: 1},
		"the history is unreadable":            {faults: fail(history, slices.Repeat([]chatstest.Fault{chatstest.Status(500, "")}, 30)...), state: outbox.Sent, posts: 1},
		"refused":                              {faults: fail(send, chatstest.Status(400, badRequest)), state: outbox.Failed, reason: "no such thing"},
		"a gateway's 400 after it was posted":  {faults: fail(send, chatstest.StatusAfter(400, "<html>")), state: outbox.Sent, posts: 1},
		"a gateway's 401 after it was posted":  {faults: fail(send, chatstest.StatusAfter(401, "")), state: outbox.Sent, posts: 1},
		"a gateway's 403 after it was posted":  {faults: map[chats.Operation][]chatstest.Fault{send: {chatstest.StatusAfter(403, "<html>")}, history: {chatstest.OK(), chatstest.Status(403, "<html>"), chatstest.Status(403, "<html>")}}, state: outbox.Sent, posts: 1},
		"a gateway's 403 for hours":            {faults: fail(send, slices.Repeat([]chatstest.Fault{chatstest.HTML(403)}, 20)...), state: outbox.Sent, posts: 1},
		"no code, then shown late":             {options: []chatstest.Option{chatstest.WithVisibility(func(chats.Message) time.Duration { return 15 * time.Second })}, faults: fail(send, chatstest.StatusAfter(409, "")), state: outbox.Sent, posts: 1},
		"no code, four times":                  {faults: fail(send, slices.Repeat([]chatstest.Fault{chatstest.Status(400, "")}, 4)...), state: outbox.Sent, posts: 1},
		"no code, five times":                  {faults: fail(send, slices.Repeat([]chatstest.Fault{chatstest.Status(400, "")}, 5)...), state: outbox.Failed, reason: "400"},
		"no code, the fifth time it is posted": {faults: fail(send, append(slices.Repeat([]chatstest.Fault{chatstest.Status(400, "")}, 4), chatstest.StatusAfter(400, ""))...), state: outbox.Sent, posts: 1},
		"a gateway's 404":                      {faults: fail(send, chatstest.HTML(404)), state: outbox.Sent, posts: 1},
		"one refusal of the history":           {faults: fail(history, chatstest.Status(400, badRequest)), state: outbox.Sent, posts: 1},
		"the history is refused":               {faults: fail(history, slices.Repeat([]chatstest.Fault{chatstest.Status(404, badRequest)}, 40)...), state: outbox.Failed, reason: "no such thing", alone: true},
		"stored otherwise":                     {options: []chatstest.Option{chatstest.WithStoredText(strings.ToUpper)}, state: outbox.Uncertain, posts: 1, reason: "may be"},
		"stored otherwise, response lost":      {options: []chatstest.Option{chatstest.WithStoredText(strings.ToUpper)}, faults: fail(send, chatstest.DropAfter()), state: outbox.Uncertain, posts: 1},
		"never shown":                          {options: []chatstest.Option{chatstest.WithVisibility(func(chats.Message) time.Duration { return time.Hour })}, state: outbox.Uncertain, posts: 1, reason: "accepted"},
		"shown after the first search":         {options: []chatstest.Option{chatstest.WithVisibility(func(chats.Message) time.Duration { return 16 * time.Second })}, state: outbox.Sent, posts: 1},
		"hourly limit, reported":               {faults: fail(send, chatstest.RateLimitedHourly(time.Date(2000, 1, 1, 1, 0, 0, 0, time.UTC))), state: outbox.Sent, posts: 1, within: 61 * time.Minute},
		"hourly limit of the history":          {faults: fail(history, chatstest.RateLimitedHourly(time.Date(2000, 1, 1, 1, 0, 0, 0, time.UTC))), state: outbox.Sent, posts: 1, within: 61 * time.Minute},
		"parallel limit":                       {faults: fail(send, slices.Repeat([]chatstest.Fault{chatstest.RateLimitedParallel()}, 7)...), state: outbox.Sent, posts: 1},
		"accepted, then the history is down":   {faults: map[chats.Operation][]chatstest.Fault{history: append([]chatstest.Fault{chatstest.OK()}, slices.Repeat([]chatstest.Fault{chatstest.Status(500, "")}, 60)...)}, state: outbox.Sent, posts: 1},
		"lost, then the history is refused":    {faults: map[chats.Operation][]chatstest.Fault{send: {chatstest.DropAfter()}, history: append([]chatstest.Fault{chatstest.OK()}, slices.Repeat([]chatstest.Fault{chatstest.Status(403, "")}, 4)...)}, state: outbox.Sent, posts: 1},
		"lost, then the chat is gone for all":  {faults: map[chats.Operation][]chatstest.Fault{send: {chatstest.DropAfter()}, history: append([]chatstest.Fault{chatstest.OK()}, slices.Repeat([]chatstest.Fault{chatstest.Status(404, badRequest)}, 90)...)}, state: outbox.Uncertain, posts: 1, reason: "no such thing", alone: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market := chatstest.NewMarket(c.options...)
				chat := market.AddChat(chats.Chat{})
				o := newOutbox(t, connect(t, market), outbox.NewMemoryStore())
				for op, faults := range c.faults {
					market.Fail(op, faults...)
				}
				run := start(t, o)
				put(t, o, text("reply", chat), text("next", chat))
				result := awaitState(t, o, "reply", c.state)
				assert.Len(t, filter(posted(market, chat), "reply"), c.posts)
				if c.within > 0 {
					assert.Less(t, result.SettledAt.Sub(result.QueuedAt), c.within)
					assert.Equal(t, 1, result.Attempts, "the quota counts as no attempt")
				}
				if c.state != outbox.Sent {
					require.Error(t, result.Err)
					assert.Contains(t, result.Err.Error(), c.reason)
				}
				sleep(time.Hour)
				require.NoError(t, run.stop())
				assert.Len(t, filter(posted(market, chat), "reply"), c.posts)
				if !c.alone {
					assert.Len(t, filter(posted(market, chat), "next"), 1, "the items behind it go on")
				}
			})
		})
	}
}

const badRequest = `{"status":"ERROR","errors":[{"code":"BAD_REQUEST","message":"no such thing"}]}`

func fail(op chats.Operation, faults ...chatstest.Fault) map[chats.Operation][]chatstest.Fault {
	return map[chats.Operation][]chatstest.Fault{op: faults}
}

// filter returns those that are a text, however it is stored.
func filter(texts []string, text string) (found []string) {
	for _, t := range texts {
		if strings.EqualFold(t, text) {
			found = append(found, t)
		}
	}
	return found
}

func TestPost_FailedHasDetails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		chat := market.AddChat(chats.Chat{})
		market.FinishChat(chat)
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore())
		put(t, o, text("reply", chat))
		next, err := o.Step(t.Context())
		require.NoError(t, err)
		assert.Zero(t, next)
		result := get(t, o, "reply")
		assert.Equal(t, outbox.Failed, result.State)
		var failure *outbox.Failure
		require.ErrorAs(t, result.Err, &failure)
		assert.Equal(t, 400, failure.StatusCode)
		assert.NotEmpty(t, failure.Details)
		failure.Reason = "changed"
		assert.NotEqual(t, failure, get(t, o, "reply").Err, "the caller's own")
	})
}

// After an outage of any length a gateway's refusal is as doubtful as without one.
func TestPost_RefusalsAfterAnOutage(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]outbox.State{1: outbox.Sent, 4: outbox.Sent, 5: outbox.Failed} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market := chatstest.NewMarket()
				outage := slices.Repeat([]chatstest.Fault{chatstest.Status(503, "")}, 200)
				refusals := slices.Repeat([]chatstest.Fault{chatstest.HTML(409)}, n)
				market.Fail(chats.OpSendMessageToChat, append(outage, refusals...)...)
				o := newOutbox(t, connect(t, market), outbox.NewMemoryStore())
				put(t, o, text("a", market.AddChat(chats.Chat{})))
				run := start(t, o)
				sleep(4 * time.Hour)
				require.NoError(t, run.stop())
				assert.Equal(t, want, get(t, o, "a").State)
			})
		})
	}
}

// A credential that is refused while a refusal is searched for says nothing about the item, so its
// refusals are counted anew.
func TestPost_ARefusedCredentialIsNotTheReason(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		market.Fail(chats.OpSendMessageToChat, slices.Repeat([]chatstest.Fault{chatstest.Status(400, "")}, 20)...)
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore())
		put(t, o, text("a", market.AddChat(chats.Chat{})))
		run := start(t, o)
		for market.Calls(chats.OpSendMessageToChat) < 5 {
			sleep(time.Second)
		}
		market.Fail(chats.OpGetChatHistory, chatstest.Status(401, ""))
		sleep(time.Hour)
		require.NoError(t, run.stop())
		result := get(t, o, "a")
		assert.Equal(t, outbox.Failed, result.State)
		require.ErrorContains(t, result.Err, "400")
		assert.Equal(t, 10, market.Calls(chats.OpSendMessageToChat))
	})
}

// The delays grow while the errors differ from one attempt to the next.
func TestPost_BacksOffWhileErrorsAlternate(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]chatstest.Fault{"without a code": chatstest.Status(400, ""), "forbidden": chatstest.Status(403, forbidden)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market, n := chatstest.NewMarket(), 0
				market.FailFunc(func(op chats.Operation, _ int) chatstest.Fault {
					if op != chats.OpSendMessageToChat {
						return chatstest.OK()
					}
					if n++; n%2 == 0 {
						return fault
					}
					return chatstest.Status(503, "")
				})
				client := market.Client(chats.WithRetry(chats.RetryPolicy{MaxAttempts: 1}))
				o := newOutbox(t, client, outbox.NewMemoryStore())
				put(t, o, text("a", market.AddChat(chats.Chat{})))
				run := start(t, o)
				sleep(time.Hour)
				require.NoError(t, run.stop())
				assert.False(t, get(t, o, "a").State.IsSettled())
				assert.Less(t, n, 75, "about one per minute")
			})
		})
	}
}

// An item is not posted after its NotAfter if that passes while the item is being saved.
func TestPost_ExpiresDuringASlowSave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		store := &hooked{Store: outbox.NewMemoryStore(), saved: func(r *outbox.Record) {
			if r.State == outbox.Sending {
				sleep(2 * time.Second)
			}
		}}
		o := newOutbox(t, connect(t, market), store)
		item := text("a", market.AddChat(chats.Chat{}))
		item.NotAfter = time.Now().Add(time.Second)
		put(t, o, item)
		_, err := o.Step(t.Context())
		require.NoError(t, err)
		result := get(t, o, "a")
		assert.Equal(t, outbox.Expired, result.State)
		assert.Zero(t, result.Attempts)
		assert.Empty(t, posted(market, item.Chat))
	})
}

// A refusal of the history is not the first in a row of refusals of the send: the send may have been
// processed all the same.
func TestPost_RefusedAfterTheHistoryWas(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market := chatstest.NewMarket()
				o := newOutbox(t, connect(t, market), outbox.NewMemoryStore())
				chat := market.AddChat(chats.Chat{})
				market.Fail(chats.OpGetChatHistory, chatstest.Status(status, ""), chatstest.Status(status, "")) // it is read twice
				market.Fail(chats.OpSendMessageToChat, chatstest.StatusAfter(status, ""))
				run := start(t, o)
				put(t, o, text("a", chat))
				sleep(2 * time.Minute)
				require.NoError(t, run.stop())
				assert.Equal(t, outbox.Sent, get(t, o, "a").State)
				assert.Len(t, posted(market, chat), 1)
			})
		})
	}
}
