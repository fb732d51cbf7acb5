package contract

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
)

// Unknown is a field or an enum value of a response that the contract does not define. Both
// are allowed; the maintainers want to know about them.
type Unknown struct {
	Where string // getChatHistory: result.messages[].sender
	Value string // empty for a field
}

func (u Unknown) String() string {
	if u.Value == "" {
		return u.Where + ": unknown field"
	}
	return fmt.Sprintf("%s: unknown value %s", u.Where, u.Value)
}

// Unknowns returns the unknown fields and enum values of a response, sorted and without
// duplicates. It returns none if the response is not the API's or not JSON. It quotes
// identifiers only.
func Unknowns(req *http.Request, status int, body []byte) []Unknown {
	route, _, err := mustLoad().router.FindRoute(req)
	if err != nil {
		return nil
	}
	described := route.Operation.Responses.Status(status)
	if described == nil || described.Value.Content.Get("application/json") == nil {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var value any
	if decoder.Decode(&value) != nil {
		return nil
	}
	w := walk{operation: route.Operation.OperationID, found: map[Unknown]bool{}}
	w.value(described.Value.Content.Get("application/json").Schema.Value, value, nil)
	return w.sorted()
}

// walk visits a value along with its schema.
type walk struct {
	operation string
	found     map[Unknown]bool
}

func (w *walk) value(schema *openapi3.Schema, value any, path []string) {
	switch value := value.(type) {
	case map[string]any:
		w.object(schema, value, path)
	case []any:
		w.list(schema, value, path)
	case string:
		w.enumValue(schema, value, path)
	}
}

func (w *walk) object(schema *openapi3.Schema, object map[string]any, path []string) {
	fields := map[string]*openapi3.Schema{}
	for part := range parts(schema) {
		for name, field := range part.Properties {
			fields[name] = field.Value
		}
	}
	if len(fields) == 0 {
		return // the contract does not describe its fields
	}
	for name, value := range object {
		at := append(slices.Clip(path), Printable(name))
		if field, known := fields[name]; known {
			w.value(field, value, at)
			continue
		}
		w.report(at, "")
	}
}

func (w *walk) list(schema *openapi3.Schema, list []any, path []string) {
	if len(path) > 0 {
		path = append(slices.Clone(path[:len(path)-1]), path[len(path)-1]+"[]")
	}
	for part := range parts(schema) {
		if part.Items == nil {
			continue
		}
		for _, value := range list {
			w.value(part.Items.Value, value, path)
		}
	}
}

func (w *walk) enumValue(schema *openapi3.Schema, value string, path []string) {
	for part := range parts(schema) {
		if len(part.Enum) > 0 && !slices.Contains(part.Enum, any(value)) {
			w.report(path, Printable(value))
		}
	}
}

func (w *walk) report(path []string, value string) {
	w.found[Unknown{w.operation + ": " + strings.Join(path, "."), value}] = true
}

func (w *walk) sorted() []Unknown {
	all := make([]Unknown, 0, len(w.found))
	for u := range w.found {
		all = append(all, u)
	}
	slices.SortFunc(all, func(a, b Unknown) int {
		return cmp.Or(cmp.Compare(a.Where, b.Where), cmp.Compare(a.Value, b.Value))
	})
	return all
}

// parts iterates over a schema and the schemas that it is composed of.
func parts(schema *openapi3.Schema) func(yield func(*openapi3.Schema) bool) {
	return func(yield func(*openapi3.Schema) bool) {
		if !yield(schema) {
			return
		}
		for _, ref := range schema.AllOf {
			for part := range parts(ref.Value) {
				if !yield(part) {
					return
				}
			}
		}
	}
}

var identifier = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// Printable returns an identifier, such as a field name or an enum value, unchanged, and
// replaces any other text, because a person may have written it.
func Printable(text string) string {
	if identifier.MatchString(text) {
		return text
	}
	return fmt.Sprintf("(%d characters, no identifier)", len([]rune(text)))
}

var indexes = regexp.MustCompile(`/\d+`)

// Violations describes an error that [Transport] reported, without quoting any value: the
// validator's own text quotes what it rejects.
func Violations(err error) []string {
	var all []string
	collect(err, &all)
	if len(all) == 0 {
		all = []string{"does not match the contract"}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func collect(err error, all *[]string) {
	switch err := err.(type) { //nolint:errorlint // it unwraps one layer at a time
	case nil:
	case openapi3.MultiError:
		for _, one := range err {
			collect(one, all)
		}
	case *openapi3.SchemaError:
		if within := new(openapi3.SchemaError); errors.As(err.Origin, &within) {
			collect(err.Origin, all)
			return
		}
		pointer := indexes.ReplaceAllString("/"+strings.Join(err.JSONPointer(), "/"), "/[]")
		*all = append(*all, pointer+": "+err.Reason)
	case *openapi3filter.ResponseError:
		if err.Err == nil {
			*all = append(*all, err.Reason)
		}
		collect(err.Err, all)
	default:
		collect(errors.Unwrap(err), all)
	}
}
