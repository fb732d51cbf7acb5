package inbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
)

func TestMain(m *testing.M) {
	flag.Parse()
	goleak.VerifyTestMain(m)
}

// sleep is time.Sleep in a bubble, except that the race detector knows that what has happened in the
// meantime comes before what follows.
func sleep(d time.Duration) { <-time.After(d) }

// connect makes a client of the Market whose every exchange is held to the contract.
func connect(tb testing.TB, market *chatstest.Market) *chats.Client {
	tb.Helper()
	return connectVia(tb, market, market.Transport())
}

// connectVia makes a client of the Market behind a transport.
func connectVia(
	tb testing.TB, market *chatstest.Market, transport http.RoundTripper, options ...chats.Option,
) *chats.Client {
	tb.Helper()
	own := chats.WithHTTPClient(&http.Client{Transport: contract.Transport(tb, transport)})
	return market.Client(append([]chats.Option{own}, options...)...)
}

// roundTrip is a transport made of a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// edited lets edit change the results of good responses to an operation. They are marked
// as faults, as some break the contract.
func edited(market *chatstest.Market, path string, edit func(result map[string]any)) http.RoundTripper {
	next := market.Transport()
	return roundTrip(func(req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err != nil || resp.StatusCode != http.StatusOK || !strings.HasSuffix(req.URL.Path, path) {
			return resp, err
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return nil, err
		}
		var envelope map[string]any
		decoder := json.NewDecoder(bytes.NewReader(body))
		decoder.UseNumber()
		if err := decoder.Decode(&envelope); err == nil {
			edit(envelope["result"].(map[string]any)) //nolint:forcetypeassert // ours
			body, _ = json.Marshal(envelope)
		}
		resp.Header.Set(chatstest.FaultHeader, "edited")
		resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
		resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		return resp, nil
	})
}

// items are the objects of a list in a result.
func items(result map[string]any, name string) []map[string]any {
	list, _ := result[name].([]any)
	var all []map[string]any
	for _, item := range list {
		all = append(all, item.(map[string]any)) //nolint:forcetypeassert // ours
	}
	return all
}

// intercepted responds to a request itself where respond returns a response.
func intercepted(market *chatstest.Market, respond func(*http.Request) *http.Response) http.RoundTripper {
	next := market.Transport()
	return roundTrip(func(req *http.Request) (*http.Response, error) {
		if resp := respond(req); resp != nil {
			if req.Body != nil {
				_ = req.Body.Close()
			}
			return resp, nil
		}
		return next.RoundTrip(req)
	})
}

func respond(req *http.Request, status int, body string) *http.Response {
	header := http.Header{"Content-Type": {"application/json"}, chatstest.FaultHeader: {"test"}}
	return &http.Response{
		StatusCode: status, Header: header, Request: req,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// asksFor reports whether a request is for a path, of a chat if id is not 0.
func asksFor(req *http.Request, path string, id chats.ChatID) bool {
	return strings.HasSuffix(req.URL.Path, path) &&
		(id == 0 || req.URL.Query().Get("chatId") == strconv.FormatInt(int64(id), 10))
}

// seldom is for tests in which days pass.
var seldom = inbox.WithPollInterval(10 * time.Minute)

// delivered is a delivery and when it came.
type delivered struct {
	inbox.Delivery
	at time.Time
}

// recorder is a handler that remembers its deliveries.
type recorder struct {
	mu   sync.Mutex
	seen []delivered
}

func (n *recorder) handle(_ context.Context, d inbox.Delivery) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seen = append(n.seen, delivered{d, time.Now()})
	return nil
}

func (n *recorder) all() []delivered {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.seen)
}

func (n *recorder) texts() []string {
	all := n.all()
	texts := make([]string, 0, len(all))
	for _, d := range all {
		texts = append(texts, d.Message.Text)
	}
	return texts
}

// meanDelay returns the mean time from when messages were posted until they were handled.
func (n *recorder) meanDelay(posted map[chats.MessageID]time.Time) time.Duration {
	var total time.Duration
	all := n.all()
	for _, d := range all {
		total += d.at.Sub(posted[d.Message.ID])
	}
	return total / time.Duration(max(len(all), 1))
}

// logBuffer is a log that is read while the inbox writes to it.
type logBuffer struct {
	mu  sync.Mutex
	log strings.Builder
}

func (j *logBuffer) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.log.Write(p)
}

func (j *logBuffer) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.log.String()
}

func (j *logBuffer) lines(with string) (lines []string) {
	for line := range strings.Lines(j.text()) {
		if strings.Contains(line, with) {
			lines = append(lines, line)
		}
	}
	return lines
}

func (j *logBuffer) option() inbox.Option {
	return inbox.WithLogger(slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug})))
}

func newInbox(t *testing.T, client *chats.Client, store inbox.Store, options ...inbox.Option) *inbox.Inbox {
	t.Helper()
	in, err := inbox.New(client, store, options...)
	require.NoError(t, err)
	return in
}

type handler = func(context.Context, inbox.Delivery) error

// running is a Run in a goroutine of its own.
type running struct {
	cancel context.CancelFunc
	done   chan error
}

func start(t *testing.T, in *inbox.Inbox, handle handler) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{cancel, make(chan error, 1)}
	go func() { r.done <- in.Run(ctx, handle) }()
	t.Cleanup(cancel)
	return r
}

// startSteps is start where days pass: a Run renews its lease in every second of them.
func startSteps(t *testing.T, in *inbox.Inbox, handle handler) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{cancel, make(chan error, 1)}
	go func() {
		for ctx.Err() == nil {
			next, err := in.Step(ctx, handle)
			if err != nil && !errors.Is(err, ctx.Err()) { // a step may begin at the moment of the end
				r.done <- err
				return
			}
			select {
			case <-time.After(time.Until(next)):
			case <-ctx.Done():
			}
		}
		r.done <- nil
	}()
	t.Cleanup(cancel)
	return r
}

// stop ends it and returns what Run returned.
func (r *running) stop() error {
	r.cancel()
	return <-r.done
}

// end is what Run returns by itself within a day.
func (r *running) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.done:
		return err
	case <-time.After(24 * time.Hour):
		require.Fail(t, "Run goes on")
		return nil
	}
}

// longAgo is a chat that was quiet long before the test began.
func longAgo() chats.Chat {
	at := time.Now().Add(-1000 * time.Hour)
	return chats.Chat{CreatedAt: at, UpdatedAt: at}
}

// shop is a Market with one chat that has one old message, two days ago.
func shop(options ...chatstest.Option) (*chatstest.Market, chats.ChatID) {
	market := chatstest.NewMarket(options...)
	id := market.AddChat(chats.Chat{})
	market.CustomerSays(id, "old")
	sleep(48 * time.Hour)
	return market, id
}

// row is a chat's row.
func row(t *testing.T, store inbox.Store, market *chatstest.Market, id chats.ChatID) inbox.ChatState {
	t.Helper()
	rows, err := store.Chats(t.Context(), market.Business(), []chats.ChatID{id})
	require.NoError(t, err)
	require.Len(t, rows, 1, "rows of chat %d", id)
	return rows[0]
}

func wake(t *testing.T, in *inbox.Inbox, id chats.ChatID) {
	t.Helper()
	assert.NoError(t, in.Wake(t.Context(), id))
}

func numbers(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = strconv.Itoa(i)
	}
	return all
}

// sinceOf is the messageIdFrom of a request, whose body can be read again.
func sinceOf(t *testing.T, req *http.Request) chats.MessageID {
	t.Helper()
	body, err := io.ReadAll(req.Body)
	assert.NoError(t, err)
	req.Body = io.NopCloser(bytes.NewReader(body))
	var asked struct {
		MessageIDFrom chats.MessageID `json:"messageIdFrom"`
	}
	assert.NoError(t, json.Unmarshal(body, &asked))
	return asked.MessageIDFrom
}
