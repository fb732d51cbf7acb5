package chats_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
)

var pageOrders = map[string]chatstest.Order{
	"oldest first": chatstest.OldestFirst, "newest first": chatstest.NewestFirst, "newest page first": chatstest.NewestPageFirst,
}

func TestHistory_SwappedNeighboursComeInOrder(t *testing.T) {
	t.Parallel()
	for name, order := range pageOrders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				for _, size := range []int{100, 20, 7} { // 7: pairs lie across boundaries at both parities
					market := chatstest.NewMarket(chatstest.WithOrder(order), chatstest.WithSwappedNeighbours(),
						chatstest.WithMaxPage(chats.OpGetChatHistory, max(size, 10)))
					client := newClient(t, market)
					chat := addChatWithMessages(market, 211)
					time.Sleep(time.Minute)
					all := idsAbove(market, chat, 0)
					for _, since := range []chats.MessageID{0, all[0], all[9], all[100]} {
						assert.Equal(t, idsAbove(market, chat, since), messageIDs(mustCollect(t, client.History(t.Context(), chat, since))))
					}
				}
			})
		})
	}
}

// The pages are ascending, but for a pair across the boundary: stopping anywhere and
// resuming from the last id loses nothing.
func TestHistory_SwappedAcrossBoundaryResumesFromAnyID(t *testing.T) {
	t.Parallel()
	pages := [][]int{{1, 2, 3, 5}, {4, 6, 7, 9}, {8, 10, 11, 12}, {13}}
	for stop := 1; stop <= 13; stop++ {
		served := 0
		client := chatstest.NewMarket().Client(withResponses(func(req *http.Request) string {
			served++
			since := sinceOf(req)
			n, _ := strconv.Atoi(req.URL.Query().Get("pageToken"))
			next := ""
			if n+1 < len(pages) {
				next = strconv.Itoa(n + 1)
			}
			return historyPage(next, slices.DeleteFunc(slices.Clone(pages[n]), func(id int) bool { return id < since })...)
		}))
		var got []chats.MessageID
		for message, err := range client.History(t.Context(), 1, 0) {
			require.NoError(t, err)
			if got = append(got, message.ID); len(got) == stop {
				break
			}
		}
		got = append(got, messageIDs(mustCollect(t, client.History(t.Context(), 1, got[len(got)-1])))...)
		assert.Equal(t, []chats.MessageID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}, got, "stopped after %d", stop)
	}
}

// More messages than a page holds may arrive between two pages.
func TestHistory_CompleteWhateverArrivesBetweenPages(t *testing.T) {
	t.Parallel()
	for name, order := range pageOrders {
		for _, precise := range []bool{false, true} {
			for _, age := range []time.Duration{0, time.Second, time.Hour} {
				t.Run(fmt.Sprintf("%s, precise %t, %s old", name, precise, age), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						for _, arriving := range []int{1, 99, 100, 101, 150, 250} {
							options := []chatstest.Option{chatstest.WithOrder(order)}
							if precise {
								options = append(options, chatstest.WithPreciseTimes())
							}
							market := chatstest.NewMarket(options...)
							chat := addChatWithMessages(market, 250)
							time.Sleep(age)
							before := idsAbove(market, chat, 0)
							market.FailFunc(func(_ chats.Operation, n int) chatstest.Fault {
								if n == 2 || n == 3 {
									for range arriving {
										market.CustomerSays(chat, "Ещё")
									}
								}
								return chatstest.OK()
							})
							got := messageIDs(mustCollect(t, newClient(t, market).History(t.Context(), chat, 0)))
							require.GreaterOrEqual(t, len(got), len(before))
							assert.Equal(t, idsAbove(market, chat, 0)[:len(got)], got, "%d arrived", arriving)
						}
					})
				})
			}
		}
	}
}

// The API's reference shows errors in a 200.
func TestHistory_SinceRefusedInA200IsReadFromTheBeginning(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.market.Fail(chats.OpGetChatHistory, chatstest.Status(http.StatusOK, envelope))
	assert.Len(t, mustCollect(t, f.client.History(t.Context(), f.chat, 1)), 1)
	assert.Equal(t, 2, f.market.Calls(chats.OpGetChatHistory))
}

// A message without a time proves nothing.
func TestHistory_MissingTimesProveNoOrder(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket(chatstest.WithOrder(chatstest.NewestPageFirst),
		chatstest.WithOddItems(func(item map[string]any) { delete(item, "createdAt") }))
	chat := addChatWithMessages(market, 250)
	market.FailFunc(func(_ chats.Operation, n int) chatstest.Fault {
		if n == 2 {
			for range 150 {
				market.CustomerSays(chat, "Ещё")
			}
		}
		return chatstest.OK()
	})
	got := messageIDs(mustCollect(t, newClient(t, market).History(t.Context(), chat, 0)))
	assert.Equal(t, idsAbove(market, chat, 0)[:250], got)
}

func TestChatsAndHistory_ConstantTokenGoesOn(t *testing.T) {
	t.Parallel()
	for name, order := range pageOrders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			market := chatstest.NewMarket(chatstest.WithOrder(order), chatstest.WithConstantToken())
			client := newClient(t, market)
			chat := addChatWithMessages(market, 750)
			for range 45 {
				market.AddChat(chats.Chat{})
			}
			assert.Equal(t, idsAbove(market, chat, 0), messageIDs(mustCollect(t, client.History(t.Context(), chat, 0))))
			assert.Len(t, mustCollect(t, client.Chats(t.Context(), chats.Filter{})), 46)
		})
	}
}

// replayingTransport responds to some requests with the response to the one before.
type replayingTransport struct {
	next   http.RoundTripper
	replay func(n int) bool
	n      int
	last   string
}

func (r *replayingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if r.n++; r.replay(r.n) {
		return respond(req, http.StatusOK, r.last), nil
	}
	resp, err := r.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	r.last = readBody(resp)
	return respond(req, resp.StatusCode, r.last), nil
}

func TestChatsAndHistory_ReplayedPageIsRequestedAgain(t *testing.T) {
	t.Parallel()
	for _, replays := range []int{1, 3} {
		for at := 2; at < 8; at++ {
			market := chatstest.NewMarket()
			chat := addChatWithMessages(market, 350)
			for range 65 {
				market.AddChat(chats.Chat{})
			}
			replaying := func() chats.Option {
				return withContract(t, &replayingTransport{next: market.Transport(), replay: func(n int) bool { return n >= at && n < at+replays }})
			}
			got := mustCollect(t, market.Client(replaying()).History(t.Context(), chat, 0))
			assert.Equal(t, idsAbove(market, chat, 0), messageIDs(got))
			assert.Len(t, mustCollect(t, market.Client(replaying()).Chats(t.Context(), chats.Filter{})), 66)
		}
	}
}

// The caller takes longer for a page than a token lives.
func TestChatsAndHistory_ExpiredTokenStartsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithTokenLifetime(30*time.Second), chatstest.WithLatency(time.Second))
		client := newClient(t, market)
		chat := addChatWithMessages(market, 1050)
		for range 105 {
			market.AddChat(chats.Chat{})
		}
		time.Sleep(time.Minute)
		var got []chats.MessageID
		for message, err := range client.History(t.Context(), chat, 0) {
			require.NoError(t, err)
			if got = append(got, message.ID); len(got)%100 == 50 {
				time.Sleep(time.Minute)
			}
		}
		assert.Equal(t, idsAbove(market, chat, 0), got)
		assert.LessOrEqual(t, market.Calls(chats.OpGetChatHistory), 40)

		seen := map[chats.ChatID]int{}
		for chat, err := range client.Chats(t.Context(), chats.Filter{}) {
			require.NoError(t, err)
			if seen[chat.ID]++; len(seen)%20 == 10 {
				time.Sleep(time.Minute)
			}
		}
		assert.Len(t, seen, 106)
	})
}

// A listing that starts over gets through any number of pages that it has read before, even if
// they all have one token.
func TestChatsAndHistory_StartingOverIsProgress(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket(chatstest.WithConstantToken(), chatstest.WithMaxPage(chats.OpGetChatHistory, 10))
	client := newClient(t, market)
	chat := addChatWithMessages(market, 100)
	for range 199 {
		market.AddChat(chats.Chat{})
	}
	expired := append(times(9, chatstest.OK()), chatstest.Status(400, envelope))
	market.Fail(chats.OpGetChats, expired...)
	assert.Len(t, mustCollect(t, client.Chats(t.Context(), chats.Filter{})), 200)
	market.Fail(chats.OpGetChatHistory, expired...)
	assert.Equal(t, idsAbove(market, chat, 0), messageIDs(mustCollect(t, client.History(t.Context(), chat, 0))))
}

// No token is ever accepted: the server's error is returned after a few attempts.
func TestChatsAndHistory_TokensThatNeverWorkAreAnError(t *testing.T) {
	t.Parallel()
	for name, order := range pageOrders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			market := chatstest.NewMarket(chatstest.WithOrder(order), chatstest.WithTokenLifetime(0))
			client := newClient(t, market)
			chat := addChatWithMessages(market, 250)
			for range 45 {
				market.AddChat(chats.Chat{})
			}
			_, err := collect(t, client.History(t.Context(), chat, 0))
			require.ErrorContains(t, err, "has expired")
			assert.LessOrEqual(t, market.Calls(chats.OpGetChatHistory), 10)
			list, err := collect(t, client.Chats(t.Context(), chats.Filter{}))
			require.ErrorContains(t, err, "has expired")
			assert.Len(t, list, 20)
			assert.LessOrEqual(t, market.Calls(chats.OpGetChats), 10)
		})
	}
}

func TestHistory_RefusedSinceReadsFromTheBeginning(t *testing.T) {
	t.Parallel()
	for name, order := range pageOrders {
		for _, status := range []int{http.StatusNotFound, http.StatusBadRequest, http.StatusGone, http.StatusUnprocessableEntity} {
			t.Run(fmt.Sprintf("%s, %d", name, status), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					market := chatstest.NewMarket(chatstest.WithOrder(order), chatstest.WithStrictSince())
					var refused atomic.Bool
					checked := contract.Transport(t, market.Transport())
					client := market.Client(chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
						resp, err := checked.RoundTrip(req)
						if err == nil && resp.StatusCode == http.StatusNotFound {
							refused.Store(true)
							resp = respond(req, status, readBody(resp))
						}
						return resp, err
					})}))
					chat := addChatWithMessages(market, 121)
					time.Sleep(time.Millisecond) // IDs are times, so that one is free
					for range 129 {
						market.CustomerSays(chat, "Ещё вопрос")
					}
					all := idsAbove(market, chat, 0)
					since := all[120] + 1 // not in the chat
					assert.Equal(t, idsAbove(market, chat, since), messageIDs(mustCollect(t, client.History(t.Context(), chat, since))))
					assert.True(t, refused.Load())
				})
			})
		}
	}
}

// Which status the server refuses a token with is not documented.
func TestChatsAndHistory_RefusedTokenStartsOverWhateverTheStatus(t *testing.T) {
	t.Parallel()
	for status, startsOver := range map[int]bool{200: true, 400: true, 404: true, 409: true, 410: true, 412: true, 422: true, 401: false, 403: false, 408: false} {
		market := chatstest.NewMarket()
		client, chat := market.Client(noRetry), addChatWithMessages(market, 250)
		for range 45 {
			market.AddChat(chats.Chat{})
		}
		for _, body := range []string{envelope, "<html></html>"} {
			fault := chatstest.Status(status, body)
			market.Fail(chats.OpGetChatHistory, chatstest.OK(), fault)
			market.Fail(chats.OpGetChats, chatstest.OK(), fault)
			messages, err := collect(t, client.History(t.Context(), chat, 0))
			startsOver := startsOver && (status != 200 || body == envelope)
			assert.Equal(t, startsOver, err == nil && len(messages) == 250, "%d: %v", status, err)
			list, err := collect(t, client.Chats(t.Context(), chats.Filter{}))
			assert.Equal(t, startsOver, err == nil && len(list) == 46, "%d: %v", status, err)
		}
	}
}

func TestHistory_UnknownChatIsNotFoundWhateverSince(t *testing.T) {
	t.Parallel()
	for _, since := range []chats.MessageID{0, 1, 1 << 50} {
		market := chatstest.NewMarket(chatstest.WithStrictSince())
		_, err := collect(t, newClient(t, market).History(t.Context(), 7, since))
		require.ErrorIs(t, err, chats.ErrNotFound)
		assert.LessOrEqual(t, market.Calls(chats.OpGetChatHistory), 2)
	}
}

func TestPages_RefusedSizeFallsBackAndIsRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct{ messages, chats, wantRefused int }{{20, 5, 4}, {50, 10, 2}, {10, 5, 5}, {3, 3, 7}, {1, 1, 9}} {
			market := chatstest.NewMarket(chatstest.WithMaxPage(chats.OpGetChatHistory, tt.messages), chatstest.WithMaxPage(chats.OpGetChats, tt.chats))
			log := &requestLog{next: market.Transport()}
			client := market.Client(withContract(t, log))
			chat := addChatWithMessages(market, 120)
			for range 24 {
				market.AddChat(chats.Chat{})
			}
			for n := range 3 {
				assert.Equal(t, idsAbove(market, chat, 0), messageIDs(mustCollect(t, client.History(t.Context(), chat, 0))))
				assert.Len(t, mustCollect(t, client.Chats(t.Context(), chats.Filter{})), 25)
				page, err := client.HistoryPage(t.Context(), chat, 0, chats.PageRequest{Size: 90})
				require.NoError(t, err)
				assert.Len(t, page.Items, tt.messages)
				list, err := client.ChatsPage(t.Context(), chats.Filter{PageSize: 20}, chats.PageRequest{})
				require.NoError(t, err)
				assert.Len(t, list.Items, tt.chats)
				good := (120+tt.messages-1)/tt.messages + (25+tt.chats-1)/tt.chats + 2
				if n > 0 {
					assert.Equal(t, good, log.count(), "only the first listing was refused")
				} else {
					assert.Equal(t, good+tt.wantRefused, log.count())
				}
				log.reset()
			}
			time.Sleep(2 * time.Hour) // the 400 may have had another reason
			mustCollect(t, client.Chats(t.Context(), chats.Filter{PageSize: 20}))
			assert.Equal(t, "20", log.requests[0].URL.Query().Get("limit"))
		}
	})
}

// The API's refusal of a page size need not say why. A gateway's 400 has nothing to do with the size.
func TestPages_RefusedSizeWithoutReasonFallsBack(t *testing.T) {
	t.Parallel()
	for body, isAPIs := range map[string]bool{
		`{"status":"ERROR"}`: true, `{"status":"ERROR","errors":null}`: true, `{"status":"ERROR","errors":[]}`: true,
		`{"status":"ERROR","errors":[{"message":"limit must be at most 50"}]}`: true, `{"errors":[{"code":"BAD_REQUEST"}]}`: true,
		`{"message":"limit: must be less than or equal to 50"}`: true, `["Page size is too large"]`: true, `pageSize exceeds the maximum`: true,
		`{"timestamp":"2026-03-02T11:40:07Z","status":400,"error":"Bad Request","message":"getChatHistory.limit: must be at most 50"}`: true,
		`<html>Bad Request</html>`: false, ``: false, `{"message":"bad gateway"}`: false, `{"message":"delimiter limits"}`: false,
	} {
		f := newFixture(t)
		chat := addChatWithMessages(f.market, 120)
		f.market.Fail(chats.OpGetChatHistory, chatstest.Status(400, body))
		messages, err := collect(t, f.client.History(t.Context(), chat, 0))
		if isAPIs {
			require.NoError(t, err, body)
			assert.Len(t, messages, 120, body)
		} else {
			require.Error(t, err, body)
			assert.Equal(t, 1, f.market.Calls(chats.OpGetChatHistory), body)
		}
	}
}

// A stray 400 makes the pages smaller for an hour. After that every page of a listing has the
// full size again: a page token belongs to the size of the page before.
func TestPages_SizeIsTheSameOnEveryPageAfterAStrayRefusal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		chat := addChatWithMessages(f.market, 250)
		f.market.Fail(chats.OpGetChatHistory, chatstest.Status(400, `{"status":"ERROR","errors":[{"code":"BAD_REQUEST"}]}`))
		for range 3 {
			assert.Len(t, mustCollect(t, f.client.History(t.Context(), chat, 0)), 250)
			time.Sleep(2 * time.Hour)
		}
		assert.Equal(t, 1+5+3+3, f.market.Calls(chats.OpGetChatHistory))
	})
}

// A refusal during another listing must not change the size of the pages that follow.
func TestPages_SizeIsTheSameOnEveryPageWhateverOtherListingsMeet(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	chat := addChatWithMessages(market, 450)
	other := market.AddChat(chats.Chat{})
	for range 98 {
		market.AddChat(chats.Chat{})
	}
	var client *chats.Client
	var limits []string
	refuse := func(op chats.Operation) {
		market.Fail(op, times(4, chatstest.Status(400, "rate limit exceeded"))...)
		if op == chats.OpGetChats {
			_, _ = client.ChatsPage(t.Context(), chats.Filter{}, chats.PageRequest{})
		} else {
			_, _ = client.HistoryPage(t.Context(), other, 0, chats.PageRequest{})
		}
	}
	client = newClient(t, market, withContract(t, roundTrip(func(req *http.Request) (*http.Response, error) {
		if query := req.URL.Query(); query.Has("pageToken") {
			if limits = append(limits, query.Get("limit")); len(limits) == 1 {
				op, _ := chats.OperationFromContext(req.Context())
				refuse(op)
			}
		}
		return market.Transport().RoundTrip(req)
	})))
	assert.Len(t, mustCollect(t, client.History(t.Context(), chat, 0)), 450)
	assert.Equal(t, []string{"100", "100", "100", "100"}, limits)
	limits = nil
	assert.Len(t, mustCollect(t, client.Chats(t.Context(), chats.Filter{})), 100)
	assert.Equal(t, []string{"20", "20", "20", "20"}, limits)
}

// A gateway's limit of another kind must not make the pages tiny for long.
func TestPages_TinySizeIsForgottenSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		chat := addChatWithMessages(f.market, 30)
		f.market.Fail(chats.OpGetChatHistory, times(4, chatstest.Status(400, "rate limit exceeded"))...)
		assert.Len(t, mustCollect(t, f.client.History(t.Context(), chat, 0)), 30)
		assert.Equal(t, 4+10, f.market.Calls(chats.OpGetChatHistory), "pages of three")
		time.Sleep(time.Minute)
		mustCollect(t, f.client.History(t.Context(), chat, 0))
		assert.Equal(t, 4+10+1, f.market.Calls(chats.OpGetChatHistory))
	})
}

// A smaller size than the accepted one is used as it is.
func TestPages_SmallSizeStays(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket(chatstest.WithMaxPage(chats.OpGetChatHistory, 20))
	client := newClient(t, market)
	chat := addChatWithMessages(market, 30)
	mustCollect(t, client.History(t.Context(), chat, 0))
	page, err := client.HistoryPage(t.Context(), chat, 0, chats.PageRequest{Size: 3})
	require.NoError(t, err)
	assert.Len(t, page.Items, 3)
}

// A 400 for another reason is returned as it was, after a few more requests.
func TestPages_OtherBadRequestIsReturnedAsItWas(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusBadRequest, http.StatusForbidden, http.StatusUnprocessableEntity} {
		n := 0
		client := chatstest.NewMarket().Client(noRetry, chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
			n++
			return respond(req, status, fmt.Sprintf(`{"status":"ERROR","errors":[{"code":"BAD","message":"request %d"}]}`, n)), nil
		})}))
		_, err := client.HistoryPage(t.Context(), 1, 0, chats.PageRequest{})
		require.ErrorContains(t, err, "request 1")
		assert.Equal(t, map[int]int{400: 4, 403: 1, 422: 4}[status], n)
		n = 0
		_, err = client.ChatsPage(t.Context(), chats.Filter{}, chats.PageRequest{})
		require.ErrorContains(t, err, "request 1")
		assert.Equal(t, map[int]int{400: 3, 403: 1, 422: 3}[status], n)
		n = 0
		_, err = client.ChatsPage(t.Context(), chats.Filter{}, chats.PageRequest{Size: 5, Token: "a"})
		require.ErrorContains(t, err, "request 1")
		assert.Equal(t, 1, n, "the size must stay the same on every page")
	}
}

// withResponses makes a client respond to every request with 200 and a body.
func withResponses(body func(*http.Request) string) chats.Option {
	return chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
		return respond(req, http.StatusOK, body(req)), nil
	})})
}

// sinceOf returns the messageIdFrom of a request.
func sinceOf(req *http.Request) int {
	var body struct{ MessageIDFrom int }
	if err := json.NewDecoder(req.Body).Decode(&body); err != nil {
		panic(err)
	}
	return body.MessageIDFrom
}
