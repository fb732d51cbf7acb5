package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"time"

	"github.com/riverqueue/river/rivertype"
	"golang.org/x/time/rate"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/callback"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

const (
	handlerTimeout = 15 * time.Second
	shopTimeout    = 5 * time.Second
	shopLifetime   = 10 * time.Minute
	maxEntries     = 500
	askInterval    = 15 * time.Second // before shop is called again after a refusal, and before the same credential is tried again
	maxAskInterval = 5 * time.Minute  // between calls to shop, while the credential is tried every maxBackoff
	maxBackoff     = 30 * time.Minute
	maxRate        = 300 // messages of a shop per second and process, see Shop
	maxBurst       = 500
)

// Shop is one business: its client, and the options of its inbox and outbox.
//
// Pass the same http.Client ([chats.WithHTTPClient]) to the clients of all shops, or to none of
// them. The handler timeout of an inbox is 15 s unless Inbox contains [inbox.WithHandlerTimeout];
// the context of a step ends after 36 s in any case. An inbox handles two chats concurrently unless
// Inbox contains [inbox.WithWorkers], so that one shop's backlog does not starve the others. For
// the same reason, each process handles at most about 300 messages of a shop a second, with bursts
// of 500: the hourly quota of getChatHistory, 10,000 pages of 100 messages, allows no more on
// average. By default, the inbox and the outbox use the fleet's logger.
type Shop struct {
	Client *chats.Client
	Inbox  []inbox.Option
	Outbox []outbox.Option
}

// entry is a shop in the cache.
type entry struct {
	inbox       *inbox.Inbox
	outbox      *outbox.Outbox
	fingerprint string
	until       time.Time
	refused     atomic.Bool // the Backoff may be gone: another process may have succeeded meanwhile
	messages    *rate.Limiter
}

// pace returns a handler that handles messages no faster than the limiter allows.
func (e *entry) pace(handle func(context.Context, inbox.Delivery) error) func(context.Context, inbox.Delivery) error {
	return func(ctx context.Context, d inbox.Delivery) error {
		_ = e.messages.Wait(ctx) // it fails only if ctx ends, or would end first; handle learns of that from ctx
		return handle(ctx, d)
	}
}

// entry returns a shop, from the cache unless shop has to be called again.
func (f *Fleet) entry(ctx context.Context, business chats.BusinessID, anew bool) (*entry, error) {
	f.mu.Lock()
	cached := f.entries[business]
	f.mu.Unlock()
	if cached != nil && !anew && !cached.refused.Load() && time.Now().Before(cached.until) {
		return cached, nil
	}
	// If shop or the credential's source panics or hangs, only this business is affected.
	e, call := &entry{until: time.Now().Add(shopLifetime), messages: rate.NewLimiter(maxRate, maxBurst)}, callback.Call{Name: "shop", Timeout: shopTimeout + time.Second}
	limited, cancel := context.WithTimeout(ctx, shopTimeout)
	defer cancel()
	if failed := call.Do(func() error { return f.fill(limited, business, e) }); failed != nil {
		return nil, fmt.Errorf("fleet: shop %d: %w", business, failed.Err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.entries, func(chats.BusinessID, *entry) bool { return len(f.entries) >= maxEntries }) // any will do
	f.entries[business] = e
	return e, nil
}

// fill calls shop and fills in the entry.
func (f *Fleet) fill(ctx context.Context, business chats.BusinessID, e *entry) error {
	shop, err := f.ask(ctx, business)
	if err != nil {
		return err
	}
	if shop.Client == nil || shop.Client.Business() != business {
		return errors.New("no Client for this business")
	}
	options := append([]inbox.Option{inbox.WithHandlerTimeout(handlerTimeout), inbox.WithWorkers(2), inbox.WithLogger(f.log)}, shop.Inbox...)
	var errs [3]error
	e.fingerprint, errs[0] = shop.Client.CredentialFingerprint(ctx)
	e.inbox, errs[1] = inbox.New(shop.Client, f.store, options...)
	e.outbox, errs[2] = outbox.New(shop.Client, wakingStore{f.store, f.outbox}, append([]outbox.Option{outbox.WithLogger(f.log)}, shop.Outbox...)...)
	return cmp.Or(errs[:]...)
}

// Backoff describes why a business is not being worked on; the zero value means that nothing is
// wrong. A Backoff is stored in the metadata of the ymchats_turn job, so the delays keep
// growing even if different processes work the job. The inbox and the outbox of a business have
// separate jobs and therefore separate Backoffs.
type Backoff struct {
	Failures    int       `json:"failures"`              // in a row
	Until       time.Time `json:"until,omitzero"`        // when the same credential is tried again
	Fingerprint string    `json:"fingerprint,omitempty"` // of the refused credential; empty if no Shop could be obtained
	Error       string    `json:"error,omitempty"`
}

// backoffOf reads the Backoff in a turn's metadata. It is zero if it cannot be read.
func backoffOf(turn *rivertype.JobRow) Backoff {
	var metadata struct {
		Backoff Backoff `json:"ymchats_backoff"`
	}
	_ = json.Unmarshal(turn.Metadata, &metadata)
	return metadata.Backoff
}

// holds reports whether to wait: the delay has not ended, and the credential is still the
// refused one. A delay far above the maximum was set by a wrong clock.
func (b Backoff) holds(fingerprint string) bool {
	return b.Fingerprint != "" && b.Fingerprint == fingerprint && time.Now().Before(b.Until) && time.Until(b.Until) < 2*maxBackoff
}

// nextAsk returns when to ask for another credential.
func (b Backoff) nextAsk() time.Time { return time.Now().Add(min(maxAskInterval, time.Until(b.Until))) }

// again returns the backoff after one more failure. The count starts over with another
// credential.
func (b Backoff) again(e *entry, err error) Backoff {
	fingerprint := cmp.Or(e, &entry{}).fingerprint // e is nil if there was no shop
	if b.Fingerprint != fingerprint {
		b.Failures = 0
	}
	until := time.Now().Add(min(askInterval<<min(uint(b.Failures), 10), maxBackoff)).UTC().Truncate(time.Microsecond)
	return Backoff{b.Failures + 1, until, fingerprint, fmt.Sprintf("%.300s", strings.ReplaceAll(err.Error(), "\x00", ""))}
}
