package chats

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/envelope"
	"github.com/ymchats/ymchats-go/chats/internal/httpbody"
	"github.com/ymchats/ymchats-go/chats/internal/servertime"
)

// response is the response to one attempt, including its whole body.
type response struct {
	call    *call
	status  int
	header  http.Header
	body    *bytes.Buffer
	bodyErr error // why the body could not be read to its end
	isWhole bool  // the body has the announced length
	unsent  bool  // the server cannot have received the whole request; see upload.Form
	limit   Limit

	decodeErr  error // why a 2xx is not a success
	stopReason error // why it was not retried
}

func (r *response) ok() bool { return r.status >= 200 && r.status < 300 }

// truncated reports whether the connection was lost before the end of the body. If the body
// has no declared length, only its JSON shows that.
func (r *response) truncated() bool {
	return r.bodyErr != nil && !r.isTooLarge() || errors.Is(r.decodeErr, io.ErrUnexpectedEOF)
}

// isTooLarge reports whether the body must not be decoded.
func (r *response) isTooLarge() bool {
	return errors.Is(r.bodyErr, httpbody.ErrTooLarge) || errors.Is(r.bodyErr, httpbody.ErrTooManyItems)
}

// maxClockError is the maximum by which the local clock is assumed to be ahead of the
// server's.
const maxClockError = 24 * time.Hour

// time returns the time of the response by the Date header or by the local clock, whichever is
// earlier, because either clock may be ahead. Without a Date, the local clock is assumed to be
// ahead by maxClockError.
func (r *response) time() time.Time {
	now := time.Now()
	date, ok := servertime.Parse(r.header.Get("Date"))
	switch {
	case !ok:
		return now.Add(-maxClockError)
	case date.Before(now):
		return date
	}
	return now
}

// release returns the buffer to the pool. The body must not be used afterwards.
func (r *response) release() {
	if r != nil {
		httpbody.Release(r.body)
		r.body = nil
	}
}

// envelope returns the body for decoding. It must not have been released.
func (r *response) envelope() envelope.Body {
	return envelope.Body{Text: r.body.Bytes(), Whole: r.isWhole, Redactor: &r.call.secrets}
}

// isGateways reports whether a 4xx comes from a gateway. A 404 may do so while the API is being
// deployed, and then says nothing about a chat, message or order.
func (r *response) isGateways() bool {
	return r.status/100 == 4 && r.call.op != OpDownload && (r.isTooLarge() || !r.envelope().IsAPI())
}

func (r *response) isGatewayNotFound() bool { return r.status == http.StatusNotFound && r.isGateways() }

// details returns the details of an error from the body.
func (r *response) details() (all []Detail) {
	for _, d := range r.envelope().Details() {
		all = append(all, Detail(d))
	}
	return all
}

// responseBody is the body that the generated client reads. Close releases the buffer.
type responseBody struct {
	io.Reader
	response *response
}

func (b *responseBody) Close() error {
	b.Reader = bytes.NewReader(nil)
	b.response.release()
	return nil
}

// httpResponse returns the response for the generated client.
func (r *response) httpResponse(req *http.Request) *http.Response {
	text := r.call.secrets.RedactBody(r.body.Bytes(), !r.ok()) // the generated client quotes a time that it cannot read
	var body io.Reader = bytes.NewReader(text)
	if r.bodyErr != nil {
		body = io.MultiReader(body, errorReader{r.bodyErr})
	}
	return &http.Response{
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Status:        strconv.Itoa(r.status) + " " + http.StatusText(r.status),
		StatusCode:    r.status,
		Header:        r.call.secrets.RedactHeader(r.header),
		Body:          &responseBody{Reader: body, response: r},
		ContentLength: int64(len(text)),
		Request:       req,
	}
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }
