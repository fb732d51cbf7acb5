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

// protocolViolation rejects a request that Market never sends.
func protocolViolation(status int, kind notification.ErrorType, message string) *rejection {
	return &rejection{
		status: status, kind: kind, message: message,
		log: "notify: notification rejected", cause: errors.New(message), closeConn: true,
	}
}

func forbidden(err error) *rejection {
	r := protocolViolation(http.StatusForbidden, notification.ErrorTypeUnknown, "sender not allowed")
	r.log, r.cause = "notify: sender refused", err
	return r
}

// readFailed rejects a body that broke off or arrived too slowly. It may be from
// Market, which has to send it again.
func readFailed(err error) *rejection {
	r := handlerFailed(err)
	r.message = "reading the notification failed"
	r.log, r.closeConn = "notify: reading body failed", true
	return r
}

func malformed(err *ParseError) *rejection {
	return &rejection{
		status: http.StatusBadRequest, kind: notification.ErrorTypeWrongEventFormat, message: err.detail(),
		log: "notify: notification rejected", cause: err,
	}
}

// handlerFailed hides the cause from the sender: it is internal to the program.
func handlerFailed(err error) *rejection {
	return &rejection{
		status: http.StatusInternalServerError, kind: notification.ErrorTypeUnknown,
		message: "handling the notification failed", log: "notify: handler failed", cause: err,
	}
}
