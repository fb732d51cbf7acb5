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
	askInterval    = 15 * time.Second // for another credential, and before the same one is tried again
	maxTrouble     = 30 * time.Minute
)

// entry is a shop in the cache.
type entry struct {
	inbox       *inbox.Inbox
	outbox      *outbox.Outbox
	fingerprint string
	until       time.Time
	refused     atomic.Bool // another process may serve the business meanwhile
}

// entry returns a shop, from the cache unless it has to be requested again.
func (f *Fleet) entry(ctx context.Context, business chats.BusinessID, anew bool) (*entry, error) {
	f.mu.Lock()
	cached := f.entries[business]
	f.mu.Unlock()
	if cached != nil && !anew && !cached.refused.Load() && time.Now().Before(cached.until) {
		return cached, nil
	}
	// What shop and the credential's source do concerns one shop, even if they panic or hang.
	e, call := &entry{until: time.Now().Add(shopLifetime)}, callback.Call{Name: "shop", Timeout: shopTimeout + time.Second}
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

// fill fills in what shop returns.
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

// Trouble describes why a business is not being worked on; the zero value means that it is.
// It is stored in the metadata of the ymchats_turn job, so that the delays grow whichever
// process works the job. Inbox and outbox have one each, because each has such a job.
type Trouble struct {
	Failures    int       `json:"failures"`              // in a row
	Until       time.Time `json:"until,omitzero"`        // when the same credential is tried again
	Fingerprint string    `json:"fingerprint,omitempty"` // of the refused credential; empty if there was no shop
	Error       string    `json:"error,omitempty"`
}

// troubleOf reads a turn's metadata. What it cannot read is no trouble.
func troubleOf(turn *rivertype.JobRow) Trouble {
	var metadata struct {
		Trouble Trouble `json:"ymchats_trouble"`
	}
	_ = json.Unmarshal(turn.Metadata, &metadata)
	return metadata.Trouble
}

// holds reports whether to wait: the delay is not over, and the credential is the refused
// one.
func (t Trouble) holds(fingerprint string) bool {
	return t.Fingerprint != "" && t.Fingerprint == fingerprint && time.Now().Before(t.Until)
}

// nextAsk returns when to ask whether there is another credential.
func (t Trouble) nextAsk() time.Time { return time.Now().Add(min(askInterval, time.Until(t.Until))) }

// again returns the trouble after one more failure. Another credential starts over.
func (t Trouble) again(e *entry, err error) Trouble {
	fingerprint := cmp.Or(e, &entry{}).fingerprint // e is nil if there was no shop
	if t.Fingerprint != fingerprint {
		t.Failures = 0
	}
	until := time.Now().Add(min(askInterval<<min(uint(t.Failures), 10), maxTrouble)).UTC().Truncate(time.Microsecond)
	return Trouble{t.Failures + 1, until, fingerprint, fmt.Sprintf("%.300s", strings.ReplaceAll(err.Error(), "\x00", ""))}
}
