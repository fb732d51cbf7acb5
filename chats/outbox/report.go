package outbox

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/callback"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// report calls the WithSettled function for a record and saves the result. It returns when to
// call the function again, or the zero time if it need not be called again.
func (s *session) report(ctx context.Context, r *Record) (again time.Time) {
	select {
	case s.settling <- struct{}{}:
		defer func() { <-s.settling }()
	default: // a call made by an earlier session has not returned
		return time.Now().Add(time.Second)
	}
	if err := s.callSettled(ctx, r); err == nil {
		r.Reported, r.DueAt = true, time.Time{}
	} else {
		r.Reports++
		delay := wait.Backoff(r.Reports, maxReportDelay)
		r.DueAt = time.Now().Add(delay)
		s.warnItem("outbox: reporting failed", r, err, slog.Duration("retry_in", delay))
	}
	if s.save(r) != nil {
		return time.Now() // the lease is lost, or the item was resolved meanwhile: report it again
	}
	return r.DueAt
}

// callSettled calls the WithSettled function. It logs if the function does not return.
func (s *session) callSettled(ctx context.Context, r *Record) error {
	call := callback.Call{Name: "the WithSettled function", Slow: func(running time.Duration) {
		s.warnItem("outbox: WithSettled still running, nothing else is reported", r, nil, slog.Duration("for", running))
	}}
	if failed := call.Do(func() error { return s.config.settled(ctx, r.result()) }); failed != nil {
		return failed
	}
	return nil
}

// reportKey reads an item from the store and reports it if that is due.
func (s *session) reportKey(ctx context.Context, key string) (again time.Time) {
	limited, cancel := context.WithTimeout(s.term.Ctx, storeTime)
	defer cancel()
	r, err := s.store.Item(limited, s.client.Business(), key)
	switch {
	case err != nil && !errors.Is(err, ErrUnknownKey):
		s.log.LogAttrs(ctx, slog.LevelWarn, "outbox: reading an item to report failed", slog.String("key", key), slog.Any("error", err))
		return time.Now().Add(time.Second)
	case err != nil || !r.State.IsSettled() || r.Reported || dueAt(r.DueAt, time.Now(), maxReportDelay).After(time.Now()):
		return r.DueAt
	}
	return s.report(ctx, &r)
}
