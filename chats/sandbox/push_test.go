package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/notify"
)

// shopServer receives the notifications, in process.
type shopServer struct {
	mu      sync.Mutex
	handler http.Handler
	got     []received
}

type received struct {
	at   time.Time
	body string
	r    *http.Request
}

func (s *shopServer) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.got = append(s.got, received{time.Now(), string(body), r})
	handler := s.handler
	s.mu.Unlock()
	if handler == nil {
		return nil, errors.New("connection refused")
	}
	request := r.Clone(r.Context())
	request.Body = io.NopCloser(bytes.NewReader(body))
	request.RemoteAddr = "127.0.0.1:1"
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, request)
	return w.Result(), r.Context().Err()
}

func (s *shopServer) set(handler http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handler = handler
}

func (s *shopServer) all() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]received{}, s.got...)
}

// pushBench is a pusher in a bubble.
type pushBench struct {
	*testing.T
	p    *pusher
	m    *chatstest.Market
	shop *shopServer
}

// pushTest runs a test in a bubble.
func pushTest(t *testing.T, test func(b pushBench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		shop := &shopServer{}
		p := newPusher(newHub())
		p.client.Transport = shop
		require.NoError(t, p.configure(pushSettings{URL: "https://shop.example/market/", Speed: 1}))
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { p.run(ctx) })
		defer running.Wait()
		defer stop()
		test(pushBench{t, p, chatstest.NewMarket(), shop})
	})
}

// accepts returns the handler of a shop that uses package notify.
func accepts(t *testing.T) http.Handler {
	t.Helper()
	h, err := notify.NewHandler("shop", "1", func(context.Context, notify.Event) error { return nil }, notify.WithDedupe(0, 0))
	require.NoError(t, err)
	return h
}

func states(p *pusher) (all []string) {
	for _, d := range p.deliveries() {
		all = append(all, d.Type+" "+d.State)
	}
	return all
}

func TestPush_FollowsMarketsRules(t *testing.T) {
	t.Parallel()
	pushTest(t, func(b pushBench) {
		b.shop.set(accepts(b.T))
		b.p.announceMessage(b.Context(), b.m, 5, chats.Message{ID: 17, Sender: chats.SenderCustomer, Text: "text"})
		b.p.announceMessage(b.Context(), b.m, 5, chats.Message{ID: 18, Sender: chats.SenderCustomer})               // a sticker
		b.p.announceMessage(b.Context(), b.m, 5, chats.Message{ID: 19, Sender: chats.SenderPartner, Text: "reply"}) // the shop's own
		synctest.Wait()
		assert.Equal(b, []string{"CHAT_MESSAGE_SENT delivered"}, states(b.p))
		got := b.shop.all()[0]
		assert.Equal(b, "https://shop.example/market/notification", got.r.URL.String())
		assert.Equal(b, "5.45.207.1", got.r.Header.Get("X-Forwarded-For"))
		event, err := notify.Parse([]byte(got.body))
		require.NoError(b, err)
		assert.Equal(b, chats.MessageID(17), event.(notify.MessageSent).Message)
		assert.Equal(b, b.m.Business(), event.(notify.MessageSent).Business)

		require.NoError(b, b.p.configure(pushSettings{URL: "https://shop.example/market", Speed: 1, Own: true}))
		b.p.announceMessage(b.Context(), b.m, 5, chats.Message{ID: 19, Sender: chats.SenderPartner, Text: "reply"})
		synctest.Wait()
		assert.Len(b, b.shop.all(), 2)
	})
}

func TestPush_BlocksUntilTheShopResponds(t *testing.T) {
	t.Parallel()
	pushTest(t, func(b pushBench) {
		began := time.Now()
		b.p.announce(b.Context(), b.m, notify.ChatCreated{Chat: 1})
		b.p.announce(b.Context(), b.m, notify.ChatCreated{Chat: 2})
		time.Sleep(2*time.Hour + time.Second)
		got := b.shop.all()
		for i, r := range got {
			assert.Equal(b, got[0].body, r.body, "the second one waits")
			if i < 60 {
				assert.Equal(b, time.Duration(i)*time.Minute, r.at.Sub(began))
			}
		}
		assert.Len(b, got, 61+4, "every minute for an hour, then every 15 minutes")
		assert.Equal(b, []string{"CHAT_CREATED waiting", "CHAT_CREATED retrying"}, states(b.p))
		d := b.p.deliveries()[1]
		assert.Equal(b, 65, d.Tries)
		assert.Len(b, d.Attempts, maxAttempts)
		assert.Contains(b, d.Attempts[0].Text, "connection refused")

		b.shop.set(accepts(b.T))
		b.p.retry(d.N)
		synctest.Wait()
		assert.Equal(b, []string{"CHAT_CREATED delivered", "CHAT_CREATED delivered"}, states(b.p))
	})
}

func TestPush_IsSwitchedOffAfterTwoWeeks(t *testing.T) {
	t.Parallel()
	pushTest(t, func(b pushBench) {
		s := b.p.current()
		s.Speed = 600
		require.NoError(b, b.p.configure(s))
		b.p.announce(b.Context(), b.m, notify.ChatCreated{Chat: 1})
		time.Sleep(14*24*time.Hour/600 - time.Minute)
		assert.False(b, b.p.current().Off)
		time.Sleep(2 * time.Minute)
		assert.True(b, b.p.current().Off)
		b.p.announce(b.Context(), b.m, notify.ChatCreated{Chat: 2})
		n := len(b.shop.all())
		assert.InDelta(b, 60+92+13*24, n, 3)
		time.Sleep(time.Hour)
		assert.Len(b, b.shop.all(), n)

		b.shop.set(accepts(b.T))
		s.Off = false
		require.NoError(b, b.p.configure(s))
		synctest.Wait()
		assert.Equal(b, []string{"CHAT_CREATED delivered"}, states(b.p))
	})
}

func TestPush_JudgesTheResponse(t *testing.T) {
	t.Parallel()
	const good = `{"version":"1","name":"shop","time":"2026-11-26T10:00:00Z"}`
	for name, c := range map[string]struct {
		status      int
		contentType string
		body        string
		state       string
	}{
		"200":                {200, "application/json", good, stateDelivered},
		"without a time":     {200, "application/json", `{"version":"1","name":"shop"}`, stateRetrying},
		"an empty body":      {200, "application/json", "", stateRetrying},
		"a page":             {200, "text/html", "<html>", stateRetrying},
		"204":                {204, "", "", stateRetrying},
		"400":                {400, "application/json", `{"error":{"type":"WRONG_EVENT_FORMAT","message":"no"}}`, stateMalformed},
		"500":                {500, "application/json", `{"error":{"type":"UNKNOWN","message":"no"}}`, stateRetrying},
		"a redirect":         {302, "", "", stateRetrying},
		"an address unknown": {404, "text/plain", "404 page not found", stateRetrying},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pushTest(t, func(b pushBench) {
				b.shop.set(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					if c.contentType != "" {
						w.Header().Set("Content-Type", c.contentType)
					}
					w.Header().Set("Location", "https://elsewhere.example/")
					w.WriteHeader(c.status)
					_, _ = io.WriteString(w, c.body)
				}))
				b.p.announce(b.Context(), b.m, notify.ChatCreated{Chat: 1})
				synctest.Wait()
				d := b.p.deliveries()[0]
				assert.Equal(b, c.state, d.State)
				assert.Equal(b, c.status, d.Attempts[0].Status)
				assert.Equal(b, c.state == stateDelivered || c.status == 400 || c.status == 500, d.Attempts[0].Wrong == "", d.Attempts[0].Wrong)
				assert.Len(b, b.shop.all(), 1, "redirects are not followed")
			})
		})
	}
}

func TestPush_WaitsTenSecondsAndOneForAPing(t *testing.T) {
	t.Parallel()
	pushTest(t, func(b pushBench) {
		b.shop.set(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		b.p.announce(b.Context(), b.m, notify.Ping{})
		time.Sleep(time.Second + time.Millisecond)
		ping := b.p.deliveries()[0]
		assert.Equal(b, "PING retrying", ping.Type+" "+ping.State)
		b.p.drop(ping.N)
		b.p.announce(b.Context(), b.m, notify.ChatCreated{Chat: 1})
		time.Sleep(9 * time.Second)
		assert.Equal(b, []string{"CHAT_CREATED sending", "PING dropped"}, states(b.p))
		time.Sleep(2 * time.Second)
		assert.Equal(b, []string{"CHAT_CREATED retrying", "PING dropped"}, states(b.p))
	})
}

func TestPush_LostDoubledLate(t *testing.T) {
	t.Parallel()
	pushTest(t, func(b pushBench) {
		b.shop.set(accepts(b.T))
		next := func(fate string) {
			s := b.p.current()
			s.Next = fate
			require.NoError(b, b.p.configure(s))
		}
		next("lost")
		b.p.announce(b.Context(), b.m, notify.ChatCreated{Chat: 1})
		next("doubled")
		b.p.announce(b.Context(), b.m, notify.ChatCreated{Chat: 2})
		synctest.Wait()
		assert.Equal(b, []string{"CHAT_CREATED delivered", "CHAT_CREATED delivered", "CHAT_CREATED lost"}, states(b.p))
		require.Len(b, b.shop.all(), 2)
		assert.Equal(b, b.shop.all()[0].body, b.shop.all()[1].body)

		next("late")
		b.p.announce(b.Context(), b.m, notify.ChatCreated{Chat: 3})
		b.p.announce(b.Context(), b.m, notify.ChatCreated{Chat: 4})
		synctest.Wait()
		require.Len(b, b.shop.all(), 3, "a late one lets others pass")
		assert.Contains(b, b.shop.all()[2].body, `"chatId":4`)
		time.Sleep(lateBy)
		synctest.Wait()
		require.Len(b, b.shop.all(), 4)
		assert.Contains(b, b.shop.all()[3].body, `"chatId":3`)
	})
}

func TestPush_IsBounded(t *testing.T) {
	t.Parallel()
	pushTest(t, func(b pushBench) {
		for range maxQueue + 50 {
			b.p.announce(b.Context(), b.m, notify.ChatCreated{Chat: 1})
		}
		assert.Len(b, b.p.queue, maxQueue)
		assert.Equal(b, stateDropped, b.p.deliveries()[0].State)
		assert.Len(b, b.p.deliveries(), maxDeliveries)
		require.Error(b, b.p.configure(pushSettings{URL: "file:///etc/passwd", Speed: 1}))
		require.Error(b, b.p.configure(pushSettings{URL: "shop.example", Speed: 1}))
		require.Error(b, b.p.configure(pushSettings{Speed: 0}))
		require.Error(b, b.p.configure(pushSettings{Speed: 1, Next: "eaten"}))
	})
}

// Actions on the page reach the shop as Market's notifications.
func TestPush_AnnouncesWhatHappens(t *testing.T) {
	t.Parallel()
	s := start(t, "-empty")
	shop := &shopServer{handler: accepts(t)}
	s.push.client.Transport = shop
	require.NoError(t, s.push.configure(pushSettings{URL: "https://shop.example", Speed: 1}))
	o := mustDo[order](t, s, http.MethodPost, "/sandbox/orders", order{Customer: "Анна", Title: "Кружка"})
	for _, kind := range []chats.SubjectKind{chats.SubjectOrder, chats.SubjectDirect} {
		chat := mustDo[pageChat](t, s, http.MethodPost, "/sandbox/chats", map[string]any{"kind": kind, "order": o.ID, "customer": "Анна"})
		eventually(t, "the new chat is reported", func() bool { return s.current().reported(chat.ID) })
		mustDo[pageMessage](t, s, http.MethodPost, fmt.Sprintf("/sandbox/chats/%d/messages", chat.ID), message(t, map[string]string{"sender": "CUSTOMER", "text": "?"}))
		eventually(t, "the message", func() bool { return len(shop.all()) > 0 && s.push.deliveries()[0].Type == "CHAT_MESSAGE_SENT" })
		mustDo[pageChat](t, s, http.MethodPost, fmt.Sprintf("/sandbox/chats/%d/act", chat.ID), map[string]string{"act": "startDispute"})
		mustDo[pageChat](t, s, http.MethodPost, fmt.Sprintf("/sandbox/chats/%d/act", chat.ID), map[string]string{"act": "finishDispute"})
	}
	var types []string
	eventually(t, "all are delivered", func() bool { return len(shop.all()) == 6 })
	for _, r := range shop.all() {
		event, err := notify.Parse([]byte(r.body))
		require.NoError(t, err)
		types = append(types, fmt.Sprintf("%T", event))
	}
	assert.Equal(t, []string{
		"notify.ChatCreated", "notify.MessageSent", "notify.ArbitrageStarted", "notify.ArbitrageFinished",
		"notify.ChatCreated", "notify.MessageSent", // no dispute of a DIRECT chat
	}, types)
}
