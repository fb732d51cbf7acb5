package attempts_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ymchats/ymchats-go/chats/internal/attempts"
)

func TestMade_CountsUnderACounter(t *testing.T) {
	t.Parallel()
	var ops []string
	ctx := attempts.WithCounter(t.Context(), func(op string, skipped int) { ops = append(ops, op[skipped:]) })
	attempts.Made(context.Background(), "none", 0)
	attempts.Made(ctx, "a", 0)
	attempts.Made(attempts.WithCounter(ctx, nil), "the handler's own", 0)
	attempts.Made(ctx, "b2", 1)
	assert.Equal(t, []string{"a", "2"}, ops)
}

func TestIsOneSend_UnderItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(attempts.WithOneSend(t.Context(), []int64{5}))
	defer cancel()
	assert.True(t, attempts.IsOneSend(ctx))
	assert.False(t, attempts.IsOneSend(t.Context()))
	assert.Equal(t, []int64{5}, attempts.Shown[int64](ctx))
	assert.Empty(t, attempts.Shown[int64](t.Context()))
}
