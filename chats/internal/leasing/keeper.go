package leasing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// maxAcquireFailures is the number of consecutive failed acquisitions, over about half a minute,
// after which a store is considered unusable if it has neither granted the lease nor named its
// holder before. Otherwise the store is considered temporarily down.
const maxAcquireFailures = 6

// Store keeps leases of type L.
type Store[L any] interface {
	Acquire(ctx context.Context, business chats.BusinessID, purpose, holder string) (L, error)
	Renew(ctx context.Context, lease L) (next time.Time, err error)
	Release(ctx context.Context, lease L) error
}

// Held is what a store reports about a lease held by another holder.
type Held struct {
	Holder    string
	Since     time.Time
	ExpiresIn time.Duration
}

// FinalError ends a run.
type FinalError struct{ error }

// Final returns err wrapped in a [FinalError].
func Final(err error) error { return &FinalError{err} }

// Unwrap returns the wrapped error.
func (e *FinalError) Unwrap() error { return e.error }

// Keeper runs work under the lease of one business and purpose.
type Keeper[L any] struct {
	Store    Store[L]
	Business chats.BusinessID
	Purpose  string // of the lease; errors and log lines begin with it
	Holder   string
	Log      *slog.Logger
	Duration func(L) time.Duration
	Held     func(error) *Held // returns nil unless an error of Acquire means that the lease is held
	Lost     error             // the store's error for a lost lease
}

// NewHolder returns a human-readable name for a holder that is unique among all processes.
func NewHolder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%d/%08x", host, os.Getpid(), rand.Uint32())
}

// Run runs work under one lease after another until ctx is done, and then returns nil. It ends
// sooner if work returns nil or a [FinalError], or if the store fails maxAcquireFailures times
// when Run first tries to acquire the lease. work must end the term passed to it.
func (k *Keeper[L]) Run(ctx context.Context, work func(context.Context, *Term[L]) error) error {
	isFirst := true
	for failures := 1; ; failures++ {
		t, err := k.await(ctx, isFirst)
		if err != nil || t == nil {
			return err
		}
		isFirst = false
		began := time.Now()
		err = work(ctx, t)
		var final *FinalError
		switch {
		case err == nil, errors.As(err, &final):
			return err
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the context is done, which is not an error
		case time.Since(began) > wait.Max:
			failures = 1
		}
		delay := wait.Backoff(failures, wait.Max)
		if cause := context.Cause(t.Ctx); cause != nil && errors.Is(err, k.Lost) {
			err = cause
		}
		if errors.Is(err, ErrUnsaved) {
			delay = max(delay, min(2*t.Duration, wait.Max)) // the database may work for a standby
		}
		k.warn(ctx, "work interrupted", err, slog.Duration("retry_in", delay))
		wait.Sleep(ctx, delay)
	}
}

// Once runs work under one lease. next is the time returned by work, postponed if work fails, or
// the time at which to try again if the lease cannot be acquired.
func (k *Keeper[L]) Once(
	ctx context.Context, work func(context.Context, *Term[L]) (time.Time, error),
) (next time.Time, err error) {
	t, err := k.acquire(ctx)
	if held := k.Held(err); held != nil {
		return time.Now().Add(max(held.ExpiresIn, time.Second)), err
	}
	if err != nil {
		return time.Now().Add(wait.Max), fmt.Errorf("%s: acquire the lease: %w", k.Purpose, err)
	}
	next, err = work(ctx, t)
	var final *FinalError
	switch {
	case err == nil:
		return next, nil
	case errors.As(err, &final):
		return wait.Later(next, time.Now().Add(wait.Max)), err
	}
	return wait.Later(next, time.Now().Add(time.Second)), err
}

// await stands by until it has acquired the lease. It returns nil if ctx is done first.
func (k *Keeper[L]) await(ctx context.Context, isFirst bool) (*Term[L], error) {
	var standingBy string
	for failures := 0; ctx.Err() == nil; {
		t, err := k.acquire(ctx)
		held := k.Held(err)
		switch {
		case err == nil:
			if standingBy != "" {
				k.info(ctx, "taking over", slog.String("from", standingBy))
			} else if !isFirst || failures > 0 {
				k.info(ctx, "lease acquired")
			}
			return t, nil
		case ctx.Err() != nil:
		case held != nil:
			failures, isFirst = 0, false
			if standingBy != held.Holder {
				standingBy = held.Holder
				k.info(ctx, "standing by", slog.String("holder", held.Holder), slog.Time("since", held.Since))
			}
			wait.Sleep(ctx, min(max(held.ExpiresIn, 0), MaxRenewal)+time.Millisecond)
		default:
			if failures++; isFirst && failures >= maxAcquireFailures {
				return nil, fmt.Errorf("%s: acquire the lease: %w", k.Purpose, err)
			}
			delay := wait.Backoff(failures, wait.Max)
			k.warn(ctx, "acquiring the lease failed", err, slog.Duration("retry_in", delay))
			wait.Sleep(ctx, delay)
		}
	}
	return nil, nil //nolint:nilnil // the context is done, which is not an error
}

func (k *Keeper[L]) acquire(ctx context.Context) (*Term[L], error) {
	sent := time.Now()
	limited, cancel := context.WithTimeout(ctx, acquireTime)
	defer cancel()
	lease, err := k.Store.Acquire(limited, k.Business, k.Purpose, k.Holder)
	if err != nil {
		return nil, err
	}
	return newTerm(ctx, k, lease, sent), nil
}

func (k *Keeper[L]) info(ctx context.Context, text string, attrs ...slog.Attr) {
	k.Log.LogAttrs(ctx, slog.LevelInfo, k.Purpose+": "+text, attrs...)
}

func (k *Keeper[L]) warn(ctx context.Context, text string, err error, attrs ...slog.Attr) {
	k.Log.LogAttrs(ctx, slog.LevelWarn, k.Purpose+": "+text, append([]slog.Attr{slog.Any("error", err)}, attrs...)...)
}
