package chatstest

import (
	"bytes"
	"context"
	"io"
	"time"
)

// stream is the body of a response that is being delivered.
type stream struct {
	response

	sent    int
	delayed bool
}

// next returns the next piece of the body. It ends with io.EOF, with
// io.ErrUnexpectedEOF if the response is truncated, or with the context's cause.
func (s *stream) next(ctx context.Context) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	end := len(s.body)
	switch {
	case s.truncated:
		end = s.keep
	case s.bodyDelay > 0 && !s.delayed && s.sent < end/2:
		end /= 2
	case s.bodyDelay > 0 && !s.delayed:
		if err := sleep(ctx, s.bodyDelay); err != nil {
			return nil, err
		}
		s.delayed = true
	}
	if s.sent < end {
		piece := s.body[s.sent:end]
		s.sent = end
		return piece, nil
	}
	switch {
	case s.endless:
		return endlessPiece, nil
	case s.truncated:
		return nil, io.ErrUnexpectedEOF
	}
	return nil, io.EOF
}

// complete reports whether the whole body has been returned.
func (s *stream) complete() bool {
	return s.sent == len(s.body) && !s.endless
}

var endlessPiece = bytes.Repeat([]byte("."), 4<<10)

// sleep waits for d or until the context is done.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
