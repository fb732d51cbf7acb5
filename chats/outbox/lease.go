package outbox

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats/inbox"
)

// tenure is the period during which a lease is held. Its context ends with the tenure.
//
// A lease is relied on for its Duration from the moment at which the last successful
// renewal was sent, by the local monotonic clock. The store counts from a later moment, so
// the tenure ends here before another holder can acquire the lease.
type tenure struct {
	store Store
	lease inbox.Lease
	log   *slog.Logger
	began time.Time // every attempt of an earlier holder was begun before

	ctx    context.Context //nolint:containedctx // the lease's lifetime, not a call's
	cancel context.CancelCauseFunc

	mu         sync.Mutex
	validUntil time.Time
}

const (
	renewalInterval = time.Second
	storeTime       = 5 * time.Second  // for one statement
	maxSaving       = 10 * time.Second // for a record that cannot be saved
	graceTime       = 5 * time.Second  // for posts under way when a run ends
)

var (
	// errLost is returned for work that was discarded because the lease is lost.
	errLost    = errors.New("outbox: the lease is lost")
	errExpired = errors.New("outbox: the lease could not be renewed in time")
	// errUnsaved ends the tenure of a process that can renew its lease but write nothing else.
	errUnsaved = errors.New("outbox: an item could not be saved")
	errEnded   = errors.New("outbox: the tenure was ended")
)

// newTenure begins the tenure of a lease whose Acquire was sent at a time. It lasts beyond
// the end of ctx, until it is lost or ended.
func newTenure(ctx context.Context, store Store, lease inbox.Lease, sent time.Time, log *slog.Logger) *tenure {
	t := &tenure{store: store, lease: lease, log: log, began: time.Now(), validUntil: sent.Add(lease.Duration)}
	t.ctx, t.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	return t
}

// keep renews the lease until the tenure ends.
func (t *tenure) keep() {
	pause := min(renewalInterval, t.lease.Duration/5)
	expiry := time.AfterFunc(time.Until(t.validity()), t.expire)
	defer expiry.Stop()
	for t.ctx.Err() == nil {
		sleep(t.ctx, pause)
		sent := time.Now()
		switch err := t.renew(); {
		case err == nil:
			t.extend(sent)
			expiry.Reset(time.Until(t.validity()))
		case errors.Is(err, inbox.ErrLeaseLost):
			t.lose(err)
		case t.ctx.Err() == nil:
			t.log.LogAttrs(t.ctx, slog.LevelWarn, "outbox: renewing the lease failed",
				slog.Any("error", err), slog.Duration("retry_in", pause))
		}
	}
}

func (t *tenure) renew() error {
	ctx, cancel := context.WithTimeout(t.ctx, t.lease.Duration)
	defer cancel()
	_, err := t.store.Renew(ctx, t.lease)
	return err
}

func (t *tenure) validity() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.validUntil
}

func (t *tenure) extend(sent time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.validUntil = sent.Add(t.lease.Duration)
}

// expire ends a tenure that was not renewed in time.
func (t *tenure) expire() {
	if !time.Now().Before(t.validity()) {
		t.lose(errExpired)
	}
}

func (t *tenure) lose(cause error) { t.cancel(cause) }

// isValid reports whether the lease may be relied on now. It does not depend on a timer,
// which a process that was frozen may see late.
func (t *tenure) isValid() bool { return t.ctx.Err() == nil && time.Now().Before(t.validity()) }

// end releases the lease. If that fails, the lease expires.
func (t *tenure) end(ctx context.Context) {
	t.cancel(errEnded)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	if err := t.store.Release(ctx, t.lease); err != nil {
		t.log.LogAttrs(ctx, slog.LevelWarn, "outbox: releasing the lease failed", slog.Any("error", err))
	}
}
