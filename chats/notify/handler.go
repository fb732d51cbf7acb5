package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ymchats/ymchats-go/gen/notification"
)

// Market waits 10 seconds for a response. Counted from the beginning of ServeHTTP:
const (
	connReadTimeout = 3 * time.Second // the connection stops reading the body
	bodyTimeout     = 4 * time.Second // the handler does, if the connection has no deadline
	handleTimeout   = 8 * time.Second // the context of the handle function ends
	responseTimeout = 9 * time.Second // the response is sent; the last second is the network's
)

// maxNameLength is the contract's limit of name and version, in characters.
const maxNameLength = 100

// Handler receives notifications. It is safe for concurrent use.
type Handler struct {
	responder
	senders senders
	dedupe  *dedupe
	log     eventLog
	handle  func(context.Context, Event) error
}

// NewHandler returns a handler that calls handle for every event except [Ping],
// concurrently if several arrive at once. name and version are those of the program,
// 1 to 100 characters each; every 200 carries them. An invalid argument is reported
// as a [chats.ArgumentError].
//
// handle returns nil if the event need not be sent again, and an error if a retry
// may help. The error is logged and never sent to Market. A panic counts as an
// error. The context has the values of the request's and ends 8 seconds after the
// request arrived, or when handle returns. It does not end when Market disconnects:
// Market sends the event again anyway, and the work would be left half done. After 9
// seconds Market gets 500, whether or not handle has returned; a handle that obeys
// its context never takes that long. One that returns later is logged. A shutdown of
// the [http.Server] waits for the responses, not for a handle that missed its own.
//
// Market gets 200 for an event that was handled, 400 for a notification that
// [Parse] rejects, and 500 otherwise. Other senders get 403 (see
// [WithAllowedNetworks]), 405 for another method than POST, 413 for more than 64 KiB
// and 415 for another type than application/json. The body must arrive within 3
// seconds, 4 if a middleware hides the deadlines of the connection. Give the server a
// WriteTimeout above 10 seconds, or none.
func NewHandler(
	name, version string, handle func(context.Context, Event) error, options ...Option,
) (*Handler, error) {
	if err := cmp.Or(checkName("name", name), checkName("version", version)); err != nil {
		return nil, err
	}
	if handle == nil {
		return nil, badArgument("handle", "is nil")
	}
	c := config{logger: slog.Default()}
	for _, option := range options {
		if option == nil {
			return nil, badArgument("option", "is nil")
		}
		if err := option(&c); err != nil {
			return nil, err
		}
	}
	return &Handler{
		responder: responder{name, version}, senders: c.senders, dedupe: c.dedupe, log: eventLog{c.logger}, handle: handle,
	}, nil
}

func checkName(field, value string) error {
	if n := utf8.RuneCountInString(value); n < 1 || n > maxNameLength || !utf8.ValidString(value) {
		return badArgument(field, fmt.Sprintf("must have 1 to %d characters", maxNameLength))
	}
	return nil
}

// ServeHTTP implements [http.Handler]. It ignores the path.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	// Not every writer supports deadlines. Without one readBody gives up alone, and later, because a server whose
	// reading is given up first would wait for the rest of the body.
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(began.Add(connReadTimeout))

	var event Event
	var rejected *rejection
	sender, err := h.senders.admit(r)
	if err != nil {
		rejected = forbidden(err)
	} else {
		event, rejected = receive(r, began.Add(bodyTimeout))
	}
	if rejected == nil {
		// The server removes the deadline once it has read the body, but not if that was before we set it.
		_ = conn.SetReadDeadline(time.Time{})
		rejected = h.deliver(r.Context(), event, began)
	}
	h.respond(w, began, rejected)
	h.log.response(r.Context(), sender, event, began, rejected)
}

// receive reads the event of a request that was let in.
func receive(r *http.Request, deadline time.Time) (Event, *rejection) {
	switch {
	case r.Method != http.MethodPost:
		return nil, protocolViolation(http.StatusMethodNotAllowed, notification.ErrorTypeUnknown,
			"notifications are sent by POST")
	case !isJSON(r.Header.Get("Content-Type")):
		return nil, protocolViolation(http.StatusUnsupportedMediaType, notification.ErrorTypeWrongEventFormat,
			"notifications are application/json")
	}
	body, err := readBody(r.Body, deadline)
	if err != nil {
		return nil, readFailed(err)
	}
	if len(body) > maxBody {
		return nil, protocolViolation(http.StatusRequestEntityTooLarge, notification.ErrorTypeWrongEventFormat,
			fmt.Sprintf("notification is larger than %d bytes", maxBody))
	}
	event, _, parseErr := parse(body)
	if parseErr != nil {
		return nil, malformed(parseErr)
	}
	return event, nil
}

// isJSON also accepts a request without a content type: if Market sent one, a
// rejection would hold up everything behind it.
func isJSON(contentType string) bool {
	if strings.TrimSpace(contentType) == "" {
		return true
	}
	// Parameters, even malformed ones, change nothing: JSON is UTF-8.
	media, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(media), "application/json")
}

var (
	errHandlerTimeout = errors.New("handler did not return in time for the response")
	errHandlerExited  = errors.New("handler exited its goroutine")
)

// deliver waits for the outcome of the handle function, but no longer than the
// response may take.
func (h *Handler) deliver(ctx context.Context, event Event, began time.Time) *rejection {
	if _, ping := event.(Ping); ping {
		return nil
	}
	dedupe := h.dedupe
	if event.identity().chat == 0 {
		dedupe = nil
	}
	inv, created := dedupe.acquire(event.identity())
	if created {
		go h.invoke(context.WithoutCancel(ctx), event, began, func(err error) { dedupe.complete(event.identity(), inv, err) })
	}
	timer := time.NewTimer(time.Until(began.Add(responseTimeout)))
	defer timer.Stop()
	select {
	case <-inv.done:
		if inv.err != nil {
			return handlerFailed(inv.err)
		}
		return nil
	case <-timer.C:
		return handlerFailed(errHandlerTimeout)
	}
}

// invoke calls the handle function and reports the outcome, even if the function
// panics or ends its goroutine.
func (h *Handler) invoke(ctx context.Context, event Event, began time.Time, complete func(error)) {
	ctx, cancel := context.WithDeadline(ctx, began.Add(handleTimeout))
	defer cancel()
	err := errHandlerExited
	defer func() {
		complete(err)
		if time.Since(began) > responseTimeout {
			h.log.lateReturn(ctx, event, began, err)
		}
	}()
	err = recoverPanic(func() error { return h.handle(ctx, event) })
}
