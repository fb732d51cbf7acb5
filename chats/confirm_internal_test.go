package chats

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSendTextConfirmed_ANilOptionIsAnArgumentError(t *testing.T) {
	t.Parallel()
	client, err := New(1, APIKey("key"))
	require.NoError(t, err)
	_, err = client.SendTextConfirmed(t.Context(), 1, "a", ConfirmAfter(1), nil)
	require.EqualError(t, err, "chats: option: is nil")
	require.ErrorIs(t, err, ErrInvalidArgument)
}
