package notify

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/ymchats/ymchats-go/gen/notification"
)

// responder writes the responses of the contract.
type responder struct {
	name, version string // of the program
}

func (p responder) respond(w http.ResponseWriter, began time.Time, rejected *rejection) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	if rejected == nil {
		write(w, http.StatusOK, notification.Response{Name: p.name, Version: p.version, Time: began.UTC()})
		return
	}
	if rejected.closeConn {
		// Otherwise the server would wait for the rest of the body before it responds.
		header.Set("Connection", "close")
	}
	write(w, rejected.status, notification.ErrorResponse{
		Error: notification.Error{Type: rejected.kind, Message: rejected.message},
	})
}

// write sends the whole response immediately: net/http would buffer it until the handler
// returns. An error is ignored, because Market retries a notification that gets no
// response.
func write(w http.ResponseWriter, status int, body any) {
	content, err := json.Marshal(body)
	if err != nil {
		panic(err) // impossible: strings and a time of this century
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	w.WriteHeader(status)
	_, _ = w.Write(content)
	_ = http.NewResponseController(w).Flush() // not every writer supports it
}
