package envelope

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// The maximum sizes that Details reads of a body and of a text that is not JSON, in bytes, and the
// maximum number of errors.
const (
	maxBody    = 64 << 10
	maxText    = 4 << 10
	maxDetails = 10
)

// Detail is one reason for a failure. Code is empty for plain text.
type Detail struct{ Code, Message string }

// IsAPI reports whether the body was sent by the API, for a success or a failure. Gateways send
// HTML, nothing, or JSON in another format.
func (b Body) IsAPI() bool {
	var body struct {
		Status any
		Errors []struct{ Code any }
	}
	unmarshalAny(b.Text, &body)
	return body.Status == statusOK || body.Status == statusError ||
		slices.ContainsFunc(body.Errors, func(e struct{ Code any }) bool { code, _ := e.Code.(string); return code != "" })
}

// Details returns the details of an error from the body: the errors of the envelope, a bare
// message, or any text.
func (b Body) Details() []Detail {
	text := []byte(b.Redactor.Redact(string(b.Text[:min(len(b.Text), maxBody)])))
	var body struct {
		Errors  []struct{ Code, Message any }
		Message any
	}
	unmarshalAny(text, &body)
	var all []Detail
	for _, e := range body.Errors[:min(len(body.Errors), maxDetails)] {
		if d := (Detail{b.sanitize(e.Code), b.sanitize(e.Message)}); d != (Detail{}) {
			all = append(all, d)
		}
	}
	if len(all) > 0 {
		return all
	}
	bare := b.sanitize(body.Message)
	if bare == "" {
		bare = b.Redactor.Sanitize(plainText(text))
	}
	if bare == "" {
		return nil
	}
	return []Detail{{Message: bare}}
}

// sanitize returns value in a form fit for an error, or "" if it is not a string.
func (b Body) sanitize(value any) string {
	text, _ := value.(string)
	return b.Redactor.Sanitize(text)
}

// markup matches the HTML around the text of an error page.
var markup = regexp.MustCompile(`(?is)<(script|style)\b.*?</(script|style)>|<[^>]*>`)

// plainText returns the text of a body in an unknown format. It re-encodes JSON, so that escaped
// secrets are found. An empty envelope has no text.
func plainText(text []byte) string {
	var value any
	if json.Unmarshal(text, &value) != nil {
		return markup.ReplaceAllString(string(text[:min(len(text), maxText)]), " ")
	}
	fields, isObject := value.(map[string]any)
	for _, name := range []string{"status", "result", "errors", "message"} {
		if v := fields[name]; name == "status" || name == "result" || isEmpty(v) {
			delete(fields, name)
		}
	}
	if value == nil || isObject && len(fields) == 0 {
		return ""
	}
	written, _ := json.Marshal(value) //nolint:errchkjson // decoded JSON can be encoded
	return string(written)
}

func isEmpty(value any) bool {
	list, isList := value.([]any)
	return value == nil || value == "" || isList && len(list) == 0
}

// hasText reports whether a decoded value has a text or a number, such as a code.
func hasText(value any) bool {
	switch v := value.(type) {
	case string:
		return strings.TrimSpace(v) != ""
	case float64:
		return v != 0
	case []any:
		return slices.ContainsFunc(v, hasText)
	case map[string]any:
		return slices.ContainsFunc(slices.Collect(maps.Values(v)), hasText)
	}
	return false
}
