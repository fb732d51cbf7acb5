package inbox

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/leasing"
)

// fakeStore is a store that has rows and records what is saved. If save is set, its error fails Save.
type fakeStore struct {
	Store

	rows  []ChatState
	loads int
	saves int
	saved []ChatState
	save  func() error // may be nil
}

func (s *fakeStore) Chats(_ context.Context, _ chats.BusinessID, ids []chats.ChatID) ([]ChatState, error) {
	s.loads++
	return slices.DeleteFunc(slices.Clone(s.rows), func(row ChatState) bool { return !slices.Contains(ids, row.Chat) }), nil
}

func (s *fakeStore) Open(context.Context, chats.BusinessID) (open []chats.ChatID, err error) {
	for _, row := range s.rows {
		if row.Open {
			open = append(open, row.Chat)
		}
	}
	return open, nil
}

func (s *fakeStore) Save(_ context.Context, _ Lease, _ *BusinessState, rows []ChatState) error {
	s.saves++
	if s.save != nil {
		if err := s.save(); err != nil {
			return err
		}
	}
	s.saved = append(s.saved, rows...)
	return nil
}

func newTestSaver(store Store) *saver {
	s := &saver{store: store, log: slog.New(slog.DiscardHandler), term: &leasing.Term[Lease]{Duration: 5 * time.Second, Ctx: context.Background()}}
	now := time.Now()
	s.savedAt.Store(&now)
	return s
}

// A save that has failed is tried again, unless the failure took longer than the limit.
func TestSaver_HowLongItRetries(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		takes time.Duration // the first call
		ended bool          // the run has ended
		other bool          // other rows were saved meanwhile
		lease time.Duration // 5 s if it is 0
		saved bool
	}{
		"the run has ended":                 {takes: graceTime, ended: true, other: true, saved: true},
		"the run has ended long ago":        {takes: graceTime + 1, ended: true, other: true},
		"only these rows fail":              {takes: maxSaving, other: true, saved: true},
		"only these rows fail for long":     {takes: maxSaving + 1, other: true},
		"nothing is saved for a lease":      {takes: 5 * time.Second, saved: true},
		"nothing is saved for a short time": {takes: time.Second, saved: true},
		"nothing is saved for a long time":  {takes: 3 * maxSaving, lease: time.Hour, saved: true}, // another session would wait for this one's lease
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			if tt.ended {
				cancel()
			}
			defer cancel()
			store := &fakeStore{}
			s := newTestSaver(store)
			s.term.Duration = cmp.Or(tt.lease, s.term.Duration)
			store.save = func() error {
				if store.saves > 1 {
					return nil
				}
				time.Sleep(tt.takes)
				if now := time.Now(); tt.other {
					s.savedAt.Store(&now)
				}
				return assert.AnError
			}
			err := s.save(ctx, nil, &ChatState{Chat: 7})
			if tt.saved {
				require.NoError(t, err, name)
				return
			}
			require.ErrorIs(t, err, assert.AnError, name)
		})
	}
}

// The response to a save was lost, and the retry finds what that save has stored.
func TestSaver_AConflictWithItself(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		stored []ChatState
		want   bool
	}{
		"stored":                  {[]ChatState{{Chat: 7, Version: 4}}, true},
		"stored by another":       {[]ChatState{{Chat: 7, Version: 5}}, false},
		"not stored":              {[]ChatState{{Chat: 7, Version: 3}}, false},
		"deleted by Forget":       {nil, false},
		"stored, as others are":   {[]ChatState{{Chat: 6, Version: 4}, {Chat: 7, Version: 4}}, true},
		"another one, not stored": {[]ChatState{{Chat: 6, Version: 4}}, false},
	} {
		store := &fakeStore{rows: tt.stored, save: func() error { return ErrConflict }}
		row := ChatState{Chat: 7, Version: 3}
		err := newTestSaver(store).save(t.Context(), nil, &row)
		assert.Equal(t, tt.want, err == nil, name)
		assert.Equal(t, !tt.want, errors.Is(err, ErrConflict), name)
		assert.Equal(t, tt.want, row.Version == 4, name)
	}
}

func TestSaver_AConflictWithoutARow(t *testing.T) {
	t.Parallel()
	s := newTestSaver(&fakeStore{save: func() error { return ErrConflict }})
	require.NoError(t, s.save(t.Context(), nil))
}
