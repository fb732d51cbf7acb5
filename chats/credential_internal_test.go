package chats

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
)

// What holds a secret is not unwrapped: whoever prints the cause would print it.
func TestWhichErrorsAreMasked(t *testing.T) {
	t.Parallel()
	hidden := secrets{"ACMA:secret"}
	plain, torn, telling := errors.New("no route"), errors.New("bad line\x1b[2J"), errors.New("bad header ACMA:secret")
	assert.Same(t, plain, hidden.masked(plain))
	assert.EqualError(t, hidden.masked(torn), "bad line [2J")
	assert.ErrorIs(t, hidden.masked(torn), torn)
	assert.EqualError(t, hidden.masked(telling), "bad header "+redacted)
	assert.NotErrorIs(t, hidden.masked(telling), telling)
	assert.NoError(t, hidden.masked(nil))
}
