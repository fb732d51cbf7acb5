package chatstest

import (
	"bytes"
	"encoding/json"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/ymchats/ymchats-go/chats"
)

// OpDownload is the operation of file downloads in [Market.Fail],
// [Market.FailFunc] and [Market.Calls]. No limit applies to downloads.
const OpDownload = chats.OpDownload

// The maximum sizes of request bodies. A form is slightly larger than its file.
const (
	maxJSONBody = 512 << 10
	maxFormBody = chats.MaxFileSize + 64<<10
)

// request is a request that has been received completely.
type request struct {
	op     chats.Operation // empty: no operation has this method and path
	method string
	path   string
	query  url.Values
	header http.Header
	body   []byte
	at     time.Time // when it is processed
}

func newRequest(r *http.Request, op chats.Operation, body []byte) *request {
	return &request{op: op, method: r.Method, path: r.URL.Path, query: r.URL.Query(), header: r.Header.Clone(), body: body}
}

func isAPI(op chats.Operation) bool { return op != "" && op != OpDownload }

// fieldNames are the names of all fields of requests.
var fieldNames = map[string]bool{
	"contexts": true, "contextTypes": true, "types": true, "statuses": true, "orderIds": true,
	"messageIdFrom": true, "message": true, "context": true, "orderId": true, "type": true, "id": true,
}

// decode reads a JSON object. Unknown fields are ignored, as by the real Market.
func (r *request) decode(into any) *problem {
	contentType := r.header.Get("Content-Type")
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil || mediaType != "application/json" {
		return unsupported(contentType)
	}
	if len(r.body) > maxJSONBody {
		return badRequest("The request is larger than %d bytes", maxJSONBody)
	}
	if !utf8.Valid(r.body) {
		return badRequest("The request is not UTF-8")
	}
	if body := bytes.TrimSpace(r.body); len(body) == 0 || body[0] != '{' {
		return badRequest("The request must be a JSON object")
	}
	if err := decodeExact(r.body, into); err != nil {
		return badRequest("The request cannot be read: %v", err)
	}
	return nil
}

// decodeExact matches field names case-sensitively, which encoding/json does not.
func decodeExact(data []byte, into any) error {
	if err := json.Unmarshal(data, &struct{}{}); err != nil { // also checks what follows the object
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var value any
	_ = decoder.Decode(&value)           // checked above
	data, _ = json.Marshal(known(value)) //nolint:errchkjson // it was decoded from JSON
	return json.Unmarshal(data, into)
}

// known removes unknown fields.
func known(value any) any {
	switch value := value.(type) {
	case map[string]any:
		maps.DeleteFunc(value, func(name string, _ any) bool { return !fieldNames[name] })
		for _, field := range value {
			known(field)
		}
	case []any:
		for _, item := range value {
			known(item)
		}
	}
	return value
}

// id reads a required query parameter.
func (r *request) id(name string) (int64, *problem) {
	id, err := strconv.ParseInt(r.query.Get(name), 10, 64)
	if err != nil || id < 1 {
		return 0, badRequest("Parameter '%s' must be a number above 0: '%s'", name, r.query.Get(name))
	}
	return id, nil
}
