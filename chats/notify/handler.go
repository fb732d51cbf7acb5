package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"
	"unicode/utf8"
)

// Market waits 10 seconds for a response. These timeouts count from the start of ServeHTTP:
const (
	connReadTimeout = 3 * time.Second // the connection stops reading the body
	bodyTimeout     = 4 * time.Second // the handler stops reading it, if the connection has no deadline
	handleTimeout   = 8 * time.Second // the context of the handle function ends, without deduplication
	responseTimeout = 9 * time.Second // the response is sent; the last second is the network's
	dedupeTimeout   = time.Minute     // the context ends, with deduplication: Market's first retry comes after a minute
)

// maxNameLength is the contract's limit for name and version, in characters.
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
// concurrently if several arrive at the same time. name and version, of 1 to 100
// characters each, identify the program; they are part of every 200 response. An invalid
// argument is reported as a [chats.ArgumentError].
//
// The handle function must return nil if the event need not be sent again, and an error if a retry
// may help. The error is logged and never sent to Market. A panic counts as an error. The context
// carries the values of the request's context and ends when the function returns, or a minute after
// the request arrived. The context does not end when Market disconnects: Market would send the
// event again anyway, so the work may as well be finished. If the function is still running 9
// seconds after the request arrived, Market gets 500, and the function continues: if it succeeds
// after all, the next retry gets 200 (see [WithDedupe]). Without deduplication, the context ends
// after 8 seconds, so that the function is no longer running when the next retry arrives. Work that
// takes more than a minute belongs in a queue, or needs its own context ([context.WithoutCancel]).
// If the function returns after the response has been sent, this is logged. [http.Server.Shutdown]
// waits for responses, but not for functions that are still running after them.
//
// After any response other than 200 and 400, Market retries the notification and sends
// nothing else in the meantime. An allowed sender (see [WithAllowedNetworks]) gets one of
// three responses:
//
//   - 200 if the event was handled, or is a [Ping];
//   - 400 if [Parse] rejects the notification, if it is larger than 1 MiB, or if the request is not
//     a POST (behind [Handler.Mount], the mux responds to such a request itself); Market then drops
//     the notification;
//   - 500 if the function failed or did not return in time, or if the body could not be read;
//     Market then sends the notification again.
//
// A body may be in gzip format; its content type does not matter. It must arrive within 3
// seconds, or 4 if a middleware keeps the handler from setting a read deadline on the
// connection. Give the server a WriteTimeout above 10 seconds, or none.
func NewHandler(
	name, version string, handle func(context.Context, Event) error, options ...Option,
) (*Handler, error) {
	if err := cmp.Or(checkName("name", name), checkName("version", version)); err != nil {
		return nil, err
	}
	if handle == nil {
		return nil, badArgument("handle", "is nil")
	}
	c := config{dedupe: newDedupe(defaultWindow, defaultSize), logger: slog.Default()}
	for _, option := range options {
		if option == nil {
			return nil, badArgument("option", "is nil")
		}
		if err := option(&c); err != nil {
			return nil, err
		}
	}
	if len(c.senders.proxies) > 0 && c.senders.clientAddr != nil {
		return nil, badArgument("trusted proxies", "cannot be combined with WithClientAddr")
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
	// Not every writer supports deadlines, so readBody has a timeout as well. It is longer,
	// because a server that is still reading would wait for the rest of the body.
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(began.Add(connReadTimeout))

	var n received
	var rejected *rejection
	sender, err := h.senders.admit(r)
	if err != nil {
		rejected = forbidden(err)
	} else {
		n, rejected = receive(r, began.Add(bodyTimeout))
	}
	if rejected == nil {
		// The server removes the deadline once it has read the body, unless the deadline was set
		// after that.
		_ = conn.SetReadDeadline(time.Time{})
		rejected = h.deliver(r.Context(), n, began)
	}
	h.respond(w, began, rejected)
	h.log.response(r.Context(), sender, n.id, began, rejected)
}

// received is a notification that was read. If it was rejected, id has the fields that are
// known.
type received struct {
	event Event
	id    identity
}

// receive reads the notification of an allowed sender. The content type does not
// matter: rejecting a notification for its label would lose it.
func receive(r *http.Request, deadline time.Time) (received, *rejection) {
	if r.Method != http.MethodPost {
		return received{}, protocolViolation("notifications are sent by POST")
	}
	body, rejected := readBody(r, deadline)
	if rejected != nil {
		return received{}, rejected
	}
	event, business, err := parse(body)
	if err != nil {
		return received{id: identity{kind: err.Type, business: err.Business}}, malformed(err)
	}
	return received{event, identityOf(event, business, body)}, nil
}

var (
	errHandlerTimeout = errors.New("handler did not return in time for the response")
	errHandlerExited  = errors.New("handler exited its goroutine")
)

// deliver waits for the outcome of the handle function, until the response is due.
func (h *Handler) deliver(ctx context.Context, n received, began time.Time) *rejection {
	if _, ping := n.event.(Ping); ping {
		return nil
	}
	inv, created := h.dedupe.acquire(n.id)
	if created {
		go h.invoke(context.WithoutCancel(ctx), n, began, func(err error) { h.dedupe.complete(n.id, inv, err) })
	}
	timer := time.NewTimer(time.Until(began.Add(responseTimeout)))
	defer timer.Stop()
	select {
	case <-inv.done:
		if inv.err != nil {
			return handlerFailed(inv.err)
		}
		h.dedupe.acknowledge(n.id, inv)
		return nil
	case <-timer.C:
		return handlerFailed(errHandlerTimeout)
	}
}

// invoke calls the handle function and reports the outcome, even if the function panics
// or calls runtime.Goexit.
func (h *Handler) invoke(ctx context.Context, n received, began time.Time, complete func(error)) {
	timeout := handleTimeout
	if h.dedupe != nil {
		timeout = dedupeTimeout
	}
	ctx, cancel := context.WithDeadline(ctx, began.Add(timeout))
	defer cancel()
	err := errHandlerExited
	defer func() {
		complete(err)
		if time.Since(began) > responseTimeout {
			h.log.lateReturn(ctx, n.id, began, err)
		}
	}()
	err = recoverPanic(func() error { return h.handle(ctx, n.event) })
}
