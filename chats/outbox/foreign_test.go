package outbox_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
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
	"github.com/ymchats/ymchats-go/chats/internal/contract"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

// mixedUp is a gateway that mixes up responses: some histories are those of another chat.
type mixedUp struct {
	http.RoundTripper

	other    chats.ChatID
	readings atomic.Int64
	isOther  func(n int64) bool // the n-th reading of a history, beginning with 1
}

func (g *mixedUp) RoundTrip(req *http.Request) (*http.Response, error) {
	if isHistory(req) && g.isOther(g.readings.Add(1)) {
		req = ofChat(req, g.other)
	}
	return g.RoundTripper.RoundTrip(req)
}

func isHistory(req *http.Request) bool { return strings.HasSuffix(req.URL.Path, "/history") }

// ofChat returns the request for the history of another chat.
func ofChat(req *http.Request, chat chats.ChatID) *http.Request {
	other, query := req.Clone(req.Context()), req.URL.Query()
	query.Set("chatId", strconv.FormatInt(int64(chat), 10))
	other.URL.RawQuery = query.Encode()
	return other
}

// A history does not say whose it is, except by the messages that it shows.
func TestPost_AHistoryOfAnotherChat(t *testing.T) {
	t.Parallel()
	send := chats.OpSendMessageToChat
	lost, notSent := fail(send, chatstest.DropAfter()), fail(send, chatstest.DropBefore())
	always := func(from int64) func(int64) bool { return func(n int64) bool { return n >= from } }
	only := func(which ...int64) func(int64) bool { return func(n int64) bool { return slices.Contains(which, n) } }
	for name, c := range map[string]struct {
		faults  map[chats.Operation][]chatstest.Fault
		isOther func(n int64) bool
		same    string // the text that the shop posts to the other chat meanwhile
		state   outbox.State
		posts   int
	}{
		"after the response was lost":            {faults: lost, isOther: only(2), state: outbox.Sent, posts: 1},
		"until the search has ended":             {faults: lost, isOther: func(n int64) bool { return n > 1 && n < 12 }, state: outbox.Sent, posts: 1},
		"ever since":                             {faults: lost, isOther: always(2), state: outbox.Uncertain, posts: 1},
		"with the same text":                     {faults: notSent, isOther: only(2, 3), same: "reply", state: outbox.Sent, posts: 1},
		"with the same text, ever since":         {faults: notSent, isOther: always(2), same: "reply", state: outbox.Uncertain},
		"with the same text, and it was posted":  {isOther: only(2), same: "reply", state: outbox.Sent, posts: 1},
		"with another text, after it was posted": {isOther: only(2), same: "other", state: outbox.Sent, posts: 1},
		"before it was posted":                   {isOther: only(1), state: outbox.Uncertain, posts: 1},
		"before it was posted, response lost":    {faults: lost, isOther: only(1), state: outbox.Uncertain, posts: 1},
		"before it was not posted":               {faults: notSent, isOther: only(1), same: "reply", state: outbox.Uncertain},
	} {
		for old := range 2 {
			t.Run(fmt.Sprint(name, ", old texts ", old), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					market := chatstest.NewMarket()
					chat, other := market.AddChat(chats.Chat{}), market.AddChat(chats.Chat{})
					for _, id := range []chats.ChatID{chat, other} {
						market.CustomerSays(id, "question")
						market.AddMessage(id, chats.SenderPartner, []string{"greetings", "reply"}[old])
						sleep(time.Millisecond) // IDs are times, and show which chat they belong to
					}
					sleep(time.Minute)
					gateway := &mixedUp{contract.Transport(t, market.Transport()), other, atomic.Int64{}, c.isOther}
					o := newOutbox(t, market.Client(chats.WithHTTPClient(&http.Client{Transport: gateway})), outbox.NewMemoryStore())
					for op, faults := range c.faults {
						market.Fail(op, faults...)
					}
					put(t, o, text("reply", chat))
					run := start(t, o)
					sleep(50 * time.Millisecond)
					if c.same != "" {
						market.AddMessage(other, chats.SenderPartner, c.same)
					}
					result := awaitState(t, o, "reply", c.state)
					require.NoError(t, run.stop())
					messages := market.Messages(chat)[2:]
					if assert.Len(t, messages, c.posts) && c.state == outbox.Sent {
						assert.Equal(t, messages[0].ID, result.Message.ID)
					}
				})
			})
		}
	}
}

// Before the first attempt, the history must show the last message that the outbox has posted.
func TestPost_AHistoryOfAnotherChatBeforeTheFirstAttempt(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]chatstest.Fault{"posted": chatstest.DropAfter(), "not posted": chatstest.DropBefore()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market := chatstest.NewMarket()
				chat, other := market.AddChat(chats.Chat{}), market.AddChat(chats.Chat{})
				market.AddMessage(other, chats.SenderPartner, "reply")
				sleep(time.Minute)
				gateway := &mixedUp{contract.Transport(t, market.Transport()), other, atomic.Int64{}, func(int64) bool { return false }}
				o := newOutbox(t, market.Client(chats.WithHTTPClient(&http.Client{Transport: gateway})), outbox.NewMemoryStore())
				run := start(t, o)
				put(t, o, text("first", chat))
				awaitState(t, o, "first", outbox.Sent)
				isPosted := atomic.Bool{}
				gateway.isOther = func(n int64) bool { return n < 6 || isPosted.Load() && n < 12 } // two readings before the first item is settled
				market.OnChange(func(chats.ChatID) { isPosted.Store(true) })
				market.Fail(chats.OpSendMessageToChat, fault)
				put(t, o, text("reply", chat))
				result := awaitState(t, o, "reply", outbox.Sent)
				require.NoError(t, run.stop())
				assert.Equal(t, []string{"first", "reply"}, posted(market, chat))
				assert.Equal(t, market.Messages(chat)[1].ID, result.Message.ID)
			})
		})
	}
}

// A message that the chat does not have, because it was deleted or never existed, delays an item.
func TestPost_AfterMarkSentWithAnUnknownMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithStoredText(func(text string) string { return strings.ReplaceAll(text, "odd", "even") }))
		chat := market.AddChat(chats.Chat{})
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore())
		run := start(t, o)
		put(t, o, text("odd", chat))
		awaitState(t, o, "odd", outbox.Uncertain)
		require.NoError(t, o.Resolve(t.Context(), "odd", outbox.MarkSent(market.Messages(chat)[0].ID+1)))
		put(t, o, text("reply", chat))
		result := awaitState(t, o, "reply", outbox.Sent)
		assert.Less(t, result.SettledAt.Sub(result.QueuedAt), 15*time.Second)
		require.NoError(t, run.stop())
	})
}

// cache returns the first history that it receives to every later request. It records all exchanges.
type cache struct {
	http.RoundTripper

	history []byte
	seen    []string
}

func (c *cache) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.RoundTripper.RoundTrip(req)
	c.seen = append(c.seen, fmt.Sprint(time.Now(), " ", req.URL, " ", err))
	if err != nil || !isHistory(req) {
		return resp, err
	}
	if c.history == nil {
		c.history, err = io.ReadAll(resp.Body)
	}
	_ = resp.Body.Close()
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(c.history)), int64(len(c.history))
	c.seen = append(c.seen, string(c.history))
	return resp, err
}

// Why the outbox assumes that no history is older than its request: if a cache returns an old one,
// everything that the client receives is the same whether the item was posted or not. It may post the
// item again, which doubles it if it was posted, or not, which loses it if it was not.
func TestPost_AnOldHistoryLooksLikeAnItemThatWasNotPosted(t *testing.T) {
	t.Parallel()
	var seen [2][]string
	for n, fault := range []chatstest.Fault{chatstest.DropBefore(), chatstest.DropAfter()} {
		synctest.Test(t, func(t *testing.T) {
			market := chatstest.NewMarket()
			chat := market.AddChat(chats.Chat{})
			market.AddMessage(chat, chats.SenderPartner, "greetings")
			old := &cache{RoundTripper: contract.Transport(t, market.Transport())}
			o := newOutbox(t, market.Client(chats.WithHTTPClient(&http.Client{Transport: old})), outbox.NewMemoryStore())
			market.Fail(chats.OpSendMessageToChat, fault)
			put(t, o, text("reply", chat))
			run := start(t, o)
			awaitState(t, o, "reply", outbox.Uncertain)
			require.NoError(t, run.stop())
			assert.Len(t, filter(posted(market, chat), "reply"), 1+n, "the documentation names this exception")
			seen[n] = old.seen
		})
	}
	assert.Equal(t, seen[0], seen[1])
}
