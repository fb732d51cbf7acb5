package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/riverqueue/river/rivertype"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

const (
	handlerTimeout = 15 * time.Second
	shopTimeout    = 5 * time.Second
	shopLifetime   = 10 * time.Minute
	maxEntries     = 500
	inboxWorkers   = 2
	askInterval    = 15 * time.Second // for another credential, and before the same one is tried again
	maxTrouble     = 30 * time.Minute
	maxError       = 300 // runes
)

// entry is a shop in the cache.
type entry struct {
	inbox       *inbox.Inbox
	outbox      *outbox.Outbox
	fingerprint string
	until       time.Time
}

// entry returns a shop, from the cache unless it has to be requested again.
func (f *Fleet) entry(ctx context.Context, business chats.BusinessID, anew bool) (*entry, error) {
	f.mu.Lock()
	cached := f.entries[business]
	f.mu.Unlock()
	if cached != nil && !anew && time.Now().Before(cached.until) {
		return cached, nil
	}
	e, err := f.newEntry(ctx, business)
	if err != nil {
		return nil, fmt.Errorf("fleet: shop %d: %w", business, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.entries, func(chats.BusinessID, *entry) bool { return len(f.entries) >= maxEntries }) // any will do
	f.entries[business] = e
	return e, nil
}

func (f *Fleet) newEntry(ctx context.Context, business chats.BusinessID) (e *entry, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p) // it concerns one shop
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, shopTimeout)
	defer cancel()
	shop, err := f.ask(ctx, business)
	if err != nil {
		return nil, err
	}
	if shop.Client == nil || shop.Client.Business() != business {
		return nil, errors.New("no Client for this business")
	}
	e = &entry{until: time.Now().Add(shopLifetime)}
	if e.fingerprint, err = shop.Client.CredentialFingerprint(ctx); err != nil {
		return nil, err
	}
	inboxOptions := []inbox.Option{inbox.WithHandlerTimeout(handlerTimeout), inbox.WithWorkers(inboxWorkers), inbox.WithLogger(f.log)}
	if e.inbox, err = inbox.New(shop.Client, f.store, append(inboxOptions, shop.Inbox...)...); err != nil {
		return nil, err
	}
	e.outbox, err = outbox.New(shop.Client, wakingStore{f.store, f.outbox}, append([]outbox.Option{outbox.WithLogger(f.log)}, shop.Outbox...)...)
	return e, err
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
	until := time.Now().Add(min(askInterval<<min(t.Failures, 10), maxTrouble)).UTC().Truncate(time.Microsecond)
	return Trouble{t.Failures + 1, until, fingerprint, fmt.Sprintf("%.*s", maxError, err.Error())}
}
