package chats_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
	"github.com/ymchats/ymchats-go/gen"
)

// fixture is a Market with one chat and one message, and a client of it.
type fixture struct {
	market *chatstest.Market
	client *chats.Client
	chat   chats.ChatID
	first  chats.MessageID
}

func newFixture(tb testing.TB, options ...chats.Option) *fixture {
	tb.Helper()
	return newFixtureOn(tb, chatstest.NewMarket(), options...)
}

func newFixtureOn(tb testing.TB, market *chatstest.Market, options ...chats.Option) *fixture {
	tb.Helper()
	transport := &http.Client{Transport: contract.Transport(tb, market.Transport())}
	f := &fixture{market: market, client: market.Client(append([]chats.Option{chats.WithHTTPClient(transport)}, options...)...)}
	f.chat = market.AddChat(chats.Chat{Subject: chats.AboutOrder(100)})
	f.first = market.CustomerSays(f.chat, "Когда приедет заказ?")
	return f
}

// call makes the simplest call to op.
func (f *fixture) call(ctx context.Context, op chats.Operation) error {
	switch op {
	case chats.OpGetChats:
		_, err := f.client.ChatsPage(ctx, chats.Filter{}, chats.PageRequest{})
		return err
	case chats.OpGetChat:
		_, err := f.client.Chat(ctx, f.chat)
		return err
	case chats.OpGetChatHistory:
		_, err := f.client.HistoryPage(ctx, f.chat, 0, chats.PageRequest{})
		return err
	case chats.OpGetChatMessage:
		_, err := f.client.Message(ctx, f.chat, f.first)
		return err
	case chats.OpCreateChat:
		_, err := f.client.OpenChat(ctx, chats.AboutOrder(100))
		return err
	case chats.OpSendMessageToChat:
		return f.client.SendText(ctx, f.chat, "Завтра")
	case chats.OpSendFileToChat:
		return f.client.SendFile(ctx, f.chat, "photo.jpg", strings.NewReader("not really a photo"))
	}
	return fmt.Errorf("no call for %s", op)
}

// apiCall makes the simplest call to op through the generated client.
func (f *fixture) apiCall(ctx context.Context, op chats.Operation) (status int, err error) {
	api, business, chat := f.client.API(), int64(f.market.Business()), int64(f.chat)
	var resp interface{ StatusCode() int }
	switch op {
	case chats.OpGetChats:
		resp, err = api.GetChatsWithResponse(ctx, business, nil, gen.GetChatsRequest{})
	case chats.OpGetChat:
		resp, err = api.GetChatWithResponse(ctx, business, getChatParams(f.chat))
	case chats.OpGetChatHistory:
		resp, err = api.GetChatHistoryWithResponse(ctx, business, &gen.GetChatHistoryParams{ChatID: chat}, gen.GetChatHistoryRequest{})
	case chats.OpGetChatMessage:
		resp, err = api.GetChatMessageWithResponse(ctx, business, &gen.GetChatMessageParams{ChatID: chat, MessageID: int64(f.first)})
	case chats.OpCreateChat:
		resp, err = api.CreateChatWithResponse(ctx, business, gen.CreateChatRequest{Context: &gen.ChatContext{Type: gen.IdentifiableContextTypeOrder, ID: 100}})
	case chats.OpSendMessageToChat:
		resp, err = api.SendMessageToChatWithResponse(ctx, business, &gen.SendMessageToChatParams{ChatID: chat}, gen.SendMessageToChatRequest{Text: "Завтра"})
	case chats.OpSendFileToChat:
		form := "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\ncontent\r\n--b--\r\n"
		resp, err = api.SendFileToChatWithBodyWithResponse(ctx, business, &gen.SendFileToChatParams{ChatID: chat}, "multipart/form-data; boundary=b", strings.NewReader(form))
	}
	if err != nil {
		return 0, err
	}
	return resp.StatusCode(), nil
}

func getChatParams(chat chats.ChatID) *gen.GetChatParams {
	return &gen.GetChatParams{ChatID: int64(chat)}
}

// posted returns the number of messages that the shop has in the chat.
func (f *fixture) posted() (n int) {
	for _, m := range f.market.Messages(f.chat) {
		if m.Sender == chats.SenderPartner {
			n++
		}
	}
	return n
}

// callWithBody makes a call to op about chat 1 and message 1, and responds to it with 200 and body.
func callWithBody(t *testing.T, op chats.Operation, body string) (*fixture, error) {
	t.Helper()
	f := newFixture(t, noRetry)
	f.chat, f.first = 1, 1
	f.market.Fail(op, chatstest.Malformed(body))
	return f, f.call(t.Context(), op)
}

// newClient returns a client of the Market. Every exchange is checked against the
// contract.
func newClient(tb testing.TB, market *chatstest.Market, options ...chats.Option) *chats.Client {
	tb.Helper()
	return market.Client(append([]chats.Option{withContract(tb, market.Transport())}, options...)...)
}

// withContract makes a client use transport and checks every exchange against the
// contract.
func withContract(tb testing.TB, transport http.RoundTripper) chats.Option {
	tb.Helper()
	return chats.WithHTTPClient(&http.Client{Transport: contract.Transport(tb, transport)})
}

// noRetry limits every call to one attempt.
var noRetry = chats.WithRetry(chats.RetryPolicy{MaxAttempts: 1})

// roundTrip is an http.RoundTripper made of a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// respond returns a response without rate limit headers.
func respond(req *http.Request, status int, body string) *http.Response {
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Request: req,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// readBody returns the body of a response and closes it.
func readBody(resp *http.Response) string {
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	return string(body)
}

// requestLog records the requests of a client and their bodies.
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

func (l *requestLog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests, l.bodies = nil, nil
}

func (l *requestLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.requests)
}

// collect returns the items of a sequence and its error, which must be the last
// thing that is yielded.
func collect[T any](tb testing.TB, sequence iter.Seq2[T, error]) (items []T, failed error) {
	tb.Helper()
	for item, err := range sequence {
		require.NoError(tb, failed, "the sequence went on after an error")
		if failed = err; err == nil {
			items = append(items, item)
		}
	}
	return items, failed
}

// mustCollect returns the items of a sequence that must not fail.
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

// addChatWithMessages adds a chat with n messages of the customer.
func addChatWithMessages(market *chatstest.Market, n int) chats.ChatID {
	chat := market.AddChat(chats.Chat{})
	for i := range n {
		market.CustomerSays(chat, fmt.Sprintf("Вопрос %d", i))
	}
	return chat
}

// addOldChat adds a chat with n messages whose times prove the order of the history. It
// waits, in synctest time.
func addOldChat(market *chatstest.Market, n int) chats.ChatID {
	time.Sleep(time.Second) // a time without seconds proves nothing
	chat := addChatWithMessages(market, n)
	time.Sleep(10 * time.Minute)
	return chat
}

// historyPage returns the body of a getChatHistory response with these messages.
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
	return okBody(map[string]any{
		"context": map[string]any{"type": "DIRECT"}, "messages": list, "paging": paging(next),
	})
}

func paging(next string) map[string]string {
	if next == "" {
		return map[string]string{}
	}
	return map[string]string{"nextPageToken": next}
}

// okBody returns the body of a successful response.
func okBody(result any) string {
	body, err := json.Marshal(map[string]any{"status": "OK", "result": result})
	if err != nil {
		panic(err)
	}
	return string(body)
}

// forbidRequests returns an HTTP client that fails the test if it is used.
func forbidRequests(tb testing.TB) *http.Client {
	tb.Helper()
	return &http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
		tb.Errorf("a request was sent: %s %s", req.Method, req.URL)
		return respond(req, http.StatusOK, `{}`), nil
	})}
}

func isSend(op chats.Operation) bool {
	return op == chats.OpSendMessageToChat || op == chats.OpSendFileToChat
}

func times(n int, fault chatstest.Fault) []chatstest.Fault {
	faults := make([]chatstest.Fault, n)
	for i := range faults {
		faults[i] = fault
	}
	return faults
}

const envelope = `{"status":"ERROR","errors":[{"code":"SOME","message":"some reason"}]}`

// headerRewriter changes the headers of responses.
type headerRewriter struct {
	next   http.RoundTripper
	change func(http.Header)
}

func (r headerRewriter) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.next.RoundTrip(req)
	if err == nil {
		r.change(resp.Header)
	}
	return resp, err
}

// countingLimiter is a chats.Limiter that counts its calls.
type countingLimiter struct {
	calls atomic.Int32
	wait  func(context.Context) error
}

func (l *countingLimiter) Wait(ctx context.Context) error {
	l.calls.Add(1)
	return l.wait(ctx)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// sized returns a reader that has a Len method and nothing else.
func sized(content io.Reader, n int) io.Reader {
	return struct {
		io.Reader
		lengther
	}{content, lengther(n)}
}

type lengther int

func (l lengther) Len() int { return int(l) }

var (
	errDisk    = errors.New("the disk is gone")
	errLimiter = errors.New("not now")
)

type contextKey struct{}

const testSecret = "ACMA:TopSecretTopSecretTopSecretTopSecretTopS:0badcafe"

// variant is one of the ways in which Market may list a history.
type variant struct {
	name    string
	options []chatstest.Option
}

// historyVariants returns every order, each with an inclusive and an exclusive
// since, with duplicate items and with empty pages, and the combinations of these.
func historyVariants() []variant {
	variants := []variant{
		{"oldest first", []chatstest.Option{chatstest.WithOrder(chatstest.OldestFirst)}},
		{"newest first", []chatstest.Option{chatstest.WithOrder(chatstest.NewestFirst)}},
		{"newest page first", []chatstest.Option{chatstest.WithOrder(chatstest.NewestPageFirst)}},
	}
	for _, extra := range []struct {
		name   string
		option chatstest.Option
	}{
		{"exclusive since", chatstest.WithExclusiveSince()},
		{"duplicates", chatstest.WithDuplicates()},
		{"empty pages", chatstest.WithEmptyPages()},
	} {
		for _, v := range variants {
			variants = append(variants, variant{v.name + ", " + extra.name, append(slices.Clone(v.options), extra.option)})
		}
	}
	return variants
}

// newClientAt returns a client with the given base URL.
func newClientAt(t *testing.T, base string, credential chats.Credential, options ...chats.Option) *chats.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client, err := chats.New(1, credential, append([]chats.Option{
		chats.WithBaseURL(base), chats.WithHTTPClient(&http.Client{Transport: transport}),
	}, options...)...)
	require.NoError(t, err)
	return client
}

// download returns the content of the file at url.
func download(t *testing.T, client *chats.Client, url string) (string, error) {
	t.Helper()
	body, err := client.Download(t.Context(), chats.File{URL: url})
	if err != nil {
		assert.Nil(t, body)
		return "", err
	}
	data, err := io.ReadAll(body)
	require.NoError(t, err)
	require.NoError(t, body.Close())
	return string(data), nil
}

func randomBytes(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(data)
	return data
}

func sendFileParams(chat chats.ChatID) *gen.SendFileToChatParams {
	return &gen.SendFileToChatParams{ChatID: int64(chat)}
}
