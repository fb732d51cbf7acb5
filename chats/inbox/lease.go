package inbox

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// tenure is the period during which a lease is held. Its context ends with the tenure.
//
// A lease is relied on for its Duration from the moment at which the last successful
// renewal was sent, by the local monotonic clock. The store counts from a later moment, so
// the tenure ends here before another holder can acquire the lease, unless the process was
// frozen, which the check in every Save covers.
type tenure struct {
	store Store
	lease Lease
	log   *slog.Logger
	next  func(time.Time) // is called with the earliest DueAt after every renewal

	ctx    context.Context //nolint:containedctx // the lease's lifetime, not a call's
	cancel context.CancelCauseFunc

	mu         sync.Mutex
	validUntil time.Time
	savedAt    time.Time // when rows were last written
}

// maxRenewal is the maximum interval between two renewals, and so the longest time that a
// push received by another process waits.
const maxRenewal = time.Second

// newTenure begins the tenure of a lease whose Acquire was sent at a time. It lasts beyond
// the end of ctx, until it is lost or ended.
func newTenure(ctx context.Context, store Store, lease Lease, sent time.Time, log *slog.Logger) *tenure {
	t := &tenure{store: store, lease: lease, log: log, validUntil: sent.Add(lease.Duration), savedAt: sent}
	t.ctx, t.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	return t
}

// keep renews the lease until the tenure ends.
func (t *tenure) keep() {
	pause := min(maxRenewal, t.lease.Duration/5)
	expiry := time.AfterFunc(time.Until(t.validity()), func() { t.expire() })
	defer expiry.Stop()
	for t.ctx.Err() == nil {
		sleep(t.ctx, pause)
		sent := time.Now()
		next, err := t.renew()
		switch {
		case err == nil:
			t.extend(sent)
			expiry.Reset(time.Until(t.validity()))
			t.next(next)
		case errors.Is(err, ErrLeaseLost):
			t.lose(err)
		case t.ctx.Err() == nil:
			t.log.LogAttrs(t.ctx, slog.LevelWarn, "inbox: renewing the lease failed",
				slog.Any("error", err), slog.Duration("retry_in", pause))
		}
	}
}

func (t *tenure) renew() (time.Time, error) {
	ctx, cancel := context.WithTimeout(t.ctx, t.lease.Duration)
	defer cancel()
	return t.store.Renew(ctx, t.lease)
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

var (
	errExpired = errors.New("inbox: the lease could not be renewed in time")
	// errUnsaved ends the tenure of a process that can renew its lease but write nothing
	// else: a standby may reach a database that works.
	errUnsaved = errors.New("inbox: nothing could be saved for longer than the lease lasts")
	errEnded   = errors.New("inbox: the tenure was ended")
)

func (t *tenure) lose(cause error) { t.cancel(cause) }

// isValid reports whether the lease may be relied on now.
func (t *tenure) isValid() bool {
	return t.ctx.Err() == nil && time.Now().Before(t.validity())
}

func (t *tenure) saved() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.savedAt = time.Now()
}

// unsavedFor returns for how long nothing could be written, as seen by a save that began
// at a time.
func (t *tenure) unsavedFor(began time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.savedAt.After(began) {
		began = t.savedAt
	}
	return time.Since(began)
}

// end releases the lease. If that fails, the lease expires.
func (t *tenure) end(ctx context.Context) {
	t.cancel(errEnded)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), graceTime)
	defer cancel()
	if err := t.store.Release(ctx, t.lease); err != nil {
		t.log.LogAttrs(ctx, slog.LevelWarn, "inbox: releasing the lease failed", slog.Any("error", err))
	}
}
