// Package leasing keeps a lease while work is done under it, and stands by while another process
// holds it. The inbox and the outbox use it.
package leasing

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// MaxRenewal is the maximum interval between two renewals, and so the longest time before the
// holder notices work that another process has added to the store.
const MaxRenewal = time.Second

const (
	acquireTime = 30 * time.Second // generous, because a call may wait for a connection from a pool
	releaseTime = 5 * time.Second
)

var (
	// ErrUnsaved ends the term of a process that can renew its lease but save nothing else,
	// because the database may work for a standby.
	ErrUnsaved = errors.New("nothing could be saved for longer than the lease lasts")
	errExpired = errors.New("the lease could not be renewed in time")
	errEnded   = errors.New("the term was ended")
)

// Term is the period during which a lease is held.
//
// A term lasts for the duration of the lease from the moment at which the last successful
// renewal was sent, by the local monotonic clock. The store counts from a later moment, so the
// term ends before another holder can acquire the lease, unless the process was frozen. That
// is why the store also checks the lease with every save.
type Term[L any] struct {
	Lease    L
	Duration time.Duration
	Acquired time.Time // no earlier holder has begun work after this time

	// Ctx ends with the term.
	Ctx    context.Context //nolint:containedctx // the lease's lifetime, not a call's
	cancel context.CancelCauseFunc

	keeper     *Keeper[L]
	mu         sync.Mutex
	validUntil time.Time
}

// newTerm begins the term of a lease whose Acquire was sent at the given time. The term
// lasts beyond the end of ctx, until it is lost or ended.
func newTerm[L any](ctx context.Context, k *Keeper[L], lease L, sent time.Time) *Term[L] {
	t := &Term[L]{Lease: lease, Duration: k.Duration(lease), Acquired: time.Now(), keeper: k}
	t.Ctx, t.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	t.extend(sent)
	return t
}

// Keep renews the lease until the term ends. It calls onRenewal with the time returned by each
// successful renewal.
func (t *Term[L]) Keep(onRenewal func(time.Time)) {
	pause := min(MaxRenewal, t.Duration/5)
	expiry := time.AfterFunc(time.Until(t.validity()), t.expire)
	defer expiry.Stop()
	isFailing := false
	for sent := t.validity().Add(-t.Duration); t.Ctx.Err() == nil; {
		wait.Sleep(t.Ctx, time.Until(sent.Add(pause))) // after a slow renewal, the next follows immediately
		sent = time.Now()
		next, err := t.Renew()
		switch {
		case err == nil:
			t.extend(sent)
			expiry.Reset(time.Until(t.validity()))
			onRenewal(next)
			if isFailing {
				t.keeper.info(t.Ctx, "lease renewed after failures")
			}
			isFailing = false
		case errors.Is(err, t.keeper.Lost):
			t.Lose(err)
		case t.Ctx.Err() == nil:
			t.keeper.warn(t.Ctx, "renewing the lease failed", err, slog.Duration("retry_in", pause))
			isFailing = true
		}
	}
}

// Renew renews the lease in the store.
func (t *Term[L]) Renew() (next time.Time, err error) {
	ctx, cancel := context.WithTimeout(t.Ctx, t.Duration)
	defer cancel()
	return t.keeper.Store.Renew(ctx, t.Lease)
}

func (t *Term[L]) validity() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.validUntil
}

func (t *Term[L]) extend(sent time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.validUntil = sent.Add(t.Duration)
}

// expire ends a term that was not renewed in time.
func (t *Term[L]) expire() {
	if !time.Now().Before(t.validity()) {
		t.Lose(errExpired)
	}
}

// Lose ends the term because the lease is lost.
func (t *Term[L]) Lose(cause error) { t.cancel(cause) }

// IsValid reports whether the lease is valid now. It does not depend on a timer, because in a
// process that was frozen the timer may fire late.
func (t *Term[L]) IsValid() bool { return t.Ctx.Err() == nil && time.Now().Before(t.validity()) }

// End ends the term and calls release, which calls the store's Release or a method that
// includes it. If that fails, the lease expires.
func (t *Term[L]) End(ctx context.Context, release func(context.Context, L) error) {
	t.cancel(errEnded)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	if err := release(ctx, t.Lease); err != nil && !errors.Is(err, t.keeper.Lost) {
		t.keeper.warn(ctx, "releasing the lease failed", err)
	}
}
