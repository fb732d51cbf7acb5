package main

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

type chatList struct {
	Chats []pageChat `json:"chats"`
	Total int        `json:"total"`
}

type messageList struct {
	Messages []pageMessage `json:"messages"`
	More     bool          `json:"more"`
}

func TestPages_RefuseWhatIsTooMuch(t *testing.T) {
	t.Parallel()
	s := start(t)
	chat := fmt.Sprintf("/sandbox/chats/%d", s.current().market.Chats()[0].ID)
	long := strings.Repeat("я", 4097)
	for name, c := range map[string]struct {
		path string
		body any
		want string
	}{
		"a text":               {chat + "/messages", message(t, map[string]string{"sender": "CUSTOMER", "text": long}), "at most 4096 characters"},
		"an empty message":     {chat + "/messages", message(t, map[string]string{"sender": "CUSTOMER", "text": " "}), "empty"},
		"the shop":             {chat + "/messages", message(t, map[string]string{"sender": "PARTNER", "text": "?"}), "unknown sender"},
		"five files":           {chat + "/messages", message(t, map[string]string{"sender": "CUSTOMER"}, "1", "2", "3", "4", "5"), "at most 4 files"},
		"a file without name":  {chat + "/messages", message(t, map[string]string{"sender": "CUSTOMER"}, ".."), "a file must have"},
		"JSON for a form":      {chat + "/messages", map[string]string{"sender": "CUSTOMER"}, "form"},
		"an act":               {chat + "/act", map[string]string{"act": "explode"}, "unknown action"},
		"a field":              {chat + "/act", map[string]string{"act": "finish", "then": "explode"}, "unknown field"},
		"an order's number":    {"/sandbox/orders", order{ID: -5}, "above 0"},
		"an order twice":       {"/sandbox/orders", order{ID: firstOrder + 17}, "exists"},
		"a name":               {"/sandbox/orders", order{Customer: long}, "at most 100 characters"},
		"no such order":        {"/sandbox/chats", map[string]any{"kind": "ORDER", "order": 5}, "there is no order 5"},
		"a subject":            {"/sandbox/chats", map[string]any{"kind": "GIFT", "order": firstOrder + 17}, "unknown subject"},
		"a fault":              {"/sandbox/faults", rule{Fault: "meteor", Left: 1}, "unknown fault"},
		"an operation":         {"/sandbox/faults", rule{Fault: "html502", Operation: "deleteChat", Left: 1}, "unknown operation"},
		"how often":            {"/sandbox/faults", rule{Fault: "html502", Left: 0}, "must be 1 to 1000"},
		"an aspect":            {"/sandbox/behaviour", map[string]string{"aspect": "mood", "choice": "bad"}, "unknown behaviour"},
		"a ping without a URL": {"/sandbox/push/ping", struct{}{}, "no URL"},
		"a URL":                {"/sandbox/push", pushSettings{URL: "javascript:alert(1)", Speed: 1}, "https://"},
	} {
		status, text := s.do(t, http.MethodPost, c.path, c.body)
		assert.Equal(t, http.StatusBadRequest, status, name)
		assert.Contains(t, text, c.want, name)
		assert.Less(t, len(text), 500, name)
	}
	for _, path := range []string{
		"/sandbox/chats?limit=101", "/sandbox/chats?offset=-1", "/sandbox/chats?limit=x", chat + "/messages?limit=101", chat + "/messages?before=x",
	} {
		status, _ := s.do(t, http.MethodGet, path, nil)
		assert.Equal(t, http.StatusBadRequest, status, path)
	}
	for _, path := range []string{"/sandbox/chats/1", "/sandbox/chats/x/messages", "/sandbox/chats/1/test", "/sandbox/exchanges/99"} {
		status, _ := s.do(t, http.MethodGet, path, nil)
		assert.Equal(t, http.StatusNotFound, status, path)
	}
	status, text := s.do(t, http.MethodPost, "/sandbox/orders", map[string]string{"customer": strings.Repeat("x", maxJSON)})
	assert.Equal(t, http.StatusBadRequest, status)
	assert.Contains(t, text, "too large")

	for range maxRules {
		require.NoError(t, s.faults.add(rule{Fault: "html502", Left: 1}))
	}
	require.Error(t, s.faults.add(rule{Fault: "html502", Left: 1}))
	s.current().fileBytes = maxFileBytes
	_, text = s.do(t, http.MethodPost, chat+"/messages", message(t, map[string]string{"sender": "CUSTOMER"}, "a.txt"))
	assert.Contains(t, text, "cannot hold more files")
}

func TestPages_ListFilterAndPage(t *testing.T) {
	t.Parallel()
	s := start(t)
	all := mustDo[chatList](t, s, http.MethodGet, "/sandbox/chats?limit=3", nil)
	assert.Equal(t, len(scenes), all.Total)
	require.Len(t, all.Chats, 3)
	rest := mustDo[chatList](t, s, http.MethodGet, "/sandbox/chats?offset=3", nil)
	assert.Len(t, rest.Chats, len(scenes)-3)
	assert.Equal(t, 3, mustDo[chatList](t, s, http.MethodGet, "/sandbox/chats?status=WAITING_FOR_PARTNER", nil).Total)
	found := mustDo[chatList](t, s, http.MethodGet, "/sandbox/chats?search=%D0%BA%D1%80%D1%83%D0%B6%D0%BA%D0%B0", nil) // кружка
	require.Equal(t, 1, found.Total)
	assert.Equal(t, "Анна Смирнова", found.Chats[0].Customer)
	assert.Equal(t, "Можно заменить или вернуть деньги?", found.Chats[0].Last.Text)

	id := found.Chats[0].ID
	page := mustDo[messageList](t, s, http.MethodGet, fmt.Sprintf("/sandbox/chats/%d/messages?limit=2", id), nil)
	require.Len(t, page.Messages, 2)
	assert.True(t, page.More)
	page = mustDo[messageList](t, s, http.MethodGet, fmt.Sprintf("/sandbox/chats/%d/messages?limit=2&before=%d", id, page.Messages[0].ID), nil)
	require.Len(t, page.Messages, 1)
	assert.False(t, page.More)

	first := mustDo[pageChat](t, s, http.MethodPost, "/sandbox/chats", map[string]any{"kind": "ORDER", "order": firstOrder + 17})
	assert.Equal(t, id, first.ID, "an order has one chat")
}

func TestHub_ClosesAPageThatDoesNotRead(t *testing.T) {
	t.Parallel()
	h := newHub()
	var page chan []byte
	for range maxPages {
		var ok bool
		page, ok = h.open()
		require.True(t, ok)
	}
	_, ok := h.open()
	require.False(t, ok)
	for range maxPending + 1 {
		h.publish("chat", nil)
	}
	assert.Empty(t, h.pages)
	for range maxPending {
		<-page
	}
	_, open := <-page
	assert.False(t, open, "its stream ends, and the browser connects again")
	_, ok = h.open()
	assert.True(t, ok)
}

// fill adds a thousand conversations of a thousand messages.
func fill(w *world, now time.Time) {
	for n := range 1000 {
		messages := make([]chats.Message, 1000)
		for i := range messages {
			text := fmt.Sprintf("Сообщение %d чата %d: когда привезут заказ?", i, n)
			messages[i] = chats.Message{Sender: chats.SenderCustomer, Text: text, CreatedAt: now.Add(time.Duration(i-1000) * time.Second)}
		}
		w.market.AddConversation(chats.Chat{Customer: chats.Customer{Name: fmt.Sprintf("Анна %d", n)}}, messages...)
	}
}

// A thousand conversations of a thousand messages stay usable.
func TestSandbox_Large(t *testing.T) {
	s := start(t, "-empty")
	w := s.current()
	now := time.Now()
	fill(w, now)
	id := w.market.Chats()[500].ID
	for name, path := range map[string]string{
		"the list": "/sandbox/chats", "the end of the list": "/sandbox/chats?offset=950", "a search": "/sandbox/chats?search=70000900",
		"a conversation": fmt.Sprintf("/sandbox/chats/%d/messages", id),
		"earlier":        fmt.Sprintf("/sandbox/chats/%d/messages?before=%d", id, now.Add(-500*time.Second).UnixMicro()),
	} {
		best := time.Hour
		for range 5 { // the machine may be busy
			began := time.Now()
			status, _ := s.do(t, http.MethodGet, path, nil)
			require.Equal(t, http.StatusOK, status)
			best = min(best, time.Since(began))
		}
		t.Logf("%s: %v", name, best)
		assert.Less(t, best, time.Second, name)
	}
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	t.Logf("heap: %d MB, from the system: %d MB", memory.HeapAlloc>>20, memory.Sys>>20)
	assert.Less(t, memory.Sys, uint64(1<<30))
	runtime.KeepAlive(w)
}

// Every order that the page lists exists for programs, even if two were placed at once: the second
// one here while the first one is about to become known to the Market.
func TestOrders_PlacedAtOnceExist(t *testing.T) {
	t.Parallel()
	s := start(t, "-empty")
	w := s.current()
	options, placed := w.options, make(chan struct{})
	var called atomic.Bool
	w.options = func() []chatstest.Option {
		if !called.Swap(true) {
			go func() {
				defer close(placed)
				_, err := w.placeOrder(order{})
				assert.NoError(t, err)
			}()
			select {
			case <-placed:
			case <-time.After(100 * time.Millisecond): // it waits for the first one
			}
		}
		return options()
	}
	_, err := w.placeOrder(order{})
	require.NoError(t, err)
	<-placed
	require.Len(t, w.allOrders(), 2)
	for _, o := range w.allOrders() {
		assert.Equal(t, http.StatusOK, s.call(t, http.MethodPost, "/chats/new", fmt.Sprintf(`{"context":{"type":"ORDER","id":%d}}`, o.ID)))
	}
}
