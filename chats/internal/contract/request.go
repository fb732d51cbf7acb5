package contract

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
)

// BrokenRules returns the rules of openapi.yaml that a request breaks, each with the part of
// the request that breaks it; it returns none for a valid request. body replaces the
// request's own body, which is not read. An error means that openapi.yaml cannot be read.
func BrokenRules(req *http.Request, body []byte) ([]string, error) {
	c, err := load()
	if err != nil {
		return nil, err
	}
	ctx := req.Context()
	req = req.Clone(ctx)
	req.Body = io.NopCloser(bytes.NewReader(body))
	route, params, err := c.router.FindRoute(req)
	if err != nil {
		return []string{fmt.Sprintf("%s %s: %v", req.Method, req.URL.Path, err)}, nil
	}
	input := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route, Options: options()}
	rules := describe(openapi3filter.ValidateRequest(ctx, input))
	for name := range req.URL.Query() {
		if route.Operation.Parameters.GetByInAndName(openapi3.ParameterInQuery, name) == nil {
			rules = append(rules, fmt.Sprintf("query parameter %s: is unknown", name))
		}
	}
	slices.Sort(rules)
	return slices.Compact(rules), nil
}

// describe returns the errors of a request, one line each.
func describe(err error) []string {
	switch err := err.(type) { //nolint:errorlint // it unwraps one layer at a time
	case nil:
		return nil
	case openapi3.MultiError:
		var all []string
		for _, one := range err {
			all = append(all, describe(one)...)
		}
		return all
	case *openapi3filter.RequestError:
		where := "body"
		if err.Parameter != nil {
			where = err.Parameter.In + " parameter " + err.Parameter.Name
		}
		return within(where, err)
	case *openapi3filter.SecurityRequirementsError:
		return []string{"header: no credential"}
	default:
		return []string{firstLine(err.Error())}
	}
}

// within returns the errors in one part of a request.
func within(where string, err *openapi3filter.RequestError) []string {
	var schema *openapi3.SchemaError
	var several openapi3.MultiError
	switch {
	case errors.As(err.Err, &several):
		all := make([]string, 0, len(several))
		for _, one := range several {
			all = append(all, within(where, &openapi3filter.RequestError{Err: one})...)
		}
		return all
	case errors.As(err.Err, &schema):
		if pointer := schema.JSONPointer(); len(pointer) > 0 {
			where += " /" + strings.Join(pointer, "/")
		}
		return []string{where + ": " + schema.Reason}
	case err.Err == nil:
		return []string{where + ": " + firstLine(err.Reason)}
	case err.Reason != "":
		where += ": " + err.Reason
	}
	return []string{where + ": " + firstLine(err.Err.Error())}
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
