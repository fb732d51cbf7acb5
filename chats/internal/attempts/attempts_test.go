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
	ctx := attempts.WithCounter(t.Context(), func(op string) { ops = append(ops, op) })
	attempts.Made(context.Background(), "none")
	attempts.Made(ctx, "a")
	attempts.Made(attempts.WithCounter(ctx, nil), "the handler's own")
	attempts.Made(ctx, "b")
	assert.Equal(t, []string{"a", "b"}, ops)
}
