package chatstest

import (
	"bytes"
	"context"
	"io"
	"time"
)

// stream is the body of an answer on its way.
type stream struct {
	reply

	sent   int
	paused bool
}

// next is the next piece of the body. It ends with io.EOF, with
// io.ErrUnexpectedEOF where the answer is cut off, or with the context's cause.
func (s *stream) next(ctx context.Context) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	end := len(s.body)
	switch {
	case s.cut:
		end = s.keep
	case s.pause > 0 && !s.paused && s.sent < end/2:
		end /= 2
	case s.pause > 0 && !s.paused:
		if err := sleep(ctx, s.pause); err != nil {
			return nil, err
		}
		s.paused = true
	}
	if s.sent < end {
		piece := s.body[s.sent:end]
		s.sent = end
		return piece, nil
	}
	switch {
	case s.endless:
		return endlessPiece, nil
	case s.cut:
		return nil, io.ErrUnexpectedEOF
	}
	return nil, io.EOF
}

// over says that the whole body has been handed out.
func (s *stream) over() bool {
	return s.sent == len(s.body) && !s.endless
}

var endlessPiece = bytes.Repeat([]byte("."), 4<<10)

// sleep waits, unless the context ends first.
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
