package inbox_test

import (
	"context"
	"flag"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/inbox"
)

func TestMain(m *testing.M) {
	flag.Parse()
	goleak.VerifyTestMain(m)
}

// pass lets the bubble's time pass.
func pass(d time.Duration) { <-time.After(d) }

// delivered is a delivery and when it came.
type delivered struct {
	inbox.Delivery
	at time.Time
}

// notebook is a handler that remembers what it was given.
type notebook struct {
	mu   sync.Mutex
	seen []delivered
}

func (n *notebook) handle(_ context.Context, d inbox.Delivery) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seen = append(n.seen, delivered{d, time.Now()})
	return nil
}

func (n *notebook) all() []delivered {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]delivered(nil), n.seen...)
}

func (n *notebook) texts() []string {
	all := n.all()
	texts := make([]string, 0, len(all))
	for _, d := range all {
		texts = append(texts, d.Message.Text)
	}
	return texts
}

// journal is a log that is read while the inbox writes to it.
type journal struct {
	mu  sync.Mutex
	log strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.log.Write(p)
}

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.log.String()
}

// plain is a store without leases, as SQLite's is.
type plain struct{ inbox.Store }

func newInbox(t *testing.T, client *chats.Client, store inbox.Store, options ...inbox.Option) *inbox.Inbox {
	t.Helper()
	in, err := inbox.New(client, store, options...)
	require.NoError(t, err)
	return in
}

// running is a Run in a goroutine of its own.
type running struct {
	cancel context.CancelFunc
	done   chan error
}

type handler = func(context.Context, inbox.Delivery) error

func start(t *testing.T, in *inbox.Inbox, workers int, handle handler) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{cancel, make(chan error, 1)}
	require.NoError(t, in.Apply(inbox.WithWorkers(workers)))
	go func() { r.done <- in.Run(ctx, handle) }()
	t.Cleanup(cancel)
	return r
}

// stop ends it and gives what Run returned.
func (r *running) stop() error {
	r.cancel()
	return <-r.done
}

// end is what Run returns by itself.
func (r *running) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.done:
		return err
	case <-time.After(24 * time.Hour):
		require.Fail(t, "it goes on")
		return nil
	}
}

// longAgo is a chat that was quiet long before the test began.
func longAgo() chats.Chat {
	at := time.Now().Add(-1000 * time.Hour)
	return chats.Chat{CreatedAt: at, UpdatedAt: at}
}

// shop is a Market with one old chat that has one old message.
func shop(t *testing.T, options ...chatstest.Option) (*chatstest.Market, chats.ChatID) {
	t.Helper()
	market := chatstest.NewMarket(options...)
	id := market.AddChat(chats.Chat{})
	market.CustomerSays(id, "old")
	pass(time.Hour)
	return market, id
}
