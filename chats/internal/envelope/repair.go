package envelope

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// maxDepth is the nesting depth below which values are dropped if encoding/json rejects a body.
// The contract's types have a depth of eight.
const maxDepth = 100

// maxGrowth is how many bytes longer than the original a repaired body may be. A body that would
// grow more is not repaired.
const maxGrowth = 1 << 20

func isSyntaxError(err error) bool {
	var syntax *json.SyntaxError
	return errors.As(err, &syntax)
}

// unmarshalAny decodes as much of a body as it can. Fields that do not match stay empty.
func unmarshalAny(body []byte, into any) {
	if isSyntaxError(json.Unmarshal(body, into)) {
		_ = json.Unmarshal(repairSyntax(body), into)
	}
}

// repairSyntax returns a JSON object that encoding/json accepts. It replaces values that are
// nested too deeply, are not JSON, such as NaN, or are missing by null. It also escapes control
// characters and quotes in strings, and drops superfluous commas and what follows the object,
// unless that is another object or a list. encoding/json would reject the whole text because of any
// of these. It returns a text that it cannot repair as it is, unless the text was cut off.
func repairSyntax(text []byte) []byte {
	if !bytes.HasPrefix(text, []byte("{")) {
		return text
	}
	for _, isLoose := range []bool{true, false} {
		repaired := rewrite(text, isLoose)
		if err := json.Unmarshal(repaired, &struct{}{}); err == nil || !isLoose && endsEarly(err) {
			return repaired
		}
	}
	return text
}

// endsEarly reports whether err is the error of encoding/json for a text that was cut off. It has no
// sentinel error.
func endsEarly(err error) bool { return err.Error() == "unexpected end of JSON input" }

// rewrite implements repairSyntax. If isLoose is not set, the first quote ends a string, and a space
// ends a value that is not one.
func rewrite(text []byte, isLoose bool) []byte {
	out, rest := make([]byte, 0, len(text)), text
	limit := len(text) + maxGrowth
	var open []byte // the closing brackets that are expected
	isValue := false
	for len(rest) > 0 {
		endsString := func(next []byte) bool {
			return !isLoose || canFollowString(next, isValue, len(open) > 0 && open[len(open)-1] == ']')
		}
		token := rest[:tokenLen(rest, isLoose && isValue, endsString)]
		rest = rest[len(token):]
		if len(open) == 0 && len(out) > 0 && strings.IndexByte("{[ \t\r\n", token[0]) < 0 {
			if isLoose { // the object may have ended within a text
				return text
			}
			return out
		}
		isDeep := len(open) > maxDepth
		if strings.IndexByte(",}]", token[0]) >= 0 {
			out = closeGap(out)
		}
		switch c := token[0]; c {
		case '{', '[':
			if open = append(open, c+2); len(open) == maxDepth+1 { // in ASCII, '{'+2 is '}' and '['+2 is ']'
				out = append(out, "null"...)
			}
			isDeep = len(open) > maxDepth
		case '}', ']':
			if len(open) == 0 || open[len(open)-1] != c {
				return text // not JSON
			}
			open = open[:len(open)-1]
		case '"', ',', ':', ' ', '\t', '\r', '\n':
		default:
			if isValue && !json.Valid(token) {
				token = []byte("null")
			}
		}
		if c := token[0]; c > ' ' {
			isValue = c == ':' || len(open) > 0 && open[len(open)-1] == ']'
		}
		if !isDeep {
			out = appendToken(out, token, limit)
		}
		if len(out) > limit {
			return text
		}
	}
	return out
}

// closeGap adds a missing value before a comma or a bracket, or drops a superfluous comma. object
// is the beginning of an object and is not empty.
func closeGap(object []byte) []byte {
	before := bytes.TrimRight(object, " \t\r\n")
	switch before[len(before)-1] {
	case ':':
		return append(object, "null"...)
	case ',':
		return before[:len(before)-1]
	default:
		return object
	}
}

// tokenLen returns the length of the string, number or name at the beginning of a JSON text. Any
// other character is a token by itself. A quote belongs to the string unless endsString accepts what
// follows it.
func tokenLen(text []byte, hasSpaces bool, endsString func(next []byte) bool) int {
	others := "{}[],: \t\r\n"
	switch {
	case strings.IndexByte(others, text[0]) >= 0:
		return 1
	case text[0] != '"':
		if hasSpaces {
			others = "{}[],"
		}
		n := bytes.IndexAny(text, others+`"`)
		return cmp.Or(max(n, 0), len(text))
	}
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			if endsString(text[i+1:]) {
				return i + 1
			}
		}
	}
	return len(text)
}

// canFollowString reports whether a text can follow a string that is a value, of a list or an
// object, or else a name.
func canFollowString(text []byte, isValue, inList bool) bool {
	const space = " \t\r\n"
	text = bytes.TrimLeft(text, space)
	ends := ":"
	switch {
	case inList:
		ends = ",]"
	case isValue && bytes.HasPrefix(text, []byte(",")):
		ends = `",}`
		text = bytes.TrimLeft(text[1:], space)
	case isValue:
		ends = "}"
	}
	return len(text) == 0 || strings.IndexByte(ends, text[0]) >= 0
}

// appendToken appends a token; a string with its control characters and quotes escaped, and without
// backslashes that do not begin an escape. It stops once the result is longer than limit.
func appendToken(out, text []byte, limit int) []byte {
	if text[0] != '"' {
		return append(out, text...)
	}
	for i := 0; i < len(text) && len(out) <= limit; i++ {
		c := text[i]
		switch n := escapeLen(text[i:]); {
		case n > 0:
			out = append(out, text[i:i+n]...)
			i += n - 1
		case c == '"' && i > 0 && i < len(text)-1:
			out = append(out, '\\', '"')
		case c < ' ':
			out = append(out, '\\', 'u', '0', '0', '0'+c>>4, "0123456789abcdef"[c&0xf])
		case c != '\\':
			out = append(out, c)
		}
	}
	return out
}

// escapeLen returns the length of the escape sequence at the beginning of text, or 0.
func escapeLen(text []byte) int {
	switch {
	case len(text) < 2 || text[0] != '\\':
	case strings.IndexByte(`"\/bfnrt`, text[1]) >= 0:
		return 2
	case len(text) >= 6 && text[1] == 'u':
		if _, err := strconv.ParseUint(string(text[2:6]), 16, 16); err == nil {
			return 6
		}
	}
	return 0
}

// decodeRepaired decodes a body that does not match the contract's types. It converts fields of
// the wrong type, or drops them, so that a malformed field does not affect the others. It takes
// several times as long as decoding into the contract's types directly.
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

// repairs holds the contract's fields, in lower case because encoding/json ignores case, each
// with a function that returns a value of the field's type, or nil. Fields that make up the
// structure of a page are never dropped, so that decoding a malformed page fails: result, the
// lists of chats and messages, and paging with its token, without which the page would look like
// the last one.
var repairs = map[string]func(any) any{
	"chatid": toInteger, "messageid": toInteger, "campaignid": toInteger, "orderid": toInteger, "returnid": toInteger, "size": toInteger,
	"createdat": toTime, "updatedat": toTime,
	"message": only[string], "name": only[string], "url": only[string], "publicid": only[string],
	"sender": only[string], "type": only[string], "status": only[string],
	"context": only[map[string]any], "customer": only[map[string]any],
	"payload": func(value any) any { return onlyObjects(only[[]any](value)) },
	"chats":   onlyObjects, "messages": onlyObjects,
	"paging": dropEmpty, "nextpagetoken": func(value any) any { return numberToText(dropEmpty(value)) },
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
			lower := strings.ToLower(name)
			if fix := repairs[lower]; fix != nil {
				field = fix(field)
				v[name] = field
			}
			repair(field)
			if _, twice := v[lower]; twice && lower != name && repairs[lower] != nil {
				delete(v, name) // otherwise encoding/json would decode one into the other
			}
		}
	}
}

// only returns value if it is a T, and nil otherwise.
func only[T any](value any) any {
	if _, ok := value.(T); ok {
		return value
	}
	return nil
}

// onlyObjects replaces the elements of a list that are not objects with nil.
func onlyObjects(value any) any {
	if list, ok := value.([]any); ok {
		for i := range list {
			list[i] = only[map[string]any](list[i])
		}
	}
	return value
}

// dropEmpty returns nil for the values that some encoders write in place of an empty object or
// text, and value otherwise.
func dropEmpty(value any) any {
	fields, isObject := value.(map[string]any)
	isZero := value == false || value == float64(0) || value == json.Number("0")
	if isEmpty(value) || isZero || isObject && len(fields) == 0 {
		return nil
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

// parseInteger parses integers, including those in strings or with a fraction of zero.
func parseInteger(value any) (int64, bool) {
	text := strings.TrimSpace(fmt.Sprint(value))
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, true
	}
	const exact = 1 << 53 // above this, a float cannot represent fractions
	f, err := strconv.ParseFloat(text, 64)
	return int64(f), err == nil && f == math.Trunc(f) && math.Abs(f) <= exact
}

var timeLayouts = []string{"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07", "2006-01-02T15:04:05", "2006-01-02T15:04"}

// toTime parses times, including times without an offset (which are taken as UTC), times with a
// space instead of the T, and Unix times, also with a fraction of a second. A date alone is not a
// time.
func toTime(value any) any {
	var t time.Time
	if n, ok := parseInteger(value); ok {
		t = unixTime(n).UTC()
	} else if seconds, err := strconv.ParseFloat(strings.TrimSpace(fmt.Sprint(value)), 64); err == nil && seconds > 0 && seconds < 1e11 {
		t = time.UnixMicro(int64(math.Round(seconds * 1e6))).UTC()
	} else if text, ok := value.(string); ok {
		text = strings.ToUpper(strings.Replace(strings.TrimSpace(text), " ", "T", 1))
		text = strings.ReplaceAll(text, " ", "") // a space before the offset
		for _, layout := range timeLayouts {
			if parsed, err := time.Parse(layout, text); err == nil {
				t = parsed
				break
			}
		}
	}
	utc := t.UTC()
	if t.IsZero() || utc.Year() < 0 || utc.Year() > 9999 { // encoding/json rejects such years
		return nil
	}
	if _, err := t.MarshalText(); err != nil {
		return utc
	}
	return t // with its offset, like a time that needs no repair
}

// unixTime returns the time of a Unix timestamp in seconds, milliseconds, microseconds or
// nanoseconds, depending on its magnitude.
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
