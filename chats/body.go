package chats

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
)

// maxBody bounds an answer. The largest the contract allows for, a page of 100
// messages of 4,096 characters, each escaped to twelve bytes, with ten
// attachments of 2,000 characters each, is about 7 MB.
const maxBody = 8 << 20

// keepBody is how large a buffer may be and still go back to the pool.
const maxPooledBody = 1 << 20

var errTooLarge = errors.New("the answer is larger than 8 MiB")

// Reading into a pooled buffer that is as large as the answer costs half the
// memory of io.ReadAll. The buffer can go back once the answer is decoded:
// encoding/json copies what it keeps.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// readBody reads the whole body, bounded, and closes it. What was read before an
// error comes with it.
func readBody(resp *http.Response) (*bytes.Buffer, error) {
	defer func() { _ = resp.Body.Close() }()
	buf, _ := buffers.Get().(*bytes.Buffer)
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return buf, nil // its body is the bare connection, which no context ends
	}
	// The length is the server's word: believed up to what a pool would keep. One
	// read more than the content finds the end without growing.
	if n := resp.ContentLength; n > 0 {
		buf.Grow(int(min(n, maxPooledBody)) + bytes.MinRead)
	}
	n, err := buf.ReadFrom(io.LimitReader(resp.Body, maxBody+1))
	if err == nil && n > maxBody {
		err = errTooLarge
	}
	return buf, err
}

func putBuffer(buf *bytes.Buffer) {
	if buf != nil && buf.Cap() <= maxPooledBody {
		buf.Reset()
		buffers.Put(buf)
	}
}
