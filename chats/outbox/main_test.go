package outbox_test

import (
	"context"
	"flag"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
	"github.com/ymchats/ymchats-go/chats/outbox"
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
	return market.Client(chats.WithHTTPClient(&http.Client{Transport: contract.Transport(tb, market.Transport())}))
}

func newOutbox(tb testing.TB, client *chats.Client, store outbox.Store, options ...outbox.Option) *outbox.Outbox {
	tb.Helper()
	o, err := outbox.New(client, store, options...)
	require.NoError(tb, err)
	return o
}

// running is a Run in a goroutine of its own.
type running struct {
	cancel context.CancelFunc
	done   chan error
}

func start(t *testing.T, o *outbox.Outbox) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{cancel, make(chan error, 1)}
	go func() { r.done <- o.Run(ctx) }()
	t.Cleanup(cancel)
	return r
}

// stop ends it and returns what Run returned.
func (r *running) stop() error {
	r.cancel()
	return <-r.done
}

// settled is a WithSettled function that remembers what it is called with.
type settled struct {
	mu   sync.Mutex
	seen []outbox.Result
}

func (s *settled) call(_ context.Context, r outbox.Result) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, r)
	return nil
}

func (s *settled) option() outbox.Option { return outbox.WithSettled(s.call) }

func (s *settled) keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := make([]string, 0, len(s.seen))
	for _, r := range s.seen {
		keys = append(keys, r.Item.Key+" "+string(r.State))
	}
	return keys
}

// posted are the texts and file names that the shop has posted to a chat, in order.
func posted(market *chatstest.Market, chat chats.ChatID) []string {
	var all []string
	for _, m := range market.Messages(chat) {
		switch {
		case m.Sender != chats.SenderPartner:
		case len(m.Files) > 0:
			all = append(all, m.Files[0].Name)
		default:
			all = append(all, m.Text)
		}
	}
	return all
}

func text(key string, chat chats.ChatID) outbox.Item {
	return outbox.Item{Key: key, Chat: chat, Text: key}
}

func file(key string, chat chats.ChatID) outbox.Item {
	return outbox.Item{Key: key, Chat: chat, FileName: key, File: []byte("content of " + key)}
}

func put(t *testing.T, o *outbox.Outbox, items ...outbox.Item) {
	t.Helper()
	require.NoError(t, o.Put(t.Context(), items...))
}

func get(t *testing.T, o *outbox.Outbox, key string) outbox.Result {
	t.Helper()
	result, err := o.Get(t.Context(), key)
	require.NoError(t, err, key)
	return result
}

// awaitState waits for a state, for a day at most.
func awaitState(t *testing.T, o *outbox.Outbox, key string, state outbox.State) outbox.Result {
	t.Helper()
	for range 24 * 60 * 60 {
		if r := get(t, o, key); r.State == state {
			return r
		}
		sleep(time.Second)
	}
	require.Fail(t, "not reached", "%s is %s and not %s", key, get(t, o, key).State, state)
	return outbox.Result{}
}
