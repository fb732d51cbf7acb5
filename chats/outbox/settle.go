package outbox

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/callback"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// outcome is the result of a worker's turn at a chat.
type outcome struct {
	chat     chats.ChatID
	isEmpty  bool      // the chat has no unsettled item
	isKnown  bool      // the head has been read and remains unsettled
	isFile   bool      // the head is a file
	dueAt    time.Time // when the head is due
	searchAt time.Time // when an earlier attempt is searched for again
	notAfter time.Time // of the head, if it is Queued
	waits    bool      // the head could not be posted yet, so the chat keeps its turn
	settled  *Record   // to be reported
}

// unsettled returns the outcome of a turn at a head that remains unsettled.
func unsettled(r *Record, waits bool) outcome {
	return outcome{isKnown: true, isFile: r.Item.IsFile(), dueAt: r.DueAt, notAfter: r.notAfter(), waits: waits}
}

// settle saves a settled record. The outcome contains the record if it is to be reported.
func (s *session) settle(r *Record) (outcome, error) {
	if r.Reported = s.config.settled == nil; r.State != Sent {
		s.warnItem("outbox: item is "+string(r.State), r, r.result().Err)
	}
	if err := s.save(r); err != nil {
		return outcome{}, err
	}
	s.attempted.remove(r)
	if r.Reported {
		return outcome{}, nil
	}
	r.Item.File = nil
	return outcome{settled: r}, nil
}

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
		r.DueAt = time.Now().Add(wait.Backoff(r.Reports, maxReportDelay))
		s.warnItem("outbox: reporting failed", r, err, slog.Time("again_at", r.DueAt))
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
