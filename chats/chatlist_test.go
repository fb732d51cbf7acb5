package chats_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// listedChats records the chats of all responses, duplicates included.
type listedChats struct {
	next http.RoundTripper
	ids  []chats.ChatID
}

func (l *listedChats) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	var page struct {
		Result struct {
			Chats []struct {
				ID chats.ChatID `json:"chatId"`
			}
		}
	}
	body, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(body, &page)
	}
	for _, c := range page.Result.Chats {
		l.ids = append(l.ids, c.ID)
	}
	fresh := respond(req, resp.StatusCode, string(body))
	fresh.Header = resp.Header
	return fresh, err
}

func TestChats_YieldsEachOnceWhilePagesShift(t *testing.T) {
	t.Parallel()
	for _, v := range []variant{
		{"plain", nil},
		{"duplicates", []chatstest.Option{chatstest.WithDuplicates()}},
		{"empty pages", []chatstest.Option{chatstest.WithEmptyPages()}},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			market := chatstest.NewMarket(v.options...)
			listed := &listedChats{next: market.Transport()}
			client := market.Client(withContract(t, listed))
			all := make([]chats.ChatID, 0, 45)
			for range 45 { // earlier, because on Windows the clock may not have advanced before the first message
				all = append(all, market.AddChat(chats.Chat{UpdatedAt: time.Now().Add(-time.Hour)}))
			}
			market.FailFunc(func(_ chats.Operation, n int) chatstest.Fault {
				if n > 1 { // one of the oldest chats receives a message and moves to the front
					market.CustomerSays(all[n%5], "Есть кто?")
				}
				return chatstest.OK()
			})
			got := chatIDs(mustCollect(t, client.Chats(t.Context(), chats.Filter{})))
			market.FailFunc(nil)
			slices.Sort(got)
			assert.Equal(t, all[5:], got[len(got)-40:], "every chat that did not move comes once")
			assert.Len(t, slices.Compact(slices.Clone(got)), len(got))
			assert.Greater(t, len(listed.ids), len(slices.Compact(slices.Sorted(slices.Values(listed.ids)))), "the server sent some chats more than once")

			assert.Len(t, mustCollect(t, client.Chats(t.Context(), chats.Filter{})), 45, "the next listing has what was missed")
		})
	}
}

func TestChats_YieldsEveryFieldInServerOrder(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket(chatstest.WithPreciseTimes())
	client := newClient(t, market)
	market.AddChat(chats.Chat{Subject: chats.AboutOrder(11), Customer: chats.Customer{Name: "Анна", PublicID: "anna1"}, Campaign: 5})
	market.AddChat(chats.Chat{Subject: chats.Subject{Kind: chats.SubjectReturn, Order: 12, Return: 3}, Type: chats.ChatTypeArbitrage, Status: chats.StatusWaitingForArbiter})
	market.AddChat(chats.Chat{Subject: chats.Subject{Kind: chats.SubjectDirect}, Status: chats.StatusFinished})
	want := market.Chats()
	assert.Equal(t, want, mustCollect(t, client.Chats(t.Context(), chats.Filter{})))
	page, err := client.ChatsPage(t.Context(), chats.Filter{}, chats.PageRequest{})
	require.NoError(t, err)
	assert.Equal(t, chats.Page[chats.Chat]{Items: want}, page)
	for _, chat := range want {
		got, err := client.Chat(t.Context(), chat.ID)
		require.NoError(t, err)
		assert.Equal(t, chat, got)
	}
	_, err = client.Chat(t.Context(), 1)
	require.ErrorIs(t, err, chats.ErrNotFound)
	assert.Contains(t, err.Error(), "Can't find chat by id: '1'")
}

func TestChats_FilterFindsWaitingChats(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	client := newClient(t, market)
	silent := market.AddChat(chats.Chat{})
	waiting := market.AddChat(chats.Chat{})
	market.CustomerSays(waiting, "Ау")
	filter := chats.Filter{Statuses: []chats.Status{chats.StatusWaitingForPartner}}
	assert.Equal(t, []chats.ChatID{waiting}, chatIDs(mustCollect(t, client.Chats(t.Context(), filter))))

	require.NoError(t, client.SendText(t.Context(), waiting, "Я здесь"))
	assert.Empty(t, mustCollect(t, client.Chats(t.Context(), filter)))
	filter = chats.Filter{Subjects: []chats.Subject{market.Chat(silent).Subject}}
	assert.Equal(t, []chats.ChatID{silent}, chatIDs(mustCollect(t, client.Chats(t.Context(), filter))))
}

func TestChats_FilterIsSent(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		filter chats.Filter
		want   string
	}{
		{"empty filter", chats.Filter{}, `{}`},
		{"empty lists", chats.Filter{Subjects: []chats.Subject{}, SubjectKinds: []chats.SubjectKind{}, Types: []chats.ChatType{}, Statuses: []chats.Status{}}, `{}`},
		{
			"subjects",
			chats.Filter{Subjects: []chats.Subject{chats.AboutOrder(7), chats.AboutReturn(7), {Kind: chats.SubjectReturn, Order: 9, Return: 8}}},
			`{"contexts":[{"id":7,"type":"ORDER"},{"id":7,"type":"RETURN"},{"id":8,"type":"RETURN"}]}`,
		},
		{
			"duplicate subjects",
			chats.Filter{Subjects: []chats.Subject{chats.AboutReturn(8), chats.AboutOrder(7), {Kind: chats.SubjectReturn, Order: 9, Return: 8}, chats.AboutOrder(7)}},
			`{"contexts":[{"id":8,"type":"RETURN"},{"id":7,"type":"ORDER"}]}`,
		},
		{"subject kinds", chats.Filter{SubjectKinds: []chats.SubjectKind{chats.SubjectDirect, chats.SubjectOrder, chats.SubjectDirect}}, `{"contextTypes":["DIRECT","ORDER"]}`},
		{"types", chats.Filter{Types: []chats.ChatType{chats.ChatTypeArbitrage, chats.ChatTypeArbitrage}}, `{"types":["ARBITRAGE"]}`},
		{"statuses", chats.Filter{Statuses: []chats.Status{chats.StatusNew, chats.StatusWaitingForPartner, chats.StatusNew}}, `{"statuses":["NEW","WAITING_FOR_PARTNER"]}`},
		{"all fields", chats.Filter{
			Subjects: []chats.Subject{chats.AboutOrder(7)}, SubjectKinds: []chats.SubjectKind{chats.SubjectOrder},
			Types: []chats.ChatType{chats.ChatTypeChat}, Statuses: []chats.Status{chats.StatusFinished},
		}, `{"contexts":[{"id":7,"type":"ORDER"}],"contextTypes":["ORDER"],"types":["CHAT"],"statuses":["FINISHED"]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			market := chatstest.NewMarket()
			log := &requestLog{next: market.Transport()}
			client := market.Client(withContract(t, log))
			mustCollect(t, client.Chats(t.Context(), tt.filter))
			req, body := log.last(t)
			assert.JSONEq(t, tt.want, body)
			assert.Equal(t, http.MethodPost, req.Method)
			assert.Equal(t, fmt.Sprintf("/v2/businesses/%d/chats", market.Business()), req.URL.Path)
			assert.Equal(t, "application/json", req.Header.Get("Content-Type"))
		})
	}
}

// A filter may name values that the contract does not have yet.
func TestChats_FilterAcceptsUnknownEnumValues(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	log := &requestLog{next: roundTrip(func(req *http.Request) (*http.Response, error) {
		return respond(req, http.StatusOK, okBody(map[string]any{"chats": []any{}})), nil
	})}
	client := market.Client(chats.WithHTTPClient(&http.Client{Transport: log}))
	mustCollect(t, client.Chats(t.Context(), chats.Filter{
		SubjectKinds: []chats.SubjectKind{"GIFT"}, Types: []chats.ChatType{"GROUP"}, Statuses: []chats.Status{"ASLEEP"},
	}))
	_, body := log.last(t)
	assert.JSONEq(t, `{"contextTypes":["GIFT"],"types":["GROUP"],"statuses":["ASLEEP"]}`, body)
}

func TestChats_PageSizeAndFilterAreConstant(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	log := &requestLog{next: market.Transport()}
	client := market.Client(withContract(t, log))
	for range 7 {
		market.AddChat(chats.Chat{})
	}
	filter := chats.Filter{PageSize: 3, Statuses: []chats.Status{chats.StatusNew}}
	assert.Len(t, mustCollect(t, client.Chats(t.Context(), filter)), 7)
	require.Equal(t, 3, log.count())
	for i, req := range log.requests {
		assert.Equal(t, "3", req.URL.Query().Get("limit"))
		assert.Equal(t, i > 0, req.URL.Query().Has("pageToken"), "an empty token is not sent")
		assert.JSONEq(t, `{"statuses":["NEW"]}`, log.bodies[i])
	}

	for _, tt := range []struct{ filter, page, want int }{{0, 0, 20}, {5, 0, 5}, {5, 2, 2}, {0, 20, 20}, {20, 1, 1}} {
		page, err := client.ChatsPage(t.Context(), chats.Filter{PageSize: tt.filter}, chats.PageRequest{Size: tt.page})
		require.NoError(t, err)
		req, _ := log.last(t)
		assert.Equal(t, fmt.Sprint("limit=", tt.want), req.URL.RawQuery)
		assert.Len(t, page.Items, min(7, tt.want))
		assert.Equal(t, tt.want < 7, page.Next != "")
	}
}

func TestChatsPage_ReturnsServerPageUnchanged(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket(chatstest.WithEmptyPages(), chatstest.WithDuplicates())
	client := newClient(t, market)
	for range 7 {
		market.AddChat(chats.Chat{})
	}
	var sizes []int
	var token string
	for {
		page, err := client.ChatsPage(t.Context(), chats.Filter{}, chats.PageRequest{Size: 4, Token: token})
		require.NoError(t, err)
		assert.NotNil(t, page.Items, "an empty page is not nil")
		sizes = append(sizes, len(page.Items))
		if token = page.Next; token == "" {
			break
		}
	}
	assert.Equal(t, []int{0, 4, 4, 0, 3}, sizes, "with empty pages and duplicate items")
	assert.Equal(t, 5, market.Calls(chats.OpGetChats))
}

// Every page is requested with the filter as it was passed to Chats.
func TestChats_FilterIsCopied(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	for range 60 {
		market.AddChat(chats.Chat{Status: chats.StatusNew})
	}
	filter := chats.Filter{Statuses: []chats.Status{chats.StatusNew}}
	n := 0
	for _, err := range newClient(t, market).Chats(t.Context(), filter) {
		require.NoError(t, err)
		filter.Statuses[0] = chats.StatusFinished
		n++
	}
	assert.Equal(t, 60, n)
}

// The server sends new page tokens for ever, and only known items.
func TestChatsAndHistory_NoProgressIsError(t *testing.T) {
	t.Parallel()
	n := 0
	client := chatstest.NewMarket().Client(noRetry, chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
		n++
		if strings.HasSuffix(req.URL.Path, "/chats") {
			return respond(req, http.StatusOK, `{"status":"OK","result":{"chats":[{"chatId":1}],"paging":{"nextPageToken":"`+strconv.Itoa(n)+`"}}}`), nil
		}
		return respond(req, http.StatusOK, historyPage(strconv.Itoa(n), 1, 2)), nil
	})}))
	list, err := collect(t, client.Chats(t.Context(), chats.Filter{}))
	require.ErrorIs(t, err, chats.ErrProtocol)
	assert.Len(t, list, 1)
	assert.Less(t, n, 1100)
	n = 0
	_, err = collect(t, client.History(t.Context(), 5, 0))
	require.ErrorIs(t, err, chats.ErrProtocol)
	assert.Less(t, n, 1100)
}

// Every waiting chat is answered, although an answered chat leaves the list.
func TestChats_CollectedListCanBeAnswered(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	for range 110 {
		market.CustomerSays(market.AddChat(chats.Chat{}), "?")
	}
	client := newClient(t, market)
	waiting := chats.Filter{Statuses: []chats.Status{chats.StatusWaitingForPartner}}
	for _, chat := range mustCollect(t, client.Chats(t.Context(), waiting)) {
		require.NoError(t, client.SendText(t.Context(), chat.ID, "!"))
	}
	assert.Empty(t, mustCollect(t, client.Chats(t.Context(), waiting)))
}

func TestChats_ContextErrorIsYieldedLast(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	client := newClient(t, market)
	for range 30 {
		market.AddChat(chats.Chat{})
	}
	for _, when := range []int{1, 20, 29} {
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		var last error
		for _, err := range client.Chats(ctx, chats.Filter{}) {
			require.NoError(t, last)
			if last = err; err == nil {
				if n++; n == when {
					cancel()
				}
			}
		}
		cancel()
		assert.True(t, last == context.Canceled, "%v", last) //nolint:testifylint // the bare value, not wrapped
		assert.Equal(t, when, n)
	}
}

// Matches decides as the server does.
func TestFilter_MatchesWhatTheServerLists(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	client := newClient(t, market)
	for _, subject := range []chats.Subject{
		chats.AboutOrder(1), chats.AboutOrder(2), {Kind: chats.SubjectReturn, Order: 1, Return: 2}, {Kind: chats.SubjectDirect},
	} {
		for _, kind := range []chats.ChatType{chats.ChatTypeChat, chats.ChatTypeArbitrage} {
			market.AddChat(chats.Chat{Subject: subject, Type: kind, Status: chats.StatusNew})
			market.AddChat(chats.Chat{Subject: subject, Type: kind, Status: chats.StatusFinished})
		}
	}
	for _, filter := range []chats.Filter{
		{},
		{PageSize: 3},
		{Subjects: []chats.Subject{chats.AboutOrder(1)}},
		{Subjects: []chats.Subject{chats.AboutReturn(2), chats.AboutOrder(2)}},
		{Subjects: []chats.Subject{{Kind: chats.SubjectReturn, Order: 7, Return: 2}}},
		{Subjects: []chats.Subject{chats.AboutOrder(5)}},
		{SubjectKinds: []chats.SubjectKind{chats.SubjectDirect, chats.SubjectReturn}},
		{Types: []chats.ChatType{chats.ChatTypeArbitrage}},
		{Statuses: []chats.Status{chats.StatusFinished, chats.StatusWaitingForPartner}},
		{Types: []chats.ChatType{chats.ChatTypeChat}, Statuses: []chats.Status{chats.StatusNew}, SubjectKinds: []chats.SubjectKind{chats.SubjectOrder}},
	} {
		want := chatIDs(mustCollect(t, client.Chats(t.Context(), filter)))
		got := []chats.ChatID{}
		for _, chat := range market.Chats() {
			if filter.Matches(chat) {
				got = append(got, chat.ID)
			}
		}
		assert.ElementsMatch(t, want, got, "%+v", filter)
	}
}
