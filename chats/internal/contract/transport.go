// Package contract checks exchanges against openapi.yaml. Only tests and the sandbox
// import it.
package contract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// faultHeader is chatstest.FaultHeader: this package cannot import chatstest,
// whose own tests import it.
const faultHeader = "X-Chatstest-Fault"

// maxResponse is larger than any response within the contract's bounds.
const maxResponse = 16 << 20

type skipKey struct{}

// Skip exempts requests that violate the contract, or get a response that does,
// on purpose.
func Skip(ctx context.Context) context.Context {
	return context.WithValue(ctx, skipKey{}, true)
}

// Transport passes every exchange to next unchanged, and reports to tb each request and
// each response that openapi.yaml does not allow. A request's body is recorded while next
// reads it, and checked if next reads it to its end; a response's body is read before the
// caller gets it.
//
// Transport does not check requests that [Skip] exempts, responses that chatstest marked as
// faults, and requests that are not for the API, such as downloads.
func Transport(tb testing.TB, next http.RoundTripper) http.RoundTripper {
	tb.Helper()
	c, err := load()
	if err != nil {
		tb.Fatalf("contract: %v", err)
	}
	return &transport{tb: tb, next: next, contract: c}
}

type transport struct {
	tb       testing.TB
	next     http.RoundTripper
	contract *contract
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Context().Value(skipKey{}) != nil {
		return t.next.RoundTrip(req)
	}
	route, params, err := t.contract.router.FindRoute(req)
	if err != nil {
		if t.contract.isAPI(req.URL) {
			t.tb.Errorf("contract: %s %s: %v", req.Method, req.URL.Path, err)
		}
		return t.next.RoundTrip(req)
	}
	sent, record := recorded(req)
	resp, err := t.next.RoundTrip(sent)
	if err != nil && !record.complete() {
		return resp, err // there is no complete request to check
	}
	ctx := context.WithoutCancel(req.Context()) // check the exchange even if its context is done
	input := &openapi3filter.RequestValidationInput{
		Request: record.request(ctx, req), PathParams: params, Route: route, Options: options(),
	}
	t.checkRequest(ctx, input, record)
	if err != nil {
		return resp, err
	}
	resp.Request = req
	t.checkResponse(ctx, input, resp)
	return resp, nil
}

// isAPI reports whether a URL belongs to the API and so should match an operation.
func (c *contract) isAPI(url *url.URL) bool {
	if strings.HasPrefix(url.Path, "/files/") {
		return false
	}
	return url.Scheme+"://"+url.Host == c.host || strings.Contains(url.Path, "/businesses/")
}

func options() *openapi3filter.Options {
	return &openapi3filter.Options{
		MultiError:                        true,
		IncludeResponseStatus:             true,
		RejectWhenRequestBodyNotSpecified: true,
		SkipSettingDefaults:               true,
		AuthenticationFunc:                authenticate,
	}
}

// authenticate requires a credential but does not check its value.
func authenticate(_ context.Context, input *openapi3filter.AuthenticationInput) error {
	header := input.RequestValidationInput.Request.Header
	if input.SecurityScheme.Type == "apiKey" && header.Get(input.SecurityScheme.Name) != "" {
		return nil
	}
	if input.SecurityScheme.Type == "oauth2" && strings.HasPrefix(header.Get("Authorization"), "Bearer ") {
		return nil
	}
	return fmt.Errorf("no credential for %s", input.SecuritySchemeName)
}

func (t *transport) checkRequest(ctx context.Context, input *openapi3filter.RequestValidationInput, sent *record) {
	input.Options.ExcludeRequestBody = !sent.complete()
	if err := openapi3filter.ValidateRequest(ctx, input); err != nil {
		t.report(input.Route, "request", err)
	}
	for name := range input.Request.URL.Query() {
		if input.Route.Operation.Parameters.GetByInAndName(openapi3.ParameterInQuery, name) == nil {
			t.report(input.Route, "request", fmt.Errorf("query parameter %q is unknown", name))
		}
	}
}

func (t *transport) checkResponse(ctx context.Context, input *openapi3filter.RequestValidationInput, resp *http.Response) {
	if resp.Header.Get(faultHeader) != "" {
		return
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse+1))
	if len(data) > maxResponse {
		t.report(input.Route, "response", errors.New("endless body"))
		resp.Body = readCloser{io.MultiReader(bytes.NewReader(data), resp.Body), resp.Body}
		return
	}
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(&replay{data: data, err: err})
	if err != nil {
		return // the caller gets the error
	}
	err = openapi3filter.ValidateResponse(ctx, &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input,
		Status:                 resp.StatusCode,
		Header:                 resp.Header,
		Body:                   io.NopCloser(bytes.NewReader(data)),
		Options:                options(),
	})
	if err != nil {
		t.report(input.Route, "response", err)
	}
}

func (t *transport) report(route *routers.Route, what string, err error) {
	t.tb.Errorf("contract: %s: %s: %v", route.Operation.OperationID, what, err)
}

// recorded returns the request and a record of its body.
func recorded(req *http.Request) (*http.Request, *record) {
	r := &record{length: req.ContentLength}
	if req.Body == nil || req.Body == http.NoBody {
		r.ended = true
		return req, r
	}
	sent := req.WithContext(req.Context())
	sent.Body = &recorder{req.Body, r}
	if req.GetBody != nil {
		sent.GetBody = func() (io.ReadCloser, error) {
			again, err := req.GetBody()
			if err != nil {
				return nil, err
			}
			r.restart()
			return &recorder{again, r}, nil
		}
	}
	return sent, r
}

// record is what next has read of a request's body. A transport may continue to
// read while it returns the response.
type record struct {
	mu     sync.Mutex
	data   bytes.Buffer
	ended  bool
	length int64
}

func (r *record) complete() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended || r.length > 0 && int64(r.data.Len()) == r.length
}

func (r *record) restart() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.data.Reset()
	r.ended = false
}

// request returns a copy of the request with the body that was read.
func (r *record) request(ctx context.Context, req *http.Request) *http.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	clone := req.Clone(ctx)
	clone.Body = io.NopCloser(bytes.NewReader(bytes.Clone(r.data.Bytes())))
	clone.GetBody = nil
	return clone
}

type recorder struct {
	io.ReadCloser
	record *record
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.record.mu.Lock()
	defer r.record.mu.Unlock()
	r.record.data.Write(p[:n])
	r.record.ended = r.record.ended || errors.Is(err, io.EOF)
	return n, err
}

// replay returns data that was read before, and the error that ended it.
type replay struct {
	data []byte
	err  error
}

func (r *replay) Read(p []byte) (int, error) {
	if len(r.data) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		return 0, io.EOF
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	return n, nil
}

type readCloser struct {
	io.Reader
	io.Closer
}
