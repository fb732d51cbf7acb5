package callerctx

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestErr_IsThatOfAnEndedContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	require.NoError(t, Err(ctx))
	cancel()
	require.ErrorIs(t, Err(ctx), context.Canceled)
	require.ErrorIs(t, Err(late{t.Context()}), context.DeadlineExceeded, "the context has not noticed yet")
}

// late is a context whose deadline has passed without its noticing.
type late struct{ context.Context } //nolint:containedctx // it is a context

func (late) Deadline() (time.Time, bool) { return time.Now(), true }

func TestHideOthers_KeepsTheErrorOfTheCallersContext(t *testing.T) {
	t.Parallel()
	alive := t.Context()
	ended, cancel := context.WithCancel(alive)
	cancel()
	hurried, cancel := context.WithTimeout(alive, time.Hour)
	defer cancel()
	cause := &fs.PathError{Op: "dial", Err: context.DeadlineExceeded}
	for _, tt := range []struct {
		ctx                context.Context //nolint:containedctx // the input of a case
		err                error
		canceled, deadline bool
	}{
		{alive, fmt.Errorf("a timeout: %w", cause), false, false},
		{alive, context.Canceled, false, false},
		{ended, context.Canceled, true, false},
		{ended, fmt.Errorf("a timeout: %w", cause), false, false},
		{ended, errors.Join(cause, context.Canceled), true, false},
		{late{alive}, cause, false, true},
		{hurried, Wait(hurried, 2*time.Hour), false, true},
		{alive, Wait(hurried, 2*time.Hour), false, false},
		{late{alive}, Wait(hurried, 2*time.Hour), false, true},
		{hurried, errors.Join(HideOthers(alive, Wait(hurried, 2*time.Hour)), Wait(hurried, 2*time.Hour)), false, true},
	} {
		got := HideOthers(tt.ctx, tt.err)
		assert.Equal(t, tt.canceled, errors.Is(got, context.Canceled), "%v", tt.err)
		assert.Equal(t, tt.deadline, errors.Is(got, context.DeadlineExceeded), "%v", tt.err)
		assert.EqualError(t, got, tt.err.Error())
	}
	var dial *fs.PathError
	assert.ErrorAs(t, HideOthers(alive, fmt.Errorf("a timeout: %w", cause)), &dial)
	assert.ErrorIs(t, HideOthers(alive, errors.Join(cause, fs.ErrClosed)), fs.ErrClosed)
	assert.Same(t, fs.ErrClosed, HideOthers(alive, fs.ErrClosed))
	assert.NoError(t, HideOthers(ended, nil))
}

func TestBare_UnwrapsTheEndOfTheContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	wrapped := fmt.Errorf("page: %w", context.Canceled)
	assert.Equal(t, wrapped, Bare(ctx, wrapped))
	cancel()
	assert.Equal(t, fs.ErrClosed, Bare(ctx, fs.ErrClosed), "an error of its own")
	assert.Equal(t, context.Canceled, Bare(ctx, wrapped))
}

func TestWait_DoesNotOutlastTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		require.NoError(t, Wait(t.Context(), time.Minute))
		assert.Equal(t, time.Minute, time.Since(began))

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began = time.Now()
		err := Wait(ctx, time.Hour)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.EqualError(t, err, "the next attempt is due in 1h0m0s, after the context's deadline")
		assert.Zero(t, time.Since(began), "it does not wait in vain")

		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		require.ErrorIs(t, Wait(ctx, time.Minute), context.Canceled)
		assert.Equal(t, time.Second, time.Since(began))
		require.ErrorIs(t, Wait(ctx, 0), context.Canceled)
	})
}
