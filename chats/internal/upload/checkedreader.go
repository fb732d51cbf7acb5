package upload

import (
	"errors"
	"io"
)

var errBadCount = errors.New("the reader returned an impossible count")

// maxEmptyReads is the maximum number of consecutive Reads that return neither a byte nor an
// error.
const maxEmptyReads = 100

// checkedReader wraps a caller's reader. It returns an error if the reader violates the rules of
// [io.Reader] or makes no progress.
type checkedReader struct {
	content io.Reader
	empty   int // consecutive Reads
}

func (r *checkedReader) Read(p []byte) (n int, err error) {
	n, err = r.content.Read(p)
	switch {
	case n < 0 || n > len(p):
		return 0, errBadCount
	case n > 0 || err != nil:
		r.empty = 0
	default:
		if r.empty++; r.empty >= maxEmptyReads {
			return 0, io.ErrNoProgress
		}
	}
	return n, err
}
