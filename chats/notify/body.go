package notify

import (
	"errors"
	"io"
	"time"
)

// maxBody is far above any notification of a chat, which has some 200 bytes.
const maxBody = 64 << 10

var errBodyTimeout = errors.New("body did not arrive in time")

// readBody reads at most maxBody+1 bytes. It gives up at the deadline even if the
// connection has none.
func readBody(body io.Reader, deadline time.Time) ([]byte, error) {
	if body == nil {
		return nil, nil
	}
	var content []byte
	done := make(chan error, 1)
	go func() {
		done <- recoverPanic(func() (err error) {
			content, err = io.ReadAll(io.LimitReader(body, maxBody+1))
			return err
		})
	}()
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case err := <-done:
		return content, err
	case <-timer.C:
		return nil, errBodyTimeout
	}
}
