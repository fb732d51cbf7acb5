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

// Stranger is a field, or a word of an enumeration, that an answer has and the
// contract does not. The contract tolerates both; a maintainer wants to know.
type Stranger struct {
	Where string // getChatHistory: result.messages[].sender
	Word  string // empty for a field
}

func (s Stranger) String() string {
	if s.Word == "" {
		return s.Where + ": the contract has no such field"
	}
	return fmt.Sprintf("%s: the contract has no word %s", s.Where, s.Word)
}

// Strangers finds them in the answer to a request, each once, sorted. It finds
// nothing in what is no answer of the API or no JSON. It quotes names of fields
// and words that look like words, and no other value.
func Strangers(req *http.Request, status int, body []byte) []Stranger {
	route, _, err := mustLoad().router.FindRoute(req)
	if err != nil {
		return nil
	}
	answer := route.Operation.Responses.Status(status)
	if answer == nil || answer.Value.Content.Get("application/json") == nil {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var value any
	if decoder.Decode(&value) != nil {
		return nil
	}
	w := walk{operation: route.Operation.OperationID, found: map[Stranger]bool{}}
	w.value(answer.Value.Content.Get("application/json").Schema.Value, value, nil)
	return w.sorted()
}

// walk goes through a value beside its schema.
type walk struct {
	operation string
	found     map[Stranger]bool
}

func (w *walk) value(schema *openapi3.Schema, value any, path []string) {
	switch value := value.(type) {
	case map[string]any:
		w.object(schema, value, path)
	case []any:
		w.list(schema, value, path)
	case string:
		w.word(schema, value, path)
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
		return // whatever it holds, the contract leaves it open
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

func (w *walk) word(schema *openapi3.Schema, word string, path []string) {
	for part := range parts(schema) {
		if len(part.Enum) > 0 && !slices.Contains(part.Enum, any(word)) {
			w.report(path, Printable(word))
		}
	}
}

func (w *walk) report(path []string, word string) {
	w.found[Stranger{w.operation + ": " + strings.Join(path, "."), word}] = true
}

func (w *walk) sorted() []Stranger {
	all := make([]Stranger, 0, len(w.found))
	for s := range w.found {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Stranger) int {
		return cmp.Or(cmp.Compare(a.Where, b.Where), cmp.Compare(a.Word, b.Word))
	})
	return all
}

// parts are a schema and what it is put together from.
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

var wordlike = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// Printable is a name or a word that a program made; what a person may have
// written is not repeated.
func Printable(word string) string {
	if wordlike.MatchString(word) {
		return word
	}
	return fmt.Sprintf("(%d characters that are no word)", len([]rune(word)))
}

var indexes = regexp.MustCompile(`/\d+`)

// Shapes is what [Transport] has against an exchange, without a value of it: a
// plain error of the validator quotes what it refuses.
func Shapes(err error) []string {
	var all []string
	collect(err, &all)
	if len(all) == 0 {
		all = []string{"is not what the contract describes"}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func collect(err error, all *[]string) {
	switch err := err.(type) { //nolint:errorlint // each layer is opened in turn
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
