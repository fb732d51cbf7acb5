package notify

import (
	"errors"
	"net/http"

	"github.com/ymchats/ymchats-go/gen/notification"
)

// rejection is a response other than 200.
type rejection struct {
	status    int
	kind      notification.ErrorType
	message   string // for the sender
	log       string // for the logger: what failed
	cause     error  // for the logger
	closeConn bool   // the body was not read to its end
}

func forbidden(err error) *rejection {
	return &rejection{
		status: http.StatusForbidden, kind: notification.ErrorTypeUnknown, message: "sender not allowed",
		log: "notify: sender refused", cause: err, closeConn: true,
	}
}

// protocolViolation rejects a request that cannot be a notification. Any status other than
// 400 would make an allowed sender send it again.
func protocolViolation(message string) *rejection {
	return &rejection{
		status: http.StatusBadRequest, kind: notification.ErrorTypeWrongEventFormat, message: message,
		log: "notify: notification rejected", cause: errors.New(message), closeConn: true,
	}
}

func malformed(err *ParseError) *rejection {
	r := protocolViolation(err.detail())
	r.cause, r.closeConn = err, false
	return r
}

// readFailed rejects a request whose body was truncated or arrived too slowly. It may be
// from Market, which then has to send it again.
func readFailed(err error) *rejection {
	r := handlerFailed(err)
	r.message = "reading the notification failed"
	r.log, r.closeConn = "notify: reading body failed", true
	return r
}

// handlerFailed hides the cause from the sender: it is internal to the program.
func handlerFailed(err error) *rejection {
	return &rejection{
		status: http.StatusInternalServerError, kind: notification.ErrorTypeUnknown,
		message: "handling the notification failed", log: "notify: handler failed", cause: err,
	}
}
