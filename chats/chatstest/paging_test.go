package chatstest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// pages reads all pages of three messages, as message numbers from 0. With
// arriving, a message arrives after the first page.
func pages(t *testing.T, arriving bool, since int, options ...chatstest.Option) [][]int {
	t.Helper()
	m := chatstest.NewMarket(options...)
	id := m.AddChat(chats.Chat{})
	number := map[chats.MessageID]int{}
	for i := range 7 {
		number[m.CustomerSays(id, "")] = i
	}
	var from chats.MessageID
	if since >= 0 {
		from = m.Messages(id)[since].ID
	}
	c := client(t, m)
	var got [][]int
	request := chats.PageRequest{Size: 3}
	for {
		page, err := c.HistoryPage(t.Context(), id, from, request)
		require.NoError(t, err)
		numbers := make([]int, 0, len(page.Items))
		for _, message := range page.Items {
			numbers = append(numbers, number[message.ID])
		}
		got = append(got, numbers)
		if page.Next == "" || len(got) == 10 {
			return got
		}
		if arriving && request.Token == "" {
			number[m.CustomerSays(id, "")] = 7
		}
		request.Token = page.Next
	}
}

func TestHistory_PageOrders(t *testing.T) {
	t.Parallel()
	type options = []chatstest.Option
	swapped := chatstest.WithSwappedNeighbours()
	newest, newestPage := chatstest.WithOrder(chatstest.NewestFirst), chatstest.WithOrder(chatstest.NewestPageFirst)
	for _, c := range []struct {
		name     string
		options  options
		arriving bool
		since    int
		want     [][]int
	}{
		{"oldest first", nil, false, -1, [][]int{{0, 1, 2}, {3, 4, 5}, {6}}},
		{"newest first", options{newest}, false, -1, [][]int{{6, 5, 4}, {3, 2, 1}, {0}}},
		{"newest page first", options{newestPage}, false, -1, [][]int{{4, 5, 6}, {1, 2, 3}, {0}}},
		{"oldest first, one arrives", nil, true, -1, [][]int{{0, 1, 2}, {3, 4, 5}, {6, 7}}},
		{"newest first, one arrives", options{newest}, true, -1, [][]int{{6, 5, 4}, {4, 3, 2}, {1, 0}}},
		{"newest page first, one arrives", options{newestPage}, true, -1, [][]int{{4, 5, 6}, {1, 2, 3}, {0}}},
		{"inclusive", nil, false, 4, [][]int{{4, 5, 6}}},
		{"exclusive", options{chatstest.WithExclusiveSince()}, false, 4, [][]int{{5, 6}}},
		{"exclusive, newest first", options{newest, chatstest.WithExclusiveSince()}, false, 2, [][]int{{6, 5, 4}, {3}}},
		{"inclusive, newest page first", options{newestPage}, false, 3, [][]int{{4, 5, 6}, {3}}},
		{"duplicates", options{chatstest.WithDuplicates()}, false, -1, [][]int{{0, 1, 2}, {2, 3, 4}, {4, 5, 6}}},
		{
			"duplicates, newest page first",
			options{chatstest.WithDuplicates(), newestPage},
			false, -1,
			[][]int{{4, 5, 6}, {2, 3, 4}, {0, 1, 2}},
		},
		{"empty pages", options{chatstest.WithEmptyPages()}, false, -1, [][]int{{}, {0, 1, 2}, {3, 4, 5}, {}, {6}}},
		{"swapped", options{swapped}, false, -1, [][]int{{0, 2, 1}, {4, 3, 6}, {5}}},
		{"swapped, newest first", options{swapped, newest}, false, -1, [][]int{{6, 4, 5}, {2, 3, 0}, {1}}},
		{"swapped, newest page first", options{swapped, newestPage}, false, -1, [][]int{{5, 4, 6}, {0, 3, 2}, {1}}},
		{"swapped, one arrives", options{swapped}, true, -1, [][]int{{0, 2, 1}, {4, 3, 6}, {5, 7}}},
		{
			"swapped, newest first, one arrives",
			options{swapped, newest},
			true, -1,
			[][]int{{6, 4, 5}, {5, 2, 3}, {0, 1}},
		},
		{"swapped, inclusive", options{swapped}, false, 2, [][]int{{2, 4, 3}, {6, 5}}},
		{"a constant token", options{chatstest.WithConstantToken()}, false, -1, [][]int{{0, 1, 2}, {3, 4, 5}, {6}}},
		{
			"a repeating token",
			options{chatstest.WithRepeatingToken()},
			false, 4,
			[][]int{{4, 5, 6}, {}, {}, {}, {}, {}, {}, {}, {}, {}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, c.want, pages(t, c.arriving, c.since, c.options...))
		})
	}
}

// In either case, an ID that no message has selects all messages above it.
func TestHistory_SinceBetweenTwoMessages(t *testing.T) {
	t.Parallel()
	for _, options := range [][]chatstest.Option{nil, {chatstest.WithExclusiveSince()}} {
		synctest.Test(t, func(t *testing.T) {
			m := chatstest.NewMarket(options...)
			id := m.AddChat(chats.Chat{})
			m.CustomerSays(id, "")
			time.Sleep(time.Second)
			second := m.CustomerSays(id, "")
			page, err := client(t, m).HistoryPage(t.Context(), id, second-1, chats.PageRequest{})
			require.NoError(t, err)
			require.Len(t, page.Items, 1)
			assert.Equal(t, second, page.Items[0].ID)
		})
	}
}

func TestWithDuplicates_RepeatsTwo(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket(chatstest.WithDuplicates())
	id := m.AddChat(chats.Chat{})
	for range 9 {
		m.CustomerSays(id, "")
	}
	first, err := client(t, m).HistoryPage(t.Context(), id, 0, chats.PageRequest{Size: 6})
	require.NoError(t, err)
	second, err := client(t, m).HistoryPage(t.Context(), id, 0, chats.PageRequest{Size: 6, Token: first.Next})
	require.NoError(t, err)
	assert.Equal(t, first.Items[4:], second.Items[:2])
}

func TestHistory_EmptyIsOnePage(t *testing.T) {
	t.Parallel()
	for _, order := range []chatstest.Order{chatstest.OldestFirst, chatstest.NewestFirst, chatstest.NewestPageFirst} {
		m := chatstest.NewMarket(chatstest.WithOrder(order))
		id := m.AddChat(chats.Chat{})
		page, err := client(t, m).HistoryPage(t.Context(), id, 0, chats.PageRequest{})
		require.NoError(t, err)
		assert.Equal(t, chats.Page[chats.Message]{Items: []chats.Message{}}, page)
	}
}

// The last page has no paging at all, and the default page sizes are the
// contract's.
func TestPages_DefaultSizes(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket()
	id := m.AddChat(chats.Chat{})
	for range 51 {
		m.CustomerSays(id, "")
	}
	for range 10 {
		m.AddChat(chats.Chat{})
	}
	for path, list := range map[string]string{
		fmt.Sprintf("/chats/history?chatId=%d", id): "messages",
		"/chats?": "chats",
	} {
		var sizes []int
		token := ""
		for range 2 {
			req := request(t.Context(), t, http.MethodPost, business+path+token, "{}")
			var got struct {
				Result map[string]json.RawMessage `json:"result"`
			}
			require.NoError(t, json.Unmarshal([]byte(exchange(t, m.Transport(), req).body), &got))
			var items []json.RawMessage
			require.NoError(t, json.Unmarshal(got.Result[list], &items))
			sizes = append(sizes, len(items))
			var paging struct {
				Next string `json:"nextPageToken"`
			}
			if raw := got.Result["paging"]; raw != nil {
				require.NoError(t, json.Unmarshal(raw, &paging))
				token = "&pageToken=" + url.QueryEscape(paging.Next)
			} else {
				sizes = append(sizes, -1)
			}
		}
		standard := map[string]int{"messages": 50, "chats": 10}[list]
		assert.Equal(t, []int{standard, 1, -1}, sizes)
	}
}

func TestPageToken_IsValidForItsRequestOnly(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket()
	one, other := m.AddChat(chats.Chat{}), m.AddChat(chats.Chat{})
	for range 3 {
		m.CustomerSays(one, "")
		m.CustomerSays(other, "")
	}
	c := client(t, m)
	page, err := c.HistoryPage(t.Context(), one, 0, chats.PageRequest{Size: 1})
	require.NoError(t, err)
	for name, read := range map[string]func() error{
		"another chat": func() error {
			_, err := c.HistoryPage(t.Context(), other, 0, chats.PageRequest{Size: 1, Token: page.Next})
			return err
		},
		"another size": func() error {
			_, err := c.HistoryPage(t.Context(), one, 0, chats.PageRequest{Size: 2, Token: page.Next})
			return err
		},
		"another body": func() error {
			_, err := c.HistoryPage(t.Context(), one, 1, chats.PageRequest{Size: 1, Token: page.Next})
			return err
		},
		"another list": func() error {
			_, err := c.ChatsPage(t.Context(), chats.Filter{}, chats.PageRequest{Size: 1, Token: page.Next})
			return err
		},
	} {
		require.ErrorContains(t, read(), "pageToken", name)
	}
	_, err = c.HistoryPage(t.Context(), one, 0, chats.PageRequest{Size: 1, Token: page.Next})
	require.NoError(t, err)
}

// The list starts with the newest message and shifts when one arrives.
func TestGetChats_ListShifts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := chatstest.NewMarket()
		ids := make([]chats.ChatID, 4)
		for i := range ids {
			ids[i] = m.AddChat(chats.Chat{})
		}
		c := client(t, m)
		read := func(token string) (page []chats.ChatID, next string) {
			got, err := c.ChatsPage(t.Context(), chats.Filter{}, chats.PageRequest{Size: 2, Token: token})
			require.NoError(t, err)
			for _, chat := range got.Items {
				page = append(page, chat.ID)
			}
			return page, got.Next
		}
		slices.Reverse(ids) // same time, newest ID first
		page, next := read("")
		assert.Equal(t, ids[:2], page)
		page, _ = read(next)
		assert.Equal(t, ids[2:], page)

		time.Sleep(time.Second)
		m.CustomerSays(ids[3], "я снова здесь")
		page, next = read(next)
		assert.Equal(t, []chats.ChatID{ids[1], ids[2]}, page, "one is repeated, one has moved to the front")
		assert.Empty(t, next)
		page, _ = read("")
		assert.Equal(t, ids[3], page[0])
	})
}

func TestWithConstantToken_RemembersThePosition(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket(chatstest.WithConstantToken())
	one, other := m.AddChat(chats.Chat{}), m.AddChat(chats.Chat{})
	for range 3 {
		m.CustomerSays(one, "")
		m.CustomerSays(other, "")
	}
	c := client(t, m)
	read := func(id chats.ChatID, token string) chats.Page[chats.Message] {
		page, err := c.HistoryPage(t.Context(), id, 0, chats.PageRequest{Size: 1, Token: token})
		require.NoError(t, err)
		return page
	}
	_, err := c.HistoryPage(t.Context(), one, 0, chats.PageRequest{Size: 1, Token: "next"})
	require.ErrorContains(t, err, "pageToken", "nothing was listed before")
	first := read(one, "")
	assert.Equal(t, first.Next, read(other, "").Next)
	second := read(one, first.Next)
	assert.Equal(t, first.Next, second.Next)
	assert.NotEqual(t, first.Items, second.Items)
	assert.Empty(t, read(one, first.Next).Next)
	assert.Equal(t, first, read(one, ""), "a request without a token starts over")
}

func TestWithTokenLifetime_ExpiresTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, lifetime := range []time.Duration{time.Minute, 0} {
			m := chatstest.NewMarket(chatstest.WithTokenLifetime(lifetime))
			for range 3 {
				m.AddChat(chats.Chat{})
			}
			c := client(t, m)
			first, err := c.ChatsPage(t.Context(), chats.Filter{}, chats.PageRequest{Size: 1})
			require.NoError(t, err)
			if lifetime > 0 {
				time.Sleep(lifetime - 1)
				_, err = c.ChatsPage(t.Context(), chats.Filter{}, chats.PageRequest{Size: 1, Token: first.Next})
				require.NoError(t, err)
				time.Sleep(time.Nanosecond)
			}
			_, err = c.ChatsPage(t.Context(), chats.Filter{}, chats.PageRequest{Size: 1, Token: first.Next})
			require.ErrorContains(t, err, "has expired")
		}
	})
}

func TestWithMaxPage_LowersTheLimitOfOneOperation(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket(chatstest.WithMaxPage(chats.OpGetChatHistory, 20))
	m.AddChat(chats.Chat{ID: 5})
	for range 21 {
		m.CustomerSays(5, "")
	}
	for query, want := range map[string]int{
		"/chats/history?chatId=5&limit=21": http.StatusBadRequest,
		"/chats/history?chatId=5&limit=20": http.StatusOK,
		"/chats?limit=20":                  http.StatusOK,
	} {
		got := exchange(t, m.Transport(), request(t.Context(), t, http.MethodPost, business+query, "{}"))
		assert.Equal(t, want, got.status, query)
	}
	got := exchange(t, m.Transport(), request(t.Context(), t, http.MethodPost, business+"/chats/history?chatId=5", "{}"))
	assert.Equal(t, 20, strings.Count(got.body, "messageId"), "the default size is within the limit")
}

// FailFunc is called between two pages: any number of messages may arrive there.
func TestFailFunc_ArrivalsBetweenPages(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket(chatstest.WithOrder(chatstest.NewestFirst))
	id := m.AddChat(chats.Chat{})
	old := m.CustomerSays(id, "old")
	m.CustomerSays(id, "newer")
	m.FailFunc(func(op chats.Operation, n int) chatstest.Fault {
		if op == chats.OpGetChatHistory && n == 2 {
			for range 3 {
				m.CustomerSays(id, "newest")
			}
		}
		return chatstest.OK()
	})
	c := client(t, m)
	page := chats.Page[chats.Message]{}
	var sizes []int
	for range 5 {
		var err error
		page, err = c.HistoryPage(t.Context(), id, 0, chats.PageRequest{Size: 1, Token: page.Next})
		require.NoError(t, err)
		sizes = append(sizes, len(page.Items))
	}
	assert.Equal(t, []int{1, 1, 1, 1, 1}, sizes)
	assert.Equal(t, old, page.Items[0].ID)
	assert.Empty(t, page.Next)
}
