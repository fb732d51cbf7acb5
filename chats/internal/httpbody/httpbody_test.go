package httpbody

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// closing records that a body was closed.
type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return nil
}

func read(status int, body io.Reader, length int64) (text string, closed bool, err error) {
	source := &closing{Reader: body}
	buf, err := Read(context.Background(), &http.Response{StatusCode: status, Body: source, ContentLength: length})
	defer Release(buf)
	return buf.String(), source.closed, err
}

func TestRead_ReturnsTheWholeBodyAndClosesIt(t *testing.T) {
	t.Parallel()
	for _, length := range []int64{-1, 7, 1 << 40} {
		text, closed, err := read(200, strings.NewReader("\xef\xbb\xbfcontent"), length)
		require.NoError(t, err)
		assert.Equal(t, "content", text)
		assert.True(t, closed)
	}
	text, closed, err := read(200, io.MultiReader(strings.NewReader("con"), iotest.ErrReader(io.ErrUnexpectedEOF)), 7)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.Equal(t, "con", text)
	assert.True(t, closed)
	text, closed, err = read(http.StatusSwitchingProtocols, iotest.ErrReader(io.ErrClosedPipe), -1)
	require.NoError(t, err, "a connection that nothing ends is not read")
	assert.Empty(t, text)
	assert.True(t, closed)
}

// JSON may follow whitespace, but not whitespace and a byte order mark.
func TestRead_DropsWhatPrecedesTheContent(t *testing.T) {
	t.Parallel()
	for _, before := range []string{"", "\xef\xbb\xbf", "\xef\xbb\xbf\xef\xbb\xbf", " \r\n\t\xef\xbb\xbf\n\xef\xbb\xbf "} {
		resp := &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(before + "content \xef\xbb\xbf")), ContentLength: int64(len(before)) + 11}
		buf, err := Read(context.Background(), resp)
		require.NoError(t, err)
		assert.Equal(t, "content \xef\xbb\xbf", buf.String(), "%q", before)
		assert.EqualValues(t, buf.Len(), resp.ContentLength, "the body is whole")
		Release(buf)
	}
}

func TestRead_IsBoundedInBytes(t *testing.T) {
	t.Parallel()
	_, _, err := read(200, strings.NewReader(strings.Repeat("a", maxBody)), -1)
	require.NoError(t, err)
	source := strings.NewReader(strings.Repeat("a", maxBody+10))
	_, _, err = read(200, source, -1)
	require.ErrorIs(t, err, ErrTooLarge)
	assert.Equal(t, 9, source.Len(), "no further than it takes to know")
}

func TestRead_IsBoundedInElements(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]error{
		strings.Repeat("[", maxElements):                                                        nil,
		strings.Repeat("[", maxElements+1):                                                      ErrTooManyItems,
		strings.Repeat("{", maxElements+1):                                                      ErrTooManyItems,
		strings.Repeat("0,", maxElements+1):                                                     ErrTooManyItems,
		`["` + strings.Repeat(",", maxElements) + `"]`:                                          nil,
		`["` + strings.Repeat(`\",`, maxElements) + `"]`:                                        nil,
		`["\\"` + strings.Repeat(",", maxElements):                                              ErrTooManyItems,
		strings.Repeat(`"",`, maxElements/2) + `"` + strings.Repeat("{", maxElements/2+2) + `"`: nil,
	} {
		_, _, err := read(200, strings.NewReader(body), -1)
		assert.Equal(t, want, err, "%.20s", body)
	}
}

func TestRelease_DoesNotKeepALargeBuffer(t *testing.T) {
	t.Parallel()
	buf := bytes.NewBuffer(make([]byte, 0, maxPooledBody+1))
	buf.WriteString("content")
	Release(buf)
	assert.Equal(t, "content", buf.String(), "left to the collector")
	buf = bytes.NewBuffer(make([]byte, 0, maxPooledBody))
	buf.WriteString("content")
	Release(buf)
	Release(nil)
}
