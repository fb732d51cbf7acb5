package redact

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSource(t *testing.T) {
	t.Parallel()
	assert.Nil(t, Source(nil))
	var fails error
	source := Source(func(context.Context) (string, error) { return redactKey, fails })
	fails = io.ErrUnexpectedEOF
	_, err := source(t.Context())
	assert.Equal(t, fails, err)
	fails = nil
	secret, err := source(t.Context())
	require.NoError(t, err)
	assert.Equal(t, redactKey, secret)
	fails = errors.New("expired: " + redactKey)
	secret, err = source(t.Context())
	require.EqualError(t, err, "expired: "+Placeholder)
	assert.Empty(t, secret)
}
