// Package httpbody reads the bodies of responses, up to a maximum size, into pooled buffers.
package httpbody

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
)

// maxBody is the maximum size of a response body. The largest body that the contract allows has
// about 7 MB: a page of 100 messages of 4,096 characters, each escaped to twelve bytes, with
// ten attachments of 2,000 characters each.
const maxBody = 8 << 20

// maxPooledBody is the maximum capacity of a buffer that is returned to the pool.
const maxPooledBody = 1 << 20

// maxElements is the maximum number of elements and fields of a JSON body. A page of 100 messages
// with ten attachments each has about 5,000.
const maxElements = 1 << 16

// The errors for a body that was not read to its end, or must not be decoded.
var (
	ErrTooLarge     = errors.New("response is larger than 8 MiB")
	ErrTooManyItems = errors.New("response has too many items")
)

// leading has the characters that are dropped at the beginning of a body: whitespace and byte
// order marks.
const leading = "\ufeff \t\r\n"

// buffers is the pool of buffers. Reading into a pooled buffer of the response's size takes half
// the memory of io.ReadAll. A buffer can be reused once the response is decoded, because
// encoding/json copies what it keeps.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// Read reads the whole body, up to 8 MiB, and closes it. It returns what it has read, without
// whitespace and byte order marks at the beginning, even if there is an error. The dropped
// characters are subtracted from resp.ContentLength. Pass the buffer to [Release] when it is no
// longer used. A body that blocks although ctx is done is abandoned; the error is then ctx.Err().
func Read(ctx context.Context, resp *http.Response) (*bytes.Buffer, error) {
	body := resp.Body
	buf, _ := buffers.Get().(*bytes.Buffer)
	if resp.StatusCode == http.StatusSwitchingProtocols {
		_ = body.Close()
		return buf, nil // the body is the raw connection, and no context would end a read from it
	}
	// Content-Length may be wrong, so at most the capacity that the pool keeps is reserved. The
	// extra MinRead lets the final read find the end without growing the buffer.
	if n := resp.ContentLength; n > 0 {
		buf.Grow(int(min(n, maxPooledBody)) + bytes.MinRead)
	}
	var n int64
	err := await(ctx, body, func() (err error) {
		defer func() { _ = body.Close() }()
		n, err = buf.ReadFrom(io.LimitReader(body, maxBody+1))
		return err
	})
	if err == errAbandoned { //nolint:errorlint // our own error, never wrapped
		return new(bytes.Buffer), ctx.Err()
	}
	dropped := buf.Len() - len(bytes.TrimLeft(buf.Bytes(), leading))
	buf.Next(dropped)
	resp.ContentLength -= int64(dropped)
	switch {
	case err == nil && n > maxBody:
		err = ErrTooLarge
	case err == nil && hasTooManyElements(buf.Bytes()):
		err = ErrTooManyItems
	}
	return buf, err
}

// hasTooManyElements reports whether a JSON text has more than maxElements elements. Decoded,
// such a text could take hundreds of megabytes, even if it has only a few kilobytes on the wire.
func hasTooManyElements(body []byte) bool {
	n := 0
	for _, c := range []string{",", "{", "["} {
		n += bytes.Count(body, []byte(c)) // fast, but also counts characters in strings
	}
	if n <= maxElements {
		return false
	}
	n = 0
	for inString, i := false, 0; i < len(body); i++ {
		switch c := body[i]; {
		case c == '\\' && inString:
			i++
		case c == '"':
			inString = !inString
		case !inString && (c == ',' || c == '{' || c == '['):
			n++
		}
	}
	return n > maxElements
}

// Release returns a buffer to the pool. buf may be nil.
func Release(buf *bytes.Buffer) {
	if buf != nil && buf.Cap() <= maxPooledBody {
		buf.Reset()
		buffers.Put(buf)
	}
}
