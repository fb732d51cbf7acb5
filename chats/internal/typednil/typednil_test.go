package typednil_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ymchats/ymchats-go/chats/internal/typednil"
)

func TestIs(t *testing.T) {
	t.Parallel()
	var file *bytes.Buffer
	var reader io.Reader = file
	assert.True(t, typednil.Is(http.HandlerFunc(nil)))
	assert.False(t, typednil.Is(http.NotFoundHandler()))
	for value, want := range map[any]bool{nil: true, file: true, reader: true, new(bytes.Buffer): false, 0: false, struct{}{}: false} {
		assert.Equal(t, want, typednil.Is(value), "%T", value)
	}
}
