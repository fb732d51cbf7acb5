package notify

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/ymchats/ymchats-go/gen/notification"
)

// maxBody is far above any notification of a chat, which has some 200 bytes.
const maxBody = 64 << 10

var errLateBody = errors.New("the body did not arrive in time")

// receive takes the event out of a request that was let in.
func receive(r *http.Request, until time.Time) (Event, *refusal) {
	switch {
	case r.Method != http.MethodPost:
		return nil, strange(http.StatusMethodNotAllowed, notification.ErrorTypeUnknown, "notifications are posted")
	case !isJSON(r.Header.Get("Content-Type")):
		return nil, strange(http.StatusUnsupportedMediaType, notification.ErrorTypeWrongEventFormat,
			"notifications are application/json")
	}
	body, err := readBody(r.Body, until)
	if err != nil {
		return nil, unread(err)
	}
	if len(body) > maxBody {
		return nil, strange(http.StatusRequestEntityTooLarge, notification.ErrorTypeWrongEventFormat,
			"notifications have at most 65536 bytes")
	}
	event, parseErr := parse(body)
	if parseErr != nil {
		return nil, malformed(parseErr)
	}
	return event, nil
}

// isJSON takes a request that names no type at all, too: should Market send one,
// a refusal would hold up everything behind it.
func isJSON(contentType string) bool {
	if strings.TrimSpace(contentType) == "" {
		return true
	}
	// Parameters, even malformed ones, change nothing: JSON is UTF-8.
	media, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(media), "application/json")
}

// readBody reads at most one byte more than allowed. It gives up at the given
// time even where the connection has no deadline of its own.
func readBody(body io.Reader, until time.Time) ([]byte, error) {
	if body == nil {
		return nil, nil
	}
	var content []byte
	done := make(chan error, 1)
	go func() {
		done <- safely(func() (err error) {
			content, err = io.ReadAll(io.LimitReader(body, maxBody+1))
			return err
		})
	}()
	late := time.NewTimer(time.Until(until))
	defer late.Stop()
	select {
	case err := <-done:
		return content, err
	case <-late.C:
		return nil, errLateBody
	}
}
