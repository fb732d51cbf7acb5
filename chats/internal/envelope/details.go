package envelope

import (
	"encoding/json"
	"regexp"
	"slices"
)

// The bounds of what Details reads: of a body, of a text that is not JSON, and of a list of
// errors.
const (
	maxBody    = 64 << 10
	maxText    = 4 << 10
	maxDetails = 10
)

// Detail is one reason for a failure. Code is empty for plain text.
type Detail struct{ Code, Message string }

// IsAPI reports whether the body is one of the API's, successful or not. A gateway in
// between sends HTML, nothing, or JSON of its own.
func (b Body) IsAPI() bool {
	var body struct {
		Status any
		Errors []struct{ Code any }
	}
	unmarshalAny(b.Text, &body)
	return body.Status == statusOK || body.Status == statusError ||
		slices.ContainsFunc(body.Errors, func(e struct{ Code any }) bool { code, _ := e.Code.(string); return code != "" })
}

// Details returns what the body says about an error: the errors of the envelope, a bare
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

// sanitize returns a text fit for an error, or "" if value is not a text.
func (b Body) sanitize(value any) string {
	text, _ := value.(string)
	return b.Redactor.Sanitize(text)
}

// markup matches the HTML around the text of a gateway's page.
var markup = regexp.MustCompile(`(?is)<(script|style)\b.*?</(script|style)>|<[^>]*>`)

// plainText returns the text of a body of unknown shape. It encodes JSON again, so that an
// escaped secret is found. An empty envelope has no text.
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
