package inbox_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
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

func TestTheFirstStartDeliversWhatComesFromThenOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		busy := market.AddChat(chats.Chat{})
		market.CustomerSays(busy, "a moment before")
		in, seen := newInbox(t, market.Client(), inbox.NewMemoryStore()), &notebook{}
		run := start(t, in, 2, seen.handle)
		synctest.Wait()
		market.CustomerSays(busy, "in the same second")
		market.CustomerSays(id, "new")
		late := market.AddChat(chats.Chat{})
		market.CustomerSays(late, "first of a new chat")
		market.CustomerSays(late, "second of a new chat")
		pass(2 * time.Minute)
		require.NoError(t, run.stop())
		assert.ElementsMatch(t, []string{"in the same second", "new", "first of a new chat", "second of a new chat"}, seen.texts())
	})
}

// Listing 100 chats at a second a page takes five seconds: what comes meanwhile is
// not old.
func TestTheFirstStartLosesNothingWhileItLists(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithLatency(time.Second))
		ids := make([]chats.ChatID, 100)
		for i := range ids {
			ids[i] = market.AddChat(longAgo())
		}
		market.CustomerSays(ids[50], "old")
		pass(time.Hour)
		in, seen := newInbox(t, market.Client(), inbox.NewMemoryStore()), &notebook{}
		run := start(t, in, 2, seen.handle)
		pass(time.Second) // the second in which it began counts as old
		said := make([]string, 0, 12)
		for i := range 12 {
			said = append(said, strconv.Itoa(i))
			market.CustomerSays(ids[(i*37)%100], said[i])
			pass(500 * time.Millisecond)
		}
		pass(3 * time.Minute)
		require.NoError(t, run.stop())
		assert.ElementsMatch(t, said, seen.texts())
	})
}

// skewed shows a Market whose clock differs from ours.
type skewed struct {
	next http.RoundTripper
	by   time.Duration
}

var clockTimes = regexp.MustCompile(`"(createdAt|updatedAt)":"([^"]+)"`)

func (s skewed) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := s.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	body = clockTimes.ReplaceAllFunc(body, func(match []byte) []byte {
		parts := clockTimes.FindSubmatch(match)
		at, err := time.Parse(time.RFC3339, string(parts[2]))
		if err != nil {
			panic(err)
		}
		return fmt.Appendf(nil, `"%s":"%s"`, parts[1], at.Add(s.by).Format(time.RFC3339))
	})
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return resp, nil
}

func TestClocksMayDiffer(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{-26 * time.Hour, -10 * time.Minute, -time.Second, time.Second, 10 * time.Minute, 26 * time.Hour} {
		for _, quiet := range []time.Duration{time.Second, time.Minute, 90 * 24 * time.Hour} {
			synctest.Test(t, func(t *testing.T) {
				market, id := shop(t)
				other := market.AddChat(longAgo())
				market.CustomerSays(id, "old too")
				pass(quiet)
				client := market.Client(chats.WithHTTPClient(&http.Client{Transport: skewed{market.Transport(), by}}))
				store, seen := inbox.NewMemoryStore(), &notebook{}
				run := start(t, newInbox(t, client, store), 1, seen.handle)
				pass(time.Second)
				market.CustomerSays(id, "1")
				pass(time.Minute)
				market.CustomerSays(other, "2")
				pass(2 * time.Minute)
				require.NoError(t, run.stop())
				assert.Equal(t, []string{"1", "2"}, seen.texts(), "skew %s, quiet for %s", by, quiet)

				fresh := market.AddChat(chats.Chat{})
				market.CustomerSays(fresh, "3")
				market.CustomerSays(other, "4")
				pass(time.Minute)
				run = start(t, newInbox(t, client, store), 1, seen.handle)
				pass(time.Minute)
				require.NoError(t, run.stop())
				assert.ElementsMatch(t, []string{"1", "2", "3", "4"}, seen.texts(), "skew %s, quiet for %s", by, quiet)
			})
		}
	}
}

// Times may be cut to the second, and a message may show a moment late.
func TestWhatIsNewBeginsTwoSecondsEarlier(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, _ := shop(t)
		store := inbox.NewMemoryStore()
		run := start(t, newInbox(t, market.Client(), store), 1, (&notebook{}).handle)
		synctest.Wait()
		marks, err := store.Marks(t.Context(), market.Business())
		require.NoError(t, err)
		assert.Equal(t, market.Chats()[0].UpdatedAt.Add(-2*time.Second).Unix(), marks[0].UpdatedAt.Unix())
		require.NoError(t, run.stop())
	})
}

func TestARestartGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		quiet := market.AddChat(longAgo())
		store, seen := inbox.NewMemoryStore(), &notebook{}
		in := newInbox(t, market.Client(), store)
		run := start(t, in, 2, seen.handle)
		pass(time.Second)
		market.CustomerSays(id, "1")
		pass(5 * time.Minute)
		require.NoError(t, run.stop())

		market.CustomerSays(id, "2")
		market.CustomerSays(quiet, "3")
		fresh := market.AddChat(chats.Chat{})
		market.CustomerSays(fresh, "4")
		pass(10 * time.Hour)
		run = start(t, in, 2, seen.handle)
		pass(time.Second)
		require.NoError(t, run.stop())
		assert.Equal(t, "1", seen.texts()[0])
		assert.ElementsMatch(t, []string{"1", "2", "3", "4"}, seen.texts())

		pass(time.Hour)
		run = start(t, newInbox(t, market.Client(), store), 2, seen.handle)
		pass(time.Hour)
		require.NoError(t, run.stop())
		assert.Len(t, seen.texts(), 4, "what is committed never comes again")
	})
}

func TestBackfill(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		id, other := market.AddChat(chats.Chat{}), market.AddChat(chats.Chat{})
		market.CustomerSays(id, "1")
		market.CustomerSays(other, "a")
		pass(time.Hour)
		since := time.Now()
		market.CustomerSays(id, "2")
		pass(time.Hour)
		market.CustomerSays(id, "3")

		for _, c := range []struct {
			since time.Time
			want  []string
		}{
			{since, []string{"2", "3"}},
			{time.Time{}, []string{"1", "2", "3", "a"}},
		} {
			store, seen := inbox.NewMemoryStore(), &notebook{}
			run := start(t, newInbox(t, market.Client(), store, inbox.WithStartTime(c.since)), 1, seen.handle)
			pass(2 * time.Minute)
			require.NoError(t, run.stop())
			assert.ElementsMatch(t, c.want, seen.texts())
			run = start(t, newInbox(t, market.Client(), store, inbox.WithStartTime(time.Time{})), 1, seen.handle)
			pass(2 * time.Minute)
			require.NoError(t, run.stop())
			assert.Len(t, seen.texts(), len(c.want), "on a later start it counts for nothing")
		}
	})
}

func TestIdleChatsCostNoHistoryAndNoRow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		for range 500 {
			market.AddChat(longAgo())
		}
		store := inbox.NewMemoryStore()
		run := start(t, newInbox(t, market.Client(), store), 2, (&notebook{}).handle)
		pass(time.Hour)
		require.NoError(t, run.stop())
		marks, err := store.Marks(t.Context(), market.Business())
		require.NoError(t, err)
		assert.Len(t, marks, 2, "when it was first followed, and the chat with the newest message")
		assert.Contains(t, marks, id)
		assert.Zero(t, market.Calls(chats.OpGetChatHistory))
	})
}

// Nothing tells the chats apart, and nothing has to be read for it.
func TestAllChatsOfOneSecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		ids := make([]chats.ChatID, 200)
		for i := range ids {
			ids[i] = market.AddChat(chats.Chat{})
			market.CustomerSays(ids[i], "old")
		}
		pass(time.Hour)
		store, seen := inbox.NewMemoryStore(), &notebook{}
		run := start(t, newInbox(t, market.Client(), store), 2, seen.handle)
		pass(time.Hour)
		assert.Zero(t, market.Calls(chats.OpGetChatHistory))
		market.CustomerSays(ids[7], "new")
		pass(2 * time.Minute)
		require.NoError(t, run.stop())
		market.CustomerSays(ids[8], "newer")
		run = start(t, newInbox(t, market.Client(), store), 2, seen.handle)
		pass(2 * time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"new", "newer"}, seen.texts())
	})
}

// Two old messages some seconds apart, the later one being what "now" is taken from.
func TestWhatIsOldIsCutToTheSecondOnce(t *testing.T) {
	t.Parallel()
	for _, latency := range []time.Duration{0, 300 * time.Millisecond, 500 * time.Millisecond, 900 * time.Millisecond} {
		for apart := range 8 {
			synctest.Test(t, func(t *testing.T) {
				market := chatstest.NewMarket(chatstest.WithLatency(latency))
				early, late := market.AddChat(longAgo()), market.AddChat(longAgo())
				market.CustomerSays(early, "old")
				pass(time.Duration(apart) * time.Second)
				market.CustomerSays(late, "old")
				pass(time.Hour)
				seen := &notebook{}
				run := start(t, newInbox(t, market.Client(), inbox.NewMemoryStore()), 2, seen.handle)
				pass(3 * time.Minute)
				require.NoError(t, run.stop())
				assert.Empty(t, seen.texts(), "%s, %d s apart", latency, apart)
			})
		}
	}
}

// One chat whose history cannot be read keeps the others waiting for a quarter of a minute.
func TestAChatThatCannotBeReadDoesNotStopTheFirstStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		broken := market.AddChat(longAgo())
		market.CustomerSays(broken, "old")
		var mended atomic.Bool
		client := through(market, func(req *http.Request) *http.Response {
			if asks(req, "/chats/history", broken) && !mended.Load() {
				return reply(req, 403, `{"status":"ERROR","errors":[{"code":"X"}]}`)
			}
			return nil
		})
		log, seen := &journal{}, &notebook{}
		run := start(t, newInbox(t, client, inbox.NewMemoryStore(), log.logger()), 2, seen.handle)
		pass(16 * time.Second)
		assert.Equal(t, []string{"1s", "2s", "4s", "8s"}, log.pauses())
		assert.Contains(t, log.text(), "counts as old", "the fifth failure is the last")
		market.CustomerSays(id, "new")
		pass(2 * time.Minute)
		assert.Equal(t, []string{"new"}, seen.texts())
		mended.Store(true)
		market.CustomerSays(broken, "new, too")
		pass(10 * time.Minute)
		assert.Equal(t, []string{"new", "new, too"}, seen.texts())
		require.NoError(t, run.stop())
	})
}

// The list shows a new chat long before its history has the message.
func TestAHistoryThatLagsForMinutesLosesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, _ := shop(t)
		var hidden atomic.Int64
		client := through(market, func(req *http.Request) *http.Response {
			if id := hidden.Load(); id != 0 && asks(req, "/chats/history", chats.ChatID(id)) {
				return reply(req, 200, `{"status":"OK","result":{"messages":[]}}`)
			}
			return nil
		})
		seen := &notebook{}
		run := start(t, newInbox(t, client, inbox.NewMemoryStore()), 2, seen.handle)
		pass(2 * time.Minute)
		fresh := market.AddChat(chats.Chat{})
		hidden.Store(int64(fresh))
		market.CustomerSays(fresh, "1")
		pass(5 * time.Minute)
		hidden.Store(0)
		market.CustomerSays(fresh, "2")
		pass(5 * time.Minute)
		assert.Equal(t, []string{"1", "2"}, seen.texts())
		require.NoError(t, run.stop())
	})
}
