package chats

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var errSeek = errors.New("the tape is torn")

// tape is a seeker that fails at the n-th Seek, n from 1.
type tape struct {
	*strings.Reader
	seeks, failsAt int
}

func (s *tape) Seek(offset int64, whence int) (int64, error) {
	if s.seeks++; s.seeks == s.failsAt {
		return 0, errSeek
	}
	return s.Reader.Seek(offset, whence)
}

func TestUpload_FailingSeekerIsError(t *testing.T) {
	t.Parallel()
	for failsAt, want := range map[int]string{2: "measuring the file", 3: "measuring the file", 4: "rewinding the file"} {
		u, err := newUpload(t.Context(), "a.txt", &tape{strings.NewReader("content"), 0, failsAt})
		if err == nil {
			readBodyOf(t, u)
			_, err = u.open(t.Context())
		}
		require.ErrorIs(t, err, errSeek)
		assert.Contains(t, err.Error(), want)
	}
	// A seeker that cannot even report its position does not count as one.
	u, err := newUpload(t.Context(), "a.txt", &tape{strings.NewReader("content"), 0, 1})
	require.NoError(t, err)
	assert.EqualValues(t, 7, u.size)
	assert.Nil(t, u.seeker)
}

func readBodyOf(t *testing.T, u *upload) string {
	t.Helper()
	body, err := u.open(t.Context())
	require.NoError(t, err)
	all, err := io.ReadAll(body)
	require.NoError(t, err)
	require.NoError(t, u.stop(t.Context()))
	return string(all)
}

func TestUpload_StoppedBodyReadsNothing(t *testing.T) {
	t.Parallel()
	u, err := newUpload(t.Context(), "a.txt", strings.NewReader("content"))
	require.NoError(t, err)
	whole := readBodyOf(t, u)
	assert.Contains(t, whole, "\r\n\r\ncontent\r\n--")

	now, err := u.open(t.Context())
	require.NoError(t, err)
	require.NoError(t, u.stop(t.Context()))
	_, err = now.Read(make([]byte, 1))
	require.ErrorIs(t, err, errAttemptOver)
	assert.Equal(t, whole, readBodyOf(t, u), "the next attempt sends the same")
}

func TestUpload_UntouchedReaderOpensAgain(t *testing.T) {
	t.Parallel()
	u, err := newUpload(t.Context(), "a.txt", bytes.NewBufferString("content"))
	require.NoError(t, err)
	for range 3 {
		body, err := u.open(t.Context())
		require.NoError(t, err)
		_, err = body.Read(make([]byte, 10)) // of the form's head
		require.NoError(t, err)
		require.NoError(t, u.stop(t.Context()))
		assert.True(t, u.rewindable())
	}
	readBodyOf(t, u)
	assert.False(t, u.rewindable())
	_, err = u.open(t.Context())
	require.ErrorIs(t, err, errNotRewindable)
}

func TestUpload_UnknownSizeIsReadUpToLimit(t *testing.T) {
	t.Parallel()
	content := func(n int64) io.Reader { return io.MultiReader(io.LimitReader(endlessZeros{}, n)) }
	u, err := newUpload(t.Context(), "a.bin", content(MaxFileSize))
	require.NoError(t, err)
	assert.EqualValues(t, MaxFileSize, u.size)
	assert.True(t, u.rewindable(), "it is in memory now")

	rest := io.LimitReader(endlessZeros{}, 2*MaxFileSize).(*io.LimitedReader)
	_, err = newUpload(t.Context(), "a.bin", rest)
	require.ErrorIs(t, err, ErrInvalidArgument)
	assert.EqualValues(t, MaxFileSize-1, rest.N, "no further than it takes to know")
}

type endlessZeros struct{}

func (endlessZeros) Read(p []byte) (int, error) { return len(p), nil }

// A reader that failed once is no reason to believe that the next attempt, which it
// survived, posted nothing.
func TestUpload_ReaderErrorBelongsToItsAttempt(t *testing.T) {
	t.Parallel()
	failing := &onceBroken{Reader: strings.NewReader("content")}
	u, err := newUpload(t.Context(), "a.txt", failing)
	require.NoError(t, err)
	body, err := u.open(t.Context())
	require.NoError(t, err)
	_, err = io.ReadAll(body)
	require.ErrorIs(t, err, errSeek)
	require.ErrorIs(t, u.stop(t.Context()), errSeek)

	assert.Contains(t, readBodyOf(t, u), "content")
	require.NoError(t, u.stop(t.Context()))
}

type onceBroken struct {
	*strings.Reader
	broken bool
}

func (o *onceBroken) Read(p []byte) (int, error) {
	if !o.broken {
		o.broken = true
		return 0, errSeek
	}
	return o.Reader.Read(p)
}

// A directory has a size of its own, which depends on the file system.
func TestSendFile_ADirectoryIsRefusedAsSuch(t *testing.T) {
	t.Parallel()
	dir, err := os.Open(t.TempDir())
	require.NoError(t, err)
	defer func() { _ = dir.Close() }()
	_, err = newUpload(t.Context(), "a.jpg", dir)
	require.ErrorIs(t, err, ErrInvalidArgument)
	assert.EqualError(t, err, "chats: file content: is a directory")
}
