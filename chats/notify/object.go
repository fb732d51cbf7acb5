package notify

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"unicode/utf16"
)

// object maps each field of a JSON object to all its values, in order.
type object map[string][]json.RawMessage

// scanObject reads the JSON object at the beginning of data and returns the values
// of the named fields and the text of the object. ok is false if there is no complete
// object.
//
// It looks at the top level only, because nothing below it is needed: a value that
// encoding/json would reject, such as one nested too deeply, or one that is missing does not
// affect the others. A byte order mark before the object, extra or missing commas, whatever stands
// between a value and the next name, and anything after the object are ignored. data may be in
// UTF-16; text is always in UTF-8.
func scanObject(data []byte, names map[string]bool) (fields object, text []byte, ok bool) {
	s := scanner{data: bytes.TrimLeft(toUTF8(data), "\ufeff \t\r\n")}
	text = s.data
	fields = object{}
	if !s.accept('{') {
		return nil, nil, false
	}
	hasValue := false
	for !s.accept('}') {
		if s.accept(',') || hasValue && s.accept(':') {
			continue
		}
		key := s.value()
		if !isString(key) || !s.accept(':') {
			if hasValue && len(key) > 0 { // the rest of a value that is not JSON
				continue
			}
			return nil, nil, false
		}
		hasValue = true
		value := s.value()
		var name string
		if json.Unmarshal(key, &name) == nil && names[name] {
			fields[name] = append(fields[name], value)
		}
	}
	return fields, text[:len(text)-len(s.data)], true
}

// toUTF8 converts data that begins with a byte order mark or a brace in UTF-16.
func toUTF8(data []byte) []byte {
	var order binary.ByteOrder
	switch string(data[:min(len(data), 2)]) {
	case "\xff\xfe", "{\x00":
		order = binary.LittleEndian
	case "\xfe\xff", "\x00{":
		order = binary.BigEndian
	default:
		return data
	}
	units := make([]uint16, len(data)/2)
	for i := range units {
		units[i] = order.Uint16(data[2*i:])
	}
	return []byte(string(utf16.Decode(units)))
}

func isString(value json.RawMessage) bool { return len(value) > 0 && value[0] == '"' }

// scanner splits JSON into values without recursion.
type scanner struct {
	data []byte // the rest of the input
}

// accept skips whitespace and then c, and reports whether c was found.
func (s *scanner) accept(c byte) bool {
	s.data = bytes.TrimLeft(s.data, " \t\r\n")
	if len(s.data) == 0 || s.data[0] != c {
		return false
	}
	s.data = s.data[1:]
	return true
}

// value skips whitespace, and consumes and returns the value that follows. It is empty if
// there is no complete one.
func (s *scanner) value() []byte {
	s.data = bytes.TrimLeft(s.data, " \t\r\n")
	n := valueLen(s.data)
	value := s.data[:n]
	s.data = s.data[n:]
	return value
}

// valueLen returns the length of the value at the beginning of data, or 0 if there is no
// complete one.
func valueLen(data []byte) int {
	switch {
	case len(data) == 0:
		return 0
	case data[0] == '"':
		return stringLen(data)
	case data[0] == '{' || data[0] == '[':
		return nestedLen(data)
	}
	return max(bytes.IndexAny(data, ",:]} \t\r\n"), 0)
}

func stringLen(data []byte) int {
	for i := 1; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

func nestedLen(data []byte) int {
	depth := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			n := stringLen(data[i:])
			if n == 0 {
				return 0
			}
			i += n - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}
