package notify

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/ymchats/ymchats-go/gen/notification"
)

// refusal is an answer other than 200.
type refusal struct {
	status  int
	kind    notification.ErrorType
	message string // for the sender
	cause   error  // for the logger
	hangUp  bool   // the body was not read to its end
}

// strange refuses what Market never sends.
func strange(status int, kind notification.ErrorType, message string) *refusal {
	return &refusal{status: status, kind: kind, message: message, cause: errors.New(message), hangUp: true}
}

func foreign(err error) *refusal {
	no := strange(http.StatusForbidden, notification.ErrorTypeUnknown, "notifications are taken from Market alone")
	no.cause = err
	return no
}

// unread refuses a body that broke off or came too slowly. It may be Market's: it
// shall be sent again.
func unread(err error) *refusal {
	no := failed(err)
	no.message = "the notification could not be read to its end"
	no.hangUp = true
	return no
}

func malformed(err *ParseError) *refusal {
	return &refusal{
		status: http.StatusBadRequest, kind: notification.ErrorTypeWrongEventFormat, cause: err, message: err.detail(),
	}
}

// failed keeps the reason to itself: it is the caller's and not for strangers.
func failed(err error) *refusal {
	return &refusal{
		status: http.StatusInternalServerError, kind: notification.ErrorTypeUnknown, cause: err,
		message: "the notification could not be handled",
	}
}

// answer is the body of the contract for the outcome.
func (h *Handler) answer(w http.ResponseWriter, began time.Time, no *refusal) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	if no == nil {
		write(w, http.StatusOK, notification.Response{Name: h.name, Version: h.version, Time: began.UTC()})
		return
	}
	if no.status == http.StatusMethodNotAllowed {
		header.Set("Allow", http.MethodPost)
	}
	if no.hangUp {
		// Or else the server would wait for the rest of the body before it answers.
		header.Set("Connection", "close")
	}
	write(w, no.status, notification.ErrorResponse{Error: notification.Error{Type: no.kind, Message: no.message}})
}

// write sends the answer whole, before anything else is done: net/http would keep it
// until the handler returns. A failure is ignored: there is nobody left to tell, and
// Market sends again what it got no answer to.
func write(w http.ResponseWriter, status int, body any) {
	content, err := json.Marshal(body)
	if err != nil {
		panic(err) // strings and a time of this century
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	w.WriteHeader(status)
	_, _ = w.Write(content)
	_ = http.NewResponseController(w).Flush() // not every writer can
}
