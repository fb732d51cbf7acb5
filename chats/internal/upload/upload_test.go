package upload

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const maxSize = 5 << 20

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
		form, err := New(t.Context(), "a.txt", &tape{strings.NewReader("content"), 0, failsAt}, maxSize)
		if err == nil {
			readBodyOf(t, form)
			var body io.ReadCloser
			body, err = form.Open(t.Context())
			require.NoError(t, err)
			var sent []byte
			sent, err = io.ReadAll(body)
			assert.Empty(t, sent)
			require.ErrorIs(t, form.Stop(t.Context()), errSeek)
			assert.True(t, form.Unsent())
		}
		require.ErrorIs(t, err, errSeek)
		assert.Contains(t, err.Error(), want)
	}
	// A seeker that cannot even report its position does not count as one.
	form, err := New(t.Context(), "a.txt", &tape{strings.NewReader("content"), 0, 1}, maxSize)
	require.NoError(t, err)
	assert.EqualValues(t, 7, form.size)
	assert.Nil(t, form.seeker)
}

func readBodyOf(t *testing.T, form *Form) string {
	t.Helper()
	body, err := form.Open(t.Context())
	require.NoError(t, err)
	all, err := io.ReadAll(body)
	require.NoError(t, err)
	require.NoError(t, form.Stop(t.Context()))
	return string(all)
}

func TestUpload_StoppedBodyReadsNothing(t *testing.T) {
	t.Parallel()
	form, err := New(t.Context(), "a.txt", strings.NewReader("content"), maxSize)
	require.NoError(t, err)
	whole := readBodyOf(t, form)
	assert.Contains(t, whole, "\r\n\r\ncontent\r\n--")

	now, err := form.Open(t.Context())
	require.NoError(t, err)
	require.NoError(t, form.Stop(t.Context()))
	_, err = now.Read(make([]byte, 1))
	require.ErrorIs(t, err, errAttemptOver)
	assert.Equal(t, whole, readBodyOf(t, form), "the next attempt sends the same")
}

func TestUpload_UntouchedReaderOpensAgain(t *testing.T) {
	t.Parallel()
	form, err := New(t.Context(), "a.txt", bytes.NewBufferString("content"), maxSize)
	require.NoError(t, err)
	for range 3 {
		body, err := form.Open(t.Context())
		require.NoError(t, err)
		_, err = body.Read(make([]byte, 10)) // of the form's head
		require.NoError(t, err)
		require.NoError(t, form.Stop(t.Context()))
		assert.True(t, form.Rewindable())
	}
	readBodyOf(t, form)
	assert.False(t, form.Rewindable())
	_, err = form.Open(t.Context())
	require.ErrorIs(t, err, errNotRewindable)
}

func TestUpload_UnknownSizeIsReadUpToLimit(t *testing.T) {
	t.Parallel()
	content := func(n int64) io.Reader { return io.MultiReader(io.LimitReader(endlessZeros{}, n)) }
	form, err := New(t.Context(), "a.bin", content(maxSize), maxSize)
	require.NoError(t, err)
	assert.EqualValues(t, maxSize, form.size)
	assert.True(t, form.Rewindable(), "it is in memory now")

	rest := io.LimitReader(endlessZeros{}, 2*maxSize).(*io.LimitedReader)
	_, err = New(t.Context(), "a.bin", rest, maxSize)
	require.ErrorAs(t, err, new(*InvalidError))
	assert.EqualValues(t, maxSize-1, rest.N, "no further than it takes to know")
}

type endlessZeros struct{}

func (endlessZeros) Read(p []byte) (int, error) { return len(p), nil }

// A reader that failed once is no reason to believe that the next attempt, which it
// survived, posted nothing.
func TestUpload_ReaderErrorBelongsToItsAttempt(t *testing.T) {
	t.Parallel()
	failing := &onceBroken{Reader: strings.NewReader("content")}
	form, err := New(t.Context(), "a.txt", failing, maxSize)
	require.NoError(t, err)
	body, err := form.Open(t.Context())
	require.NoError(t, err)
	_, err = io.ReadAll(body)
	require.ErrorIs(t, err, errSeek)
	require.ErrorIs(t, form.Stop(t.Context()), errSeek)

	assert.Contains(t, readBodyOf(t, form), "content")
	require.NoError(t, form.Stop(t.Context()))
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

type negative struct{ io.Reader }

func (negative) Len() int { return -1 }

func TestNew_SaysWhyContentIsInvalid(t *testing.T) {
	t.Parallel()
	dir, err := os.Open(t.TempDir())
	require.NoError(t, err)
	defer func() { _ = dir.Close() }()
	atEnd := strings.NewReader("content")
	_, _ = io.Copy(io.Discard, atEnd)
	for want, content := range map[string]io.Reader{
		"is nil":         nil,
		"is empty":       atEnd,
		"is empty ":      negative{strings.NewReader("content")},
		"is a directory": dir, // its size depends on the file system
		"larger than 5242880 bytes, the maximum that Market accepts":  bytes.NewBuffer(make([]byte, maxSize+1)),
		"larger than 5242880 bytes, the maximum that Market accepts ": io.NewSectionReader(dir, 0, maxSize+1),
	} {
		_, err := New(t.Context(), "a.jpg", content, maxSize)
		var invalid *InvalidError
		require.ErrorAs(t, err, &invalid, want)
		assert.EqualError(t, err, strings.TrimSpace(want))
	}
	_, err = New(t.Context(), "a.jpg", iotest.ErrReader(errSeek), maxSize)
	require.ErrorIs(t, err, errSeek)
}

// reading is a reader without a size of its own.
type reading func(p []byte) (int, error)

func (r reading) Read(p []byte) (int, error) { return r(p) }

// sized has a size, true or not.
type sized struct {
	io.Reader
	size int
}

func (s sized) Len() int { return s.size }

func TestNew_AbandonsAReaderThatBlocks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := New(ctx, "a.txt", reading(func([]byte) (int, error) { <-release; return 0, io.EOF }), maxSize)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// brokenError is an error that cannot be printed.
type brokenError struct{ text string }

func (e *brokenError) Error() string {
	if e.text == "" {
		panic("torn")
	}
	return e.text
}

func TestForm_ReaderThatFailsCompletesNoForm(t *testing.T) {
	t.Parallel()
	for want, content := range map[string]io.Reader{
		errSeek.Error():             iotest.ErrReader(errSeek),
		"the reader panicked: torn": reading(func([]byte) (int, error) { panic("torn") }),
		errBadCount.Error():         reading(func(p []byte) (int, error) { return len(p) + 1, nil }),
		errBadCount.Error() + " ":   reading(func([]byte) (int, error) { return -1, nil }),
		io.ErrNoProgress.Error():    reading(func([]byte) (int, error) { return 0, nil }),
		errFileGrew.Error():         strings.NewReader("more content"),
		"the file ended 5 bytes short of its size: unexpected EOF": strings.NewReader("cont"[:2]),
		"<nil>":                         iotest.ErrReader((*brokenError)(nil)),
		"%!v(PANIC=Error method: torn)": iotest.ErrReader(&brokenError{}),
		errReaderExited.Error():         reading(func([]byte) (int, error) { runtime.Goexit(); return 0, nil }),
	} {
		if want = strings.TrimSpace(want); want != errReaderExited.Error() {
			want = "reading the file: " + want
		}

		form, err := New(t.Context(), "a.txt", sized{struct{ io.Reader }{content}, 7}, maxSize)
		require.NoError(t, err)
		body, err := form.Open(t.Context())
		require.NoError(t, err)
		all, err := io.ReadAll(body)
		require.EqualError(t, err, want)
		assert.NotContains(t, string(all), "\r\n--"+strings.TrimPrefix(form.ContentType(), "multipart/form-data; boundary="))
		require.EqualError(t, form.Stop(t.Context()), want)
		assert.True(t, form.Unsent())
		assert.False(t, form.Whole())
		assert.False(t, form.Rewindable())
	}
	_, err := New(t.Context(), "a.txt", reading(func([]byte) (int, error) { runtime.Goexit(); return 0, nil }), maxSize)
	require.ErrorIs(t, err, errReaderExited)
}

func TestForm_HasTheAnnouncedLength(t *testing.T) {
	t.Parallel()
	form, err := New(t.Context(), "a.txt", strings.NewReader("content"), maxSize)
	require.NoError(t, err)
	assert.EqualValues(t, 7, form.Size())
	all := readBodyOf(t, form)
	assert.Len(t, all, int(form.Length()))
	assert.False(t, form.Unsent())
	assert.True(t, form.Whole())
	_, params, err := mime.ParseMediaType(form.ContentType())
	require.NoError(t, err)
	part, err := multipart.NewReader(strings.NewReader(all), params["boundary"]).NextPart()
	require.NoError(t, err)
	assert.Equal(t, "a.txt", part.FileName())
	assert.Equal(t, "text/plain", part.Header.Get("Content-Type"))
}

func TestForm_StopAbandonsAReadThatBlocks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		content := reading(func([]byte) (int, error) { <-release; return 0, io.EOF })
		form, err := New(t.Context(), "a.txt", sized{content, 7}, maxSize)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		body, err := form.Open(ctx)
		require.NoError(t, err)
		_, err = io.ReadAll(body)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, form.Stop(ctx))
		assert.True(t, form.Unsent())
		assert.False(t, form.Whole())
		assert.False(t, form.Rewindable())
		_, err = form.Open(t.Context())
		require.ErrorIs(t, err, errNotRewindable)
		close(release)
	})
}

// The last attempt's Seek blocks, as it does for a file on a server that is gone.
func TestForm_StopAbandonsASeekThatBlocks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		form, err := New(t.Context(), "a.txt", &stuckTape{tape{Reader: strings.NewReader("content")}, 3, release}, maxSize)
		require.NoError(t, err)
		readBodyOf(t, form)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		body, err := form.Open(ctx)
		require.NoError(t, err)
		assert.Zero(t, time.Since(began))
		_, err = io.ReadAll(body)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, form.Stop(ctx))
		assert.True(t, form.Unsent())
		assert.False(t, form.Rewindable())
		close(release)
	})
}

// stuckTape blocks in one of its Seeks.
type stuckTape struct {
	tape
	stuck   int // the number of Seeks before
	release chan struct{}
}

func (s *stuckTape) Seek(offset int64, whence int) (int64, error) {
	if s.seeks == s.stuck {
		<-s.release
	}
	return s.tape.Seek(offset, whence)
}

// An abandoned Seek that returns after all is the last one.
func TestNew_SeeksNoFurtherAfterItsContextEnded(t *testing.T) {
	t.Parallel()
	for before := range 3 {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			content := &stuckTape{tape: tape{Reader: strings.NewReader("content")}, stuck: before, release: make(chan struct{})}
			_, err := New(ctx, "a.txt", content, maxSize)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			close(content.release)
			synctest.Wait()
			assert.Equal(t, before+1, content.seeks)
		})
	}
}

// An abandoned reader without a size is not read any further.
func TestNew_ReadsNothingAfterItsContextEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10500*time.Millisecond)
		defer cancel()
		var reads atomic.Int32
		_, err := New(ctx, "a.txt", reading(func(p []byte) (int, error) {
			reads.Add(1)
			time.Sleep(time.Second)
			return min(1, len(p)), nil
		}), maxSize)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(time.Hour)
		assert.EqualValues(t, 11, reads.Load())
	})
	reads := 0
	_, err := New(t.Context(), "a.txt", reading(func([]byte) (int, error) { reads++; return 0, nil }), maxSize)
	require.ErrorIs(t, err, io.ErrNoProgress)
	assert.Equal(t, maxEmptyReads, reads)
}

func TestForm_NilIsARequestWithoutAFile(t *testing.T) {
	t.Parallel()
	var none *Form
	require.NoError(t, none.Stop(t.Context()))
	assert.False(t, none.Unsent())
	assert.True(t, none.Whole())
}
