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

// shopServer is the other side of the notifications, in process.
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

// pushTest runs a pusher in a bubble.
func pushTest(t *testing.T, test func(t *testing.T, p *pusher, m *chatstest.Market, shop *shopServer)) {
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
		test(t, p, chatstest.NewMarket(), shop)
	})
}

// accepts is a shop that uses the library.
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
	pushTest(t, func(t *testing.T, p *pusher, m *chatstest.Market, shop *shopServer) {
		shop.set(accepts(t))
		p.announceMessage(m, 5, chats.Message{ID: 17, Sender: chats.SenderCustomer, Text: "text"})
		p.announceMessage(m, 5, chats.Message{ID: 18, Sender: chats.SenderCustomer})               // a sticker
		p.announceMessage(m, 5, chats.Message{ID: 19, Sender: chats.SenderPartner, Text: "reply"}) // the shop's own
		synctest.Wait()
		assert.Equal(t, []string{"CHAT_MESSAGE_SENT delivered"}, states(p))
		got := shop.all()[0]
		assert.Equal(t, "https://shop.example/market/notification", got.r.URL.String())
		assert.Equal(t, "5.45.207.1", got.r.Header.Get("X-Forwarded-For"))
		event, err := notify.Parse([]byte(got.body))
		require.NoError(t, err)
		assert.Equal(t, chats.MessageID(17), event.(notify.MessageSent).Message)
		assert.Equal(t, m.Business(), event.(notify.MessageSent).Business)

		require.NoError(t, p.configure(pushSettings{URL: "https://shop.example/market", Speed: 1, Own: true}))
		p.announceMessage(m, 5, chats.Message{ID: 19, Sender: chats.SenderPartner, Text: "reply"})
		synctest.Wait()
		assert.Len(t, shop.all(), 2)
	})
}

func TestPush_BlocksUntilTheShopAnswers(t *testing.T) {
	t.Parallel()
	pushTest(t, func(t *testing.T, p *pusher, m *chatstest.Market, shop *shopServer) {
		began := time.Now()
		p.announce(m, notify.ChatCreated{Chat: 1})
		p.announce(m, notify.ChatCreated{Chat: 2})
		time.Sleep(2*time.Hour + time.Second)
		got := shop.all()
		for i, r := range got {
			assert.Equal(t, got[0].body, r.body, "the second one waits")
			if i < 60 {
				assert.Equal(t, time.Duration(i)*time.Minute, r.at.Sub(began))
			}
		}
		assert.Len(t, got, 61+4, "every minute for an hour, then every 15 minutes")
		assert.Equal(t, []string{"CHAT_CREATED waiting", "CHAT_CREATED retrying"}, states(p))
		d := p.deliveries()[1]
		assert.Equal(t, 65, d.Tries)
		assert.Len(t, d.Attempts, maxAttempts)
		assert.Contains(t, d.Attempts[0].Text, "connection refused")

		shop.set(accepts(t))
		p.retry(d.N)
		synctest.Wait()
		assert.Equal(t, []string{"CHAT_CREATED delivered", "CHAT_CREATED delivered"}, states(p))
	})
}

func TestPush_IsSwitchedOffAfterTwoWeeks(t *testing.T) {
	t.Parallel()
	pushTest(t, func(t *testing.T, p *pusher, m *chatstest.Market, shop *shopServer) {
		s := p.current()
		s.Speed = 600
		require.NoError(t, p.configure(s))
		p.announce(m, notify.ChatCreated{Chat: 1})
		time.Sleep(14*24*time.Hour/600 - time.Minute)
		assert.False(t, p.current().Off)
		time.Sleep(2 * time.Minute)
		assert.True(t, p.current().Off)
		p.announce(m, notify.ChatCreated{Chat: 2})
		n := len(shop.all())
		assert.InDelta(t, 60+92+13*24, n, 3)
		time.Sleep(time.Hour)
		assert.Len(t, shop.all(), n)

		shop.set(accepts(t))
		s.Off = false
		require.NoError(t, p.configure(s))
		synctest.Wait()
		assert.Equal(t, []string{"CHAT_CREATED delivered"}, states(p))
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
			pushTest(t, func(t *testing.T, p *pusher, m *chatstest.Market, shop *shopServer) {
				shop.set(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					if c.contentType != "" {
						w.Header().Set("Content-Type", c.contentType)
					}
					w.Header().Set("Location", "https://elsewhere.example/")
					w.WriteHeader(c.status)
					_, _ = io.WriteString(w, c.body)
				}))
				p.announce(m, notify.ChatCreated{Chat: 1})
				synctest.Wait()
				d := p.deliveries()[0]
				assert.Equal(t, c.state, d.State)
				assert.Equal(t, c.status, d.Attempts[0].Status)
				assert.Equal(t, c.state == stateDelivered || c.status == 400 || c.status == 500, d.Attempts[0].Wrong == "", d.Attempts[0].Wrong)
				assert.Len(t, shop.all(), 1, "redirects are not followed")
			})
		})
	}
}

func TestPush_WaitsTenSecondsAndOneForAPing(t *testing.T) {
	t.Parallel()
	pushTest(t, func(t *testing.T, p *pusher, m *chatstest.Market, shop *shopServer) {
		shop.set(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		p.announce(m, notify.Ping{})
		time.Sleep(time.Second + time.Millisecond)
		ping := p.deliveries()[0]
		assert.Equal(t, "PING retrying", ping.Type+" "+ping.State)
		p.drop(ping.N)
		p.announce(m, notify.ChatCreated{Chat: 1})
		time.Sleep(9 * time.Second)
		assert.Equal(t, []string{"CHAT_CREATED sending", "PING dropped"}, states(p))
		time.Sleep(2 * time.Second)
		assert.Equal(t, []string{"CHAT_CREATED retrying", "PING dropped"}, states(p))
	})
}

func TestPush_LostDoubledLate(t *testing.T) {
	t.Parallel()
	pushTest(t, func(t *testing.T, p *pusher, m *chatstest.Market, shop *shopServer) {
		shop.set(accepts(t))
		next := func(fate string) {
			s := p.current()
			s.Next = fate
			require.NoError(t, p.configure(s))
		}
		next("lost")
		p.announce(m, notify.ChatCreated{Chat: 1})
		next("doubled")
		p.announce(m, notify.ChatCreated{Chat: 2})
		synctest.Wait()
		assert.Equal(t, []string{"CHAT_CREATED delivered", "CHAT_CREATED delivered", "CHAT_CREATED lost"}, states(p))
		require.Len(t, shop.all(), 2)
		assert.Equal(t, shop.all()[0].body, shop.all()[1].body)

		next("late")
		p.announce(m, notify.ChatCreated{Chat: 3})
		p.announce(m, notify.ChatCreated{Chat: 4})
		synctest.Wait()
		require.Len(t, shop.all(), 3, "a late one lets others pass")
		assert.Contains(t, shop.all()[2].body, `"chatId":4`)
		time.Sleep(lateBy)
		synctest.Wait()
		require.Len(t, shop.all(), 4)
		assert.Contains(t, shop.all()[3].body, `"chatId":3`)
	})
}

func TestPush_IsBounded(t *testing.T) {
	t.Parallel()
	pushTest(t, func(t *testing.T, p *pusher, m *chatstest.Market, _ *shopServer) {
		for range maxQueue + 50 {
			p.announce(m, notify.ChatCreated{Chat: 1})
		}
		assert.Len(t, p.queue, maxQueue)
		assert.Equal(t, stateDropped, p.deliveries()[0].State)
		assert.Len(t, p.deliveries(), maxDeliveries)
		require.Error(t, p.configure(pushSettings{URL: "file:///etc/passwd", Speed: 1}))
		require.Error(t, p.configure(pushSettings{URL: "shop.example", Speed: 1}))
		require.Error(t, p.configure(pushSettings{Speed: 0}))
		require.Error(t, p.configure(pushSettings{Speed: 1, Next: "eaten"}))
	})
}

// The page's actions reach the shop as Market's notifications.
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
