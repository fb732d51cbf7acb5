package chats

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
)

// An error whose text contains a secret is not unwrapped, because printing the cause would
// print the secret.
func TestWhichErrorsAreMasked(t *testing.T) {
	t.Parallel()
	hidden := secrets{"ACMA:secret"}
	plain, torn, telling := errors.New("no route"), errors.New("bad line\x1b[2J"), errors.New("bad header ACMA:secret")
	assert.Same(t, plain, hidden.sanitizeError(plain))
	assert.EqualError(t, hidden.sanitizeError(torn), "bad line [2J")
	assert.ErrorIs(t, hidden.sanitizeError(torn), torn)
	assert.EqualError(t, hidden.sanitizeError(telling), "bad header "+redacted)
	assert.NotErrorIs(t, hidden.sanitizeError(telling), telling)
	assert.NoError(t, hidden.sanitizeError(nil))
}
