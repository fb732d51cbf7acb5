package envelope

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// maxDepth is the depth of nesting below which values are dropped, if encoding/json refuses
// a body. The contract's types have a depth of eight.
const maxDepth = 100

func isSyntaxError(err error) bool {
	var syntax *json.SyntaxError
	return errors.As(err, &syntax)
}

// unmarshalAny decodes what it can of a body. What does not match stays empty.
func unmarshalAny(body []byte, into any) {
	if isSyntaxError(json.Unmarshal(body, into)) {
		_ = json.Unmarshal(withoutDeepValues(body), into)
	}
}

// withoutDeepValues returns a JSON text with null in place of the values that are nested too
// deeply: encoding/json refuses the whole text because of one of them.
func withoutDeepValues(text []byte) []byte {
	out := make([]byte, 0, len(text))
	var open []byte // the brackets that are not closed
	inString := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		isDeep := len(open) > maxDepth
		switch {
		case inString && c == '\\' && i+1 < len(text):
			if !isDeep {
				out = append(out, c)
			}
			i++
			c = text[i]
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if open = append(open, c+2); len(open) == maxDepth+1 { // '}' and ']' follow two later
				out = append(out, "null"...)
			}
			isDeep = len(open) > maxDepth
		case c == '}' || c == ']':
			if len(open) == 0 || open[len(open)-1] != c {
				return text // not JSON
			}
			open = open[:len(open)-1]
		}
		if !isDeep {
			out = append(out, c)
		}
	}
	return out
}

// decodeRepaired decodes a body that the contract's types cannot read: it makes the fields
// that have another type readable, or drops them, so that a malformed field affects nothing
// but itself. It takes several times as long as decoding the contract's types.
func decodeRepaired(body []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return err
	}
	repair(tree)
	repaired, err := json.Marshal(tree)
	if err != nil {
		return err
	}
	return json.Unmarshal(repaired, into)
}

// repairs are the contract's fields, in lower case because encoding/json ignores case, each
// with a function that returns a value of the field's type, or nil. The structure of a page
// is never dropped, so that a malformed one fails: result, the lists of chats and messages,
// and paging with its token, without which the page would look like the last one.
var repairs = map[string]func(any) any{
	"chatid": toInteger, "messageid": toInteger, "campaignid": toInteger, "orderid": toInteger, "returnid": toInteger, "size": toInteger,
	"createdat": toTime, "updatedat": toTime,
	"message": only[string], "name": only[string], "url": only[string], "publicid": only[string],
	"sender": only[string], "type": only[string], "status": only[string],
	"context": only[map[string]any], "customer": only[map[string]any],
	"payload": func(value any) any { return onlyObjects(only[[]any](value)) },
	"chats":   onlyObjects, "messages": onlyObjects,
	"nextpagetoken": numberToText,
}

// repair applies repairs to the fields of all objects in value.
func repair(value any) {
	switch v := value.(type) {
	case []any:
		for _, element := range v {
			repair(element)
		}
	case map[string]any:
		for name, field := range v {
			if fix := repairs[strings.ToLower(name)]; fix != nil {
				field = fix(field)
				v[name] = field
			}
			repair(field)
		}
	}
}

// only returns value if it is a T, and otherwise nil.
func only[T any](value any) any {
	if _, ok := value.(T); ok {
		return value
	}
	return nil
}

// onlyObjects replaces the elements of a list that are not objects by null.
func onlyObjects(value any) any {
	if list, ok := value.([]any); ok {
		for i := range list {
			list[i] = only[map[string]any](list[i])
		}
	}
	return value
}

func numberToText(value any) any {
	if number, ok := value.(json.Number); ok {
		return number.String()
	}
	return value
}

func toInteger(value any) any {
	if n, ok := parseInteger(value); ok {
		return n
	}
	return nil
}

// parseInteger reads integers, including those in strings or with a fraction of zero.
func parseInteger(value any) (int64, bool) {
	text := strings.TrimSpace(fmt.Sprint(value))
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, true
	}
	const exact = 1 << 53 // above it a float cannot represent a fraction
	f, err := strconv.ParseFloat(text, 64)
	return int64(f), err == nil && f == math.Trunc(f) && math.Abs(f) <= exact
}

var timeLayouts = []string{"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"}

// toTime reads times, including those without an offset (taken to be UTC), with a space
// instead of the T, and Unix times.
func toTime(value any) any {
	var t time.Time
	if n, ok := parseInteger(value); ok {
		t = unixTime(n)
	} else if text, ok := value.(string); ok {
		text = strings.ToUpper(strings.Replace(strings.TrimSpace(text), " ", "T", 1))
		text = strings.ReplaceAll(text, " ", "") // before the offset
		for _, layout := range timeLayouts {
			if parsed, err := time.Parse(layout, text); err == nil {
				t = parsed
				break
			}
		}
	}
	if t = t.UTC(); t.IsZero() || t.Year() < 0 || t.Year() > 9999 { // encoding/json refuses those
		return nil
	}
	return t
}

// unixTime returns the time of a Unix timestamp in seconds, milliseconds, microseconds or
// nanoseconds, whichever its size suggests.
func unixTime(n int64) time.Time {
	switch {
	case n <= 0:
		return time.Time{}
	case n < 1e11:
		return time.Unix(n, 0)
	case n < 1e14:
		return time.UnixMilli(n)
	case n < 1e17:
		return time.UnixMicro(n)
	}
	return time.Unix(0, n)
}
