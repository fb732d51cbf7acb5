package chats_test

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
)

// connect makes a client of the Market whose every exchange is held to the contract.
func newClient(tb testing.TB, market *chatstest.Market, options ...chats.Option) *chats.Client {
	tb.Helper()
	return market.Client(append([]chats.Option{withContract(tb, market.Transport())}, options...)...)
}

// through puts a transport, held to the contract, under a client.
func withContract(tb testing.TB, transport http.RoundTripper) chats.Option {
	tb.Helper()
	return chats.WithHTTPClient(&http.Client{Transport: contract.Transport(tb, transport)})
}

// once is the policy of tests that want one request and no more.
var noRetry = chats.WithRetry(chats.RetryPolicy{MaxAttempts: 1})

// roundTrip is a transport made of a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// respond makes an answer, in the way of a server that says nothing of limits.
func respond(req *http.Request, status int, body string) *http.Response {
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Request: req,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// requestLog keeps what a client sent: its requests, with their bodies.
type requestLog struct {
	next http.RoundTripper

	mu       sync.Mutex
	requests []*http.Request
	bodies   []string
}

func (l *requestLog) RoundTrip(req *http.Request) (*http.Response, error) {
	body := ""
	if req.Body != nil {
		read, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		body = string(read)
		req.Body = io.NopCloser(strings.NewReader(body))
	}
	l.mu.Lock()
	l.requests, l.bodies = append(l.requests, req.Clone(req.Context())), append(l.bodies, body)
	l.mu.Unlock()
	return l.next.RoundTrip(req)
}

func (l *requestLog) last(tb testing.TB) (*http.Request, string) {
	tb.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	require.NotEmpty(tb, l.requests, "no request was sent")
	return l.requests[len(l.requests)-1], l.bodies[len(l.bodies)-1]
}

func (l *requestLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.requests)
}

// read ranges over a sequence and gives its items, and its error, which must be the
// last that is yielded.
func collect[T any](tb testing.TB, sequence iter.Seq2[T, error]) (items []T, failed error) {
	tb.Helper()
	for item, err := range sequence {
		require.NoError(tb, failed, "something is yielded after an error")
		if failed = err; err == nil {
			items = append(items, item)
		}
	}
	return items, failed
}

// readAll ranges over a sequence that must not fail.
func mustCollect[T any](tb testing.TB, sequence iter.Seq2[T, error]) []T {
	tb.Helper()
	items, err := collect(tb, sequence)
	require.NoError(tb, err)
	return items
}

func messageIDs(messages []chats.Message) []chats.MessageID {
	ids := make([]chats.MessageID, len(messages))
	for i, m := range messages {
		ids[i] = m.ID
	}
	return ids
}

func chatIDs(list []chats.Chat) []chats.ChatID {
	ids := make([]chats.ChatID, len(list))
	for i, c := range list {
		ids[i] = c.ID
	}
	return ids
}

// talk lets a buyer write n messages into a new chat.
func addChatWithMessages(market *chatstest.Market, n int) chats.ChatID {
	chat := market.AddChat(chats.Chat{})
	for i := range n {
		market.CustomerSays(chat, fmt.Sprintf("Вопрос %d", i))
	}
	return chat
}

// historyPage is the body of an answer with these messages.
func historyPage(next string, ids ...int) string {
	type message struct {
		ID        int       `json:"messageId"`
		CreatedAt time.Time `json:"createdAt"`
		Sender    string    `json:"sender"`
	}
	list := make([]message, len(ids))
	for i, id := range ids {
		list[i] = message{id, time.Unix(int64(id), 0).UTC(), "CUSTOMER"}
	}
	return ok(map[string]any{
		"context": map[string]any{"type": "DIRECT"}, "messages": list, "paging": paging(next),
	})
}

func paging(next string) map[string]string {
	if next == "" {
		return map[string]string{}
	}
	return map[string]string{"nextPageToken": next}
}

// ok is the envelope of a success.
func ok(result any) string {
	body, err := json.Marshal(map[string]any{"status": "OK", "result": result})
	if err != nil {
		panic(err)
	}
	return string(body)
}

// unreachable is a client that nothing may be sent with.
func forbidRequests(tb testing.TB) *http.Client {
	tb.Helper()
	return &http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
		tb.Errorf("a request was sent: %s %s", req.Method, req.URL)
		return respond(req, http.StatusOK, `{}`), nil
	})}
}
