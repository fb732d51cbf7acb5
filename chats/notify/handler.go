package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"
	"unicode/utf8"
)

// Market waits 10 seconds for an answer. Counted from when handling begins:
const (
	bodyWithin   = 3 * time.Second // the connection gives up on the body
	bodyLost     = 4 * time.Second // the handler does, where the connection does not
	handleWithin = 8 * time.Second // the function's context ends
	answerWithin = 9 * time.Second // the answer goes out; the last second is the network's
)

// The contract's bound of name and version, in characters.
const maxNameLength = 100

// Handler receives notifications. It may be used by any number of goroutines.
type Handler struct {
	config
	name, version string
	handle        func(context.Context, Event) error
}

// NewHandler makes a handler that calls handle for every event but [Ping], several
// at once where several arrive. Name and version are the program's, 1 to 100
// characters each; every answer carries them. An argument that breaks a rule is
// a [chats.ArgumentError].
//
// Handle returns nil where the event need not come again, and an error where
// another try may help; what it returns is logged and never sent. A panic counts
// as an error. Its context has the values of the request's and ends 8 seconds
// after the request came, or after handle returned. It does not end when Market
// hangs up, for Market sends the event again anyway and work cut short would be
// half done. After 9 seconds Market is answered 500, whether or not handle has
// returned; a handle that heeds its context never gets there. One that returns
// later is logged. A shutdown of the [http.Server] waits for the answers, not for
// a handle that has missed its own.
//
// Market gets 200 for an event that was handled, 400 for a notification that
// [Parse] refuses, and 500 otherwise. Strangers get 403 (see
// [WithAllowedNetworks]), 405 for another method than POST, 413 for more than
// 64 KiB, 415 for another type than application/json. The body must arrive within
// 3 seconds, 4 where a middleware hides the connection's deadlines. Give the server
// a WriteTimeout above 10 seconds, or none.
func NewHandler(
	name, version string, handle func(context.Context, Event) error, options ...Option,
) (*Handler, error) {
	if err := errors.Join(checkName("name", name), checkName("version", version)); err != nil {
		return nil, err
	}
	if handle == nil {
		return nil, badArgument("handle", "is nil")
	}
	h := &Handler{name: name, version: version, handle: handle, config: config{logger: slog.Default()}}
	for _, option := range options {
		if err := option(&h.config); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func checkName(field, value string) error {
	if n := utf8.RuneCountInString(value); n < 1 || n > maxNameLength || !utf8.ValidString(value) {
		return badArgument(field, fmt.Sprintf("must have 1 to %d characters", maxNameLength))
	}
	return nil
}

// ServeHTTP implements [http.Handler]. It does not look at the path.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	// Not every writer has deadlines; then readBody gives up alone, and later, for a server whose reading is given up
	// first would wait for the rest of the body.
	connection := http.NewResponseController(w)
	_ = connection.SetReadDeadline(began.Add(bodyWithin))

	var event Event
	var no *refusal
	sender, err := h.admit(r)
	if err != nil {
		no = foreign(err)
	} else {
		event, no = receive(r, began.Add(bodyLost))
	}
	if no == nil {
		// The server lifts the deadline when it has read the body, but not if that was before we set it.
		_ = connection.SetReadDeadline(time.Time{})
		no = h.deliver(r.Context(), event, began)
	}
	h.answer(w, began, no)
	h.logAnswer(r, sender, event, began, no)
}

var (
	errLate  = errors.New("no outcome in time for the answer")
	errEnded = errors.New("the function ended its goroutine")
)

// deliver waits for the function's outcome, but no longer than the answer may.
func (h *Handler) deliver(ctx context.Context, event Event, began time.Time) *refusal {
	if _, ping := event.(Ping); ping {
		return nil
	}
	known := h.dedupe
	if event.identity().chat == 0 {
		known = nil
	}
	c, mine := known.join(event.identity())
	if mine {
		go h.call(context.WithoutCancel(ctx), event, began, func(err error) { known.settle(event.identity(), c, err) })
	}
	late := time.NewTimer(time.Until(began.Add(answerWithin)))
	defer late.Stop()
	select {
	case <-c.done:
		if c.err != nil {
			return failed(c.err)
		}
		return nil
	case <-late.C:
		return failed(errLate)
	}
}

// call calls the function and tells the outcome, whatever the function does.
func (h *Handler) call(ctx context.Context, event Event, began time.Time, settle func(error)) {
	ctx, cancel := context.WithDeadline(ctx, began.Add(handleWithin))
	defer cancel()
	err := errEnded
	defer func() {
		settle(err)
		if time.Since(began) > answerWithin {
			h.logLate(ctx, event, began, err)
		}
	}()
	err = safely(func() error { return h.handle(ctx, event) })
}

// panicked is a panic as an error.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

func safely(f func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &panicked{value, debug.Stack()}
		}
	}()
	return f()
}
