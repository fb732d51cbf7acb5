package notify

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// maxBody is the maximum size of a body, both compressed and decompressed. A notification
	// about a chat has about 200 bytes; one about an order grows with its items.
	maxBody = 1 << 20
	// maxDiscarded is how much more is read before responding: a client that is still writing
	// might miss an earlier response.
	maxDiscarded = 15 << 20
)

var (
	errBodyTimeout  = errors.New("body did not arrive in time")
	errBodyConsumed = errors.New("a middleware has read the body and left nothing of it")
)

// readBody reads and decompresses the body of a request. It gives up at the deadline even if the
// connection has none.
func readBody(r *http.Request, deadline time.Time) ([]byte, *rejection) {
	if r.Body == nil {
		return nil, nil
	}
	var content []byte
	err := runUntil(deadline, func() (err error) {
		content, err = io.ReadAll(io.LimitReader(r.Body, maxBody+1))
		return err
	})
	var limit *http.MaxBytesError
	switch {
	case errors.As(err, &limit): // set by a middleware, which would reject a retry as well
		return nil, tooLarge(limit.Limit, true)
	case err != nil:
		return nil, readFailed(err)
	case len(content) == 0 && r.ContentLength > 0:
		return nil, readFailed(errBodyConsumed)
	}
	if len(content) > maxBody {
		err := runUntil(deadline, func() error {
			_, err := io.CopyN(io.Discard, r.Body, maxDiscarded)
			return err
		})
		return nil, tooLarge(maxBody, !errors.Is(err, io.EOF))
	}
	if content = gunzip(content); len(content) > maxBody {
		return nil, tooLarge(maxBody, false)
	}
	return content, nil
}

func tooLarge(limit int64, closeConn bool) *rejection {
	r := protocolViolation(fmt.Sprintf("notification is larger than %d bytes", limit))
	r.closeConn = closeConn
	return r
}

// runUntil returns the error of read, or errBodyTimeout if read has not returned by
// the deadline.
func runUntil(deadline time.Time, read func() error) error {
	done := make(chan error, 1)
	go func() { done <- recoverPanic(read) }()
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return errBodyTimeout
	}
}

// gunzip decompresses content if it is in gzip format, whatever the Content-Encoding
// says: JSON cannot begin like that. If the content is damaged, it returns what can be read,
// which may be the whole notification; at most maxBody+1 bytes.
func gunzip(content []byte) []byte {
	if !bytes.HasPrefix(content, []byte{0x1f, 0x8b}) {
		return content
	}
	reader, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return nil
	}
	plain, _ := io.ReadAll(io.LimitReader(reader, maxBody+1))
	return plain
}
