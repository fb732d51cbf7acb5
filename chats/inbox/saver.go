package inbox

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/leasing"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

const (
	graceTime = 5 * time.Second  // for saves after the end of a run
	callTime  = 30 * time.Second // for one call to the store, if the lease lasts that long
	maxSaving = 2 * time.Minute  // for rows that cannot be saved while others can
)

// saver saves rows under a lease and retries while the store fails.
type saver struct {
	store Store
	term  *leasing.Term[Lease]
	log   *slog.Logger

	savedAt atomic.Pointer[time.Time] // when rows were last written
}

// save saves rows. It returns ErrLeaseLost if the lease is lost or was given up, ErrConflict if
// the rows in the store have changed, and the store's error if the rows cannot be saved within
// maxSaving or, once ctx is done, within graceTime.
func (s *saver) save(ctx context.Context, business *BusinessState, rows ...*ChatState) error {
	began := time.Now()
	for failures := 1; ; failures++ {
		err := s.attempt(ctx, business, rows)
		switch {
		case err == nil:
			now := time.Now()
			s.savedAt.Store(&now)
			if failures > 1 {
				s.log.LogAttrs(ctx, slog.LevelInfo, "inbox: saved after failures")
			}
			return nil
		case errors.Is(err, ErrLeaseLost):
			s.term.Lose(err)
			return ErrLeaseLost
		case errors.Is(err, ErrConflict):
			if s.adoptSaved(business, rows) {
				return nil
			}
			return ErrConflict
		case s.term.Ctx.Err() != nil:
			return ErrLeaseLost
		case ctx.Err() != nil && time.Since(began) > graceTime, time.Since(began) > maxSaving && s.savedAt.Load().After(began):
			return err
		case time.Since(wait.Later(began, *s.savedAt.Load())) > s.term.Duration:
			s.term.Lose(leasing.ErrUnsaved)
			return ErrLeaseLost
		}
		pause := min(wait.Backoff(failures, wait.Max)/10, time.Second)
		s.log.LogAttrs(ctx, slog.LevelWarn, "inbox: save failed", slog.Any("error", err), slog.Duration("retry_in", pause))
		wait.Sleep(s.term.Ctx, pause)
	}
}

func (s *saver) attempt(ctx context.Context, business *BusinessState, rows []*ChatState) error {
	bounded, cancel := context.WithTimeout(s.term.Ctx, callTime)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(graceTime, cancel) })()
	batch := make([]ChatState, len(rows))
	for i, row := range rows {
		batch[i] = *row
	}
	if err := s.store.Save(bounded, s.term.Lease, business, batch); err != nil {
		return err
	}
	for i, row := range rows {
		row.Version = batch[i].Version
	}
	return nil
}

// adoptSaved reports whether a conflict is with an attempt that succeeded although its response was
// lost, and if so adopts the stored versions. The store itself may have made another attempt.
// Checking one row is enough: all are written together, and only the holder of the lease increments
// a version.
func (s *saver) adoptSaved(business *BusinessState, rows []*ChatState) bool {
	ctx, id := s.term.Ctx, s.term.Lease.Business
	if business != nil {
		stored, err := s.store.Business(ctx, id)
		if err != nil || stored.Version != business.Version+1 {
			return false
		}
		business.Version++
	} else if len(rows) > 0 {
		stored, err := s.store.Chats(ctx, id, []chats.ChatID{rows[0].Chat})
		if err != nil || len(stored) != 1 || stored[0].Version != rows[0].Version+1 {
			return false
		}
	}
	for _, row := range rows {
		row.Version++
	}
	return true
}
