package inbox_test

import (
	"fmt"
	"maps"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/race"
)

// One odd chat of fifteen, or one odd message, costs itself.
func TestSweep_OneOddItemIsOneItem(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(map[string]any){
		"an empty time":       func(m map[string]any) { m["createdAt"] = "" },
		"a time without zone": func(m map[string]any) { m["updatedAt"] = "2026-11-25T10:00:00" },
		"a number as status":  func(m map[string]any) { m["status"] = 7 },
		"an id as text":       func(m map[string]any) { m["chatId"] = "71000000" },
		"no id":               func(m map[string]any) { delete(m, "chatId") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market := chatstest.NewMarket()
				ids := make([]chats.ChatID, 15)
				for i := range ids {
					ids[i] = market.AddChat(longAgo())
				}
				var odd atomic.Bool
				transport := edited(market, "/chats", func(result map[string]any) {
					if list := items(result, "chats"); odd.Load() && len(list) > 0 {
						edit(list[len(list)-1])
					}
				})
				seen := &recorder{}
				run := start(t, newInbox(t, connectVia(t, market, transport), inbox.NewMemoryStore()), seen.handle)
				sleep(10 * time.Minute)
				odd.Store(true)
				for i, text := range numbers(30) {
					market.CustomerSays(ids[1+i%14], text)
					sleep(time.Minute)
				}
				sleep(20 * time.Minute)
				require.NoError(t, run.stop())
				assert.ElementsMatch(t, numbers(30), seen.texts())
			})
		})
	}
}

func TestPoll_OneOddMessageIsOneMessage(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(map[string]any){
		"an id as text":       func(m map[string]any) { m["messageId"] = "1" },
		"no id":               func(m map[string]any) { delete(m, "messageId") },
		"a time without zone": func(m map[string]any) { m["createdAt"] = "2026-11-25T10:00:00" },
		"a file's size as text": func(m map[string]any) {
			m["payload"] = []any{map[string]any{"name": "a", "url": "https://x/a", "size": "1"}}
		},
		"null in the list of files": func(m map[string]any) { m["payload"] = []any{nil} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market, id := shop()
				transport := edited(market, "/chats/history", func(result map[string]any) {
					for _, message := range items(result, "messages") {
						if message["message"] == "odd" {
							edit(message)
						}
					}
				})
				seen := &recorder{}
				run := startSteps(t, newInbox(t, connectVia(t, market, transport), inbox.NewMemoryStore(), seldom), seen.handle)
				sleep(time.Minute)
				market.CustomerSays(id, "before")
				market.AddMessage(id, chats.SenderMarket, "odd")
				market.CustomerSays(id, "after")
				sleep(11 * time.Minute)
				calls := market.Calls(chats.OpGetChatHistory)
				assert.Contains(t, seen.texts(), "before")
				assert.Contains(t, seen.texts(), "after")
				sleep(13 * time.Hour)
				assert.Less(t, market.Calls(chats.OpGetChatHistory)-calls, 5)
				require.NoError(t, run.stop())
			})
		})
	}
}

// What cannot be delivered because it has no ID is logged, once.
func TestPoll_ItemsWithoutAnIDAreLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithOddItems(func(item map[string]any) {
			if item["message"] == "odd" || item["status"] == "FINISHED" {
				delete(item, "messageId")
				delete(item, "chatId")
			}
		}))
		id := market.AddChat(longAgo())
		market.AddChat(chats.Chat{Status: chats.StatusFinished})
		seen, log := &recorder{}, &logBuffer{}
		run := start(t, newInbox(t, connect(t, market), inbox.NewMemoryStore(), log.option()), seen.handle)
		sleep(time.Minute)
		market.CustomerSays(id, "odd")
		market.CustomerSays(id, "even")
		sleep(time.Hour)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"even"}, seen.texts())
		lines := log.lines("without a readable ID")
		require.Len(t, lines, 2)
		assert.Contains(t, lines[0], "chat=0 count=1")
		assert.Contains(t, lines[1], fmt.Sprintf("chat=%d count=1", int64(id)))
	})
}

// The server writes 1970 where it has no time, as a zero time in milliseconds becomes.
// (The number 0 and null are taken for missing, and pass.)
func TestPoll_1970IsNoTime(t *testing.T) {
	race.SkipSlow(t)
	t.Parallel()
	for _, key := range []string{"updatedAt", "createdAt"} {
		for _, value := range []any{nil, 0, "1970-01-01T00:00:00Z", "1970-01-01T03:00:00+03:00"} {
			bubble(t, key, func(t *testing.T) {
				t.Helper()
				market := chatstest.NewMarket(chatstest.WithOddItems(func(item map[string]any) {
					if _, isMessage := item["messageId"]; isMessage == (key == "createdAt") {
						item[key] = value
					}
				}))
				known := market.AddChat(longAgo())
				sleep(48 * time.Hour)
				seen := &recorder{}
				run := startSteps(t, newInbox(t, connect(t, market), inbox.NewMemoryStore(), seldom), seen.handle)
				sleep(15 * time.Minute)
				market.CustomerSays(known, "in a known chat")
				market.CustomerSays(market.AddChat(chats.Chat{}), "in a new chat")
				sleep(48 * time.Hour)
				require.NoError(t, run.stop())
				assert.Len(t, seen.all(), 2, "%s is %v", key, value)
			})
		}
	}
}

// Times that are wrong, not missing, in a chat that was created after the start.
func TestPoll_NothingInANewChatIsOld(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"updatedAt", "createdAt"} {
		for _, value := range []string{"1999-06-01T00:00:00Z", "1991-01-01T00:00:00Z", "9999-12-31T23:59:59Z"} {
			bubble(t, key+" "+value, func(t *testing.T) {
				t.Helper()
				market := chatstest.NewMarket(chatstest.WithOddItems(func(item map[string]any) {
					if _, isMessage := item["messageId"]; isMessage == (key == "createdAt") {
						item[key] = value
					}
				}))
				seen := &recorder{}
				run := start(t, newInbox(t, connect(t, market), inbox.NewMemoryStore(), seldom), seen.handle)
				sleep(15 * time.Minute)
				market.CustomerSays(market.AddChat(chats.Chat{}), "new")
				sleep(15 * time.Minute)
				require.NoError(t, run.stop())
				assert.Equal(t, []string{"new"}, seen.texts())
			})
		}
	}
}

// A time far ahead does not show whether a chat has changed, as if it were missing.
func TestSweep_ATimeFarAheadIsNoTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		transport := edited(market, "/chats", func(result map[string]any) {
			for _, chat := range items(result, "chats") {
				chat["updatedAt"] = "2099-12-31T00:00:00Z"
			}
		})
		seen := &recorder{}
		run := startSteps(t, newInbox(t, connectVia(t, market, transport), inbox.NewMemoryStore(), seldom), seen.handle)
		sleep(50 * time.Hour)
		market.CustomerSays(id, "later")
		sleep(11 * time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"later"}, seen.texts())
	})
}

// A page lists a chat twice, once as it was before.
func TestSweep_AChatListedTwice(t *testing.T) {
	t.Parallel()
	for name, staleFirst := range map[string]bool{"the stale one first": true, "the stale one last": false} {
		bubble(t, name, func(t *testing.T) {
			t.Helper()
			market, id := shop()
			was := market.Chat(id).UpdatedAt.Format(time.RFC3339)
			transport := edited(market, "/chats", func(result map[string]any) {
				for _, chat := range items(result, "chats") {
					stale := maps.Clone(chat)
					stale["updatedAt"] = was
					if result["chats"] = []any{chat, stale}; staleFirst {
						result["chats"] = []any{stale, chat}
					}
				}
			})
			seen := &recorder{}
			run := start(t, newInbox(t, connectVia(t, market, transport), inbox.NewMemoryStore()), seen.handle)
			sleep(10 * time.Minute)
			market.CustomerSays(id, "hello")
			sleep(2 * time.Minute)
			require.NoError(t, run.stop())
			assert.Equal(t, []string{"hello"}, seen.texts())
		})
	}
}

// The server lists a chat for a filter by subject, but does not say what the chat is about.
func TestSweep_AChatWithoutASubjectMatchesIfItIsListed(t *testing.T) {
	t.Parallel()
	for name, filter := range map[string]chats.Filter{
		"by kind":  {SubjectKinds: []chats.SubjectKind{chats.SubjectOrder}},
		"by order": {Subjects: []chats.Subject{chats.AboutOrder(77)}},
	} {
		bubble(t, name, func(t *testing.T) {
			t.Helper()
			market := chatstest.NewMarket(chatstest.WithOddItems(func(m map[string]any) { delete(m, "context") }))
			id := market.AddChat(chats.Chat{Subject: chats.AboutOrder(77)})
			seen := &recorder{}
			run := start(t, newInbox(t, connect(t, market), inbox.NewMemoryStore(), inbox.WithFilter(filter)), seen.handle)
			sleep(time.Hour)
			market.CustomerSays(id, "hello")
			sleep(2 * time.Minute)
			require.NoError(t, run.stop())
			assert.Equal(t, []string{"hello"}, seen.texts())
		})
	}
}
