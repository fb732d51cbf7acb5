package outbox

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/leasing"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// save saves a record under the lease and retries while the store fails. The error is
// inbox.ErrLeaseLost if the lease is lost or was given up, ErrConflict if the item was resolved
// meanwhile, or ErrMessageTaken.
func (s *session) save(r *Record) error {
	began, uncertain := time.Now(), false
	for failures := 1; ; failures++ {
		err := s.trySave(r)
		switch {
		case err == nil, errors.Is(err, ErrMessageTaken):
			return err
		case errors.Is(err, inbox.ErrLeaseLost):
			s.term.Lose(err)
			return inbox.ErrLeaseLost
		case errors.Is(err, ErrConflict):
			if uncertain && s.adoptSaved(r) {
				return nil
			}
			return ErrConflict
		case s.term.Ctx.Err() != nil:
			return inbox.ErrLeaseLost
		case time.Since(began) > maxSaving:
			s.term.Lose(leasing.ErrUnsaved)
			return inbox.ErrLeaseLost
		}
		uncertain = true
		pause := min(wait.Backoff(failures, wait.Max)/10, time.Second)
		s.warnItem("outbox: save failed", r, err, slog.Duration("retry_in", pause))
		wait.Sleep(s.term.Ctx, pause)
	}
}

func (s *session) trySave(r *Record) error {
	ctx, cancel := context.WithTimeout(s.term.Ctx, storeTime)
	defer cancel()
	return s.store.SaveItem(ctx, s.term.Lease, r)
}

// adoptSaved reports whether an attempt succeeded although it returned an error, and if so adopts the
// stored version. A concurrent resolution would have left a different state or number of attempts.
func (s *session) adoptSaved(r *Record) bool {
	ctx, cancel := context.WithTimeout(s.term.Ctx, storeTime)
	defer cancel()
	stored, err := s.store.Item(ctx, r.Business, r.Item.Key)
	if err != nil || stored.Version != r.Version+1 || stored.State != r.State || stored.Attempts != r.Attempts {
		return false
	}
	r.Version++
	return true
}
