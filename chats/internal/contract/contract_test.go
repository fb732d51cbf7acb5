package contract_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRoutes_AreTheLibrarysOperations(t *testing.T) {
	t.Parallel()
	routes := contract.Routes()
	assert.Len(t, routes, len(chats.Operations()))
	for _, op := range chats.Operations() {
		want := exchanges[op]
		path, _, _ := strings.Cut(want.path, "?")
		assert.Equal(t, contract.Route{Method: want.method, Path: "/v2/businesses/{businessId}" + path}, routes[op], op)
	}
}

func TestRateLimits_OfEveryOperation(t *testing.T) {
	t.Parallel()
	assert.Equal(t, map[chats.Operation]int{
		chats.OpGetChats: 5_000, chats.OpGetChat: 1_000, chats.OpGetChatHistory: 10_000, chats.OpGetChatMessage: 1_000,
		chats.OpCreateChat: 1_000, chats.OpSendMessageToChat: 1_000, chats.OpSendFileToChat: 1_000,
	}, contract.RateLimits())
}

func TestEnumeration_IsTheLibrarysValues(t *testing.T) {
	t.Parallel()
	for schema, want := range map[string][]string{
		"ChatType": values(chats.ChatTypeChat, chats.ChatTypeArbitrage),
		"ChatStatusType": values(chats.StatusNew, chats.StatusWaitingForCustomer, chats.StatusWaitingForPartner,
			chats.StatusWaitingForArbiter, chats.StatusWaitingForMarket, chats.StatusFinished),
		"ChatMessageSenderType": values(chats.SenderPartner, chats.SenderCustomer, chats.SenderMarket, chats.SenderSupport),
		"ChatContextType":       values(chats.SubjectOrder, chats.SubjectReturn, chats.SubjectDirect),
	} {
		assert.Equal(t, want, contract.Enumeration(schema), schema)
	}
	assert.Nil(t, contract.Enumeration("NoSuchSchema"))
}

func values[T ~string](constants ...T) []string {
	all := make([]string, 0, len(constants))
	for _, c := range constants {
		all = append(all, string(c))
	}
	slices.Sort(all)
	return all
}

// exchange is a request and its response. The valid ones of an operation pass; the
// invalid body and the invalid response do not.
type exchange struct {
	method      string
	path        string // below the business
	body        string
	contentType string
	response    string

	badPath, badBody, badResponse string // each replaces the valid one
}

const (
	chatJSON = `{"chatId":1,"context":{"type":"ORDER","orderId":5},"type":"CHAT","status":"NEW",` +
		`"createdAt":"2026-03-02T09:15:00+03:00","updatedAt":"2026-03-02T09:15:00+03:00"}`
	messageJSON = `{"messageId":1,"createdAt":"2026-03-02T09:15:00+03:00","sender":"PARTNER","payload":null}`
)

func ok(result string) string { return `{"status":"OK","result":` + result + `}` }

var exchanges = map[chats.Operation]exchange{
	chats.OpGetChats: {
		method: http.MethodPost, path: "/chats?limit=20", body: `{"statuses":["NEW"]}`, response: ok(`{"chats":[` + chatJSON + `]}`),
		badBody:     `{"statuses":[]}`,
		badResponse: ok(`{"chats":[` + strings.Replace(chatJSON, "NEW", "NEWER", 1) + `]}`),
	},
	chats.OpGetChat: {
		method: http.MethodGet, path: "/chat?chatId=1", response: ok(chatJSON),
		badPath:     "/chat?chatId=0",
		badResponse: ok(strings.Replace(chatJSON, "T09:15", " 09:15", 1)),
	},
	chats.OpGetChatHistory: {
		method: http.MethodPost, path: "/chats/history?chatId=1&limit=100", body: `{"messageIdFrom":7}`,
		response:    ok(`{"context":{"type":"DIRECT"},"messages":[` + messageJSON + `]}`),
		badPath:     "/chats/history?chatId=1&limit=101",
		badResponse: ok(`{"context":{"type":"DIRECT"}}`),
	},
	chats.OpGetChatMessage: {
		method: http.MethodGet, path: "/chats/message?chatId=1&messageId=1", response: ok(messageJSON),
		badPath:     "/chats/message?chatId=1&messageId=1&page_token=x",
		badResponse: ok(strings.Replace(messageJSON, "null", "[]", 1)),
	},
	chats.OpCreateChat: {
		method: http.MethodPost, path: "/chats/new", body: `{"context":{"type":"RETURN","id":1}}`, response: ok(`{"chatId":1}`),
		badBody:     `{"context":{"type":"DIRECT","id":1}}`,
		badResponse: ok(`{"chatId":"1"}`),
	},
	chats.OpSendMessageToChat: {
		method: http.MethodPost, path: "/chats/message?chatId=1", body: `{"message":"Привет"}`, response: `{"status":"OK"}`,
		badBody:     `{"message":"` + strings.Repeat("я", 4097) + `"}`,
		badResponse: `{"status":"FINE"}`,
	},
	chats.OpSendFileToChat: {
		method: http.MethodPost, path: "/chats/file/send?chatId=1",
		body: form("file"), contentType: "multipart/form-data; boundary=b", response: `{"status":"OK"}`,
		badBody:     form("photo"),
		badResponse: `{}`,
	},
}

// form has a part with a content type for which kin-openapi has no decoder.
func form(name string) string {
	var text bytes.Buffer
	w := multipart.NewWriter(&text)
	_ = w.SetBoundary("b")
	part, _ := w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {`form-data; name="` + name + `"; filename="a.heic"`},
		"Content-Type":        {"image/heic"},
	})
	_, _ = io.WriteString(part, "binary \x00\xff")
	_ = w.Close()
	return text.String()
}

// recorder records what is reported, in place of a test that would fail.
type recorder struct {
	testing.TB

	reports []string
}

func (w *recorder) Helper() {}

func (w *recorder) Errorf(format string, values ...any) {
	w.reports = append(w.reports, fmt.Sprintf(format, values...))
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// respondWith reads the request and responds with JSON.
func respondWith(status int, body string, headers ...string) roundTrip {
	return func(req *http.Request) (*http.Response, error) {
		if req.Body != nil {
			if _, err := io.ReadAll(req.Body); err != nil {
				return nil, err
			}
		}
		w := httptest.NewRecorder()
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		return w.Result(), nil
	}
}

func (e exchange) request(ctx context.Context, t *testing.T) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, e.method,
		"https://api.partner.market.yandex.ru/v2/businesses/1"+e.path, strings.NewReader(e.body))
	require.NoError(t, err)
	req.Header.Set("Api-Key", "key")
	if e.body != "" {
		req.Header.Set("Content-Type", cmp.Or(e.contentType, "application/json"))
	}
	return req
}

// fail makes an exchange that fails.
func fail(t *testing.T, req *http.Request, next roundTrip) (reports []string, err error) {
	t.Helper()
	w := &recorder{TB: t}
	resp, err := contract.Transport(w, next).RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	return w.reports, err
}

// pass makes an exchange and returns what was reported and the response's body.
func pass(t *testing.T, req *http.Request, next http.RoundTripper) (reports []string, body string) {
	t.Helper()
	w := &recorder{TB: t}
	resp, err := contract.Transport(w, next).RoundTrip(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return w.reports, string(text)
}

func TestTransport_ChecksEachOperation(t *testing.T) {
	t.Parallel()
	for op, e := range exchanges {
		t.Run(string(op), func(t *testing.T) {
			t.Parallel()
			reports, body := pass(t, e.request(t.Context(), t), respondWith(http.StatusOK, e.response))
			assert.Empty(t, reports)
			assert.Equal(t, e.response, body)

			invalid := e
			invalid.path, invalid.body = cmp.Or(e.badPath, e.path), cmp.Or(e.badBody, e.body)
			reports, _ = pass(t, invalid.request(t.Context(), t), respondWith(http.StatusOK, e.response))
			require.Len(t, reports, 1)
			assert.Contains(t, reports[0], "contract: "+string(op)+": request: ")

			reports, body = pass(t, e.request(t.Context(), t), respondWith(http.StatusOK, e.badResponse))
			require.Len(t, reports, 1)
			assert.Contains(t, reports[0], "contract: "+string(op)+": response: ")
			assert.Equal(t, e.badResponse, body, "the caller gets it all the same")
		})
	}
}

func TestTransport_ChecksStatusAndContentType(t *testing.T) {
	t.Parallel()
	e := exchanges[chats.OpGetChat]
	for name, next := range map[string]roundTrip{
		"a status that is not documented": respondWith(http.StatusTeapot, `{"status":"ERROR"}`),
		"an error without an envelope":    respondWith(http.StatusBadRequest, `{"message":"no"}`),
		"an error without its code":       respondWith(http.StatusNotFound, `{"status":"ERROR","errors":[{"message":"no"}]}`),
		"HTML":                            respondWith(http.StatusOK, e.response, "Content-Type", "text/html"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reports, _ := pass(t, e.request(t.Context(), t), next)
			assert.Len(t, reports, 1)
		})
	}
	for _, status := range []int{400, 401, 403, 404, 420, 500} {
		reports, _ := pass(t, e.request(t.Context(), t), respondWith(status, `{"status":"ERROR","errors":null}`))
		assert.Empty(t, reports, status)
	}
}

func TestTransport_ReportsAnEndlessResponse(t *testing.T) {
	t.Parallel()
	w := &recorder{TB: t}
	resp, err := contract.Transport(w, roundTrip(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(endless{})}, nil
	})).RoundTrip(exchanges[chats.OpGetChat].request(t.Context(), t))
	require.NoError(t, err)
	require.Len(t, w.reports, 1)
	assert.Contains(t, w.reports[0], "endless body")
	n, err := io.CopyN(io.Discard, resp.Body, 20<<20)
	require.NoError(t, err)
	assert.Equal(t, int64(20<<20), n)
	require.NoError(t, resp.Body.Close())
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestTransport_RequiresACredential(t *testing.T) {
	t.Parallel()
	e := exchanges[chats.OpGetChat]
	for _, c := range []struct {
		name, header, value string
		want                int
	}{
		{"none", "X-None", "x", 1},
		{"a key", "Api-Key", "x", 0},
		{"a token", "Authorization", "Bearer x", 0},
		{"a password", "Authorization", "Basic x", 1},
	} {
		req := e.request(t.Context(), t)
		req.Header.Del("Api-Key")
		req.Header.Set(c.header, c.value)
		reports, _ := pass(t, req, respondWith(http.StatusOK, e.response))
		assert.Len(t, reports, c.want, c.name)
	}
}

func TestTransport_ReportsUnknownPaths(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]int{
		"https://api.partner.market.yandex.ru/v2/businesses/1/chats/all": 1,
		"https://api.partner.market.yandex.ru/businesses/1/chat":         1,
		"https://api.partner.market.yandex.ru/ping":                      1,
		"http://127.0.0.1:1/businesses/1/chat":                           1,
		"http://127.0.0.1:1/photo.jpg":                                   0,
		"https://files.messenger.yandex.net/photo.jpg":                   0,
		"https://api.partner.market.yandex.ru/files/1/photo.jpg":         0,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		require.NoError(t, err)
		reports, _ := pass(t, req, respondWith(http.StatusOK, "anything"))
		assert.Len(t, reports, want, url)
	}
}

func TestTransport_ExemptsDeliberateViolations(t *testing.T) {
	t.Parallel()
	e := exchanges[chats.OpSendMessageToChat]
	marked := respondWith(http.StatusOK, "<html>", "X-Chatstest-Fault", "malformed")
	reports, _ := pass(t, e.request(t.Context(), t), marked)
	assert.Empty(t, reports)

	e.body = e.badBody
	reports, _ = pass(t, e.request(t.Context(), t), marked)
	assert.Len(t, reports, 1, "the request of a deliberate fault is checked")
	reports, _ = pass(t, e.request(contract.Skip(t.Context()), t), respondWith(http.StatusOK, "<html>"))
	assert.Empty(t, reports)
}

// A body reaches the next transport unchanged, with its pace, length and error.
func TestTransport_PassesTheRequestUnchanged(t *testing.T) {
	t.Parallel()
	e := exchanges[chats.OpSendFileToChat]
	failure := errors.New("the disk is gone")
	req := e.request(t.Context(), t)
	req.Body = io.NopCloser(io.MultiReader(strings.NewReader(e.body[:20]), iotest.ErrReader(failure)))
	var got string
	reports, err := fail(t, req, func(sent *http.Request) (*http.Response, error) {
		assert.Equal(t, req.ContentLength, sent.ContentLength)
		assert.Equal(t, req.Context(), sent.Context())
		data, err := io.ReadAll(sent.Body)
		got = string(data)
		return nil, err
	})
	require.ErrorIs(t, err, failure)
	assert.Equal(t, e.body[:20], got)
	assert.Empty(t, reports, "a body that failed is not checked")
}

func TestTransport_ChecksARewoundBodyOnce(t *testing.T) {
	t.Parallel()
	e := exchanges[chats.OpSendFileToChat]
	next := func(sent *http.Request) (*http.Response, error) {
		_, _ = io.CopyN(io.Discard, sent.Body, 10)
		again, err := sent.GetBody()
		require.NoError(t, err)
		sent = sent.Clone(sent.Context())
		sent.Body = again
		return respondWith(http.StatusOK, e.response)(sent)
	}
	reports, _ := pass(t, e.request(t.Context(), t), roundTrip(next))
	assert.Empty(t, reports)

	req := e.request(t.Context(), t)
	failure := errors.New("gone")
	req.GetBody = func() (io.ReadCloser, error) { return nil, failure }
	_, err := fail(t, req, func(sent *http.Request) (*http.Response, error) {
		_, err := sent.GetBody()
		return nil, err
	})
	require.ErrorIs(t, err, failure)
}

func TestTransport_ReportsARequestWithoutAResponse(t *testing.T) {
	t.Parallel()
	e := exchanges[chats.OpSendMessageToChat]
	e.body = e.badBody
	reports, err := fail(t, e.request(t.Context(), t), func(sent *http.Request) (*http.Response, error) {
		_, _ = io.ReadAll(sent.Body)
		return nil, io.EOF
	})
	require.ErrorIs(t, err, io.EOF)
	assert.Len(t, reports, 1)
}

func TestTransport_PassesATruncatedResponse(t *testing.T) {
	t.Parallel()
	e := exchanges[chats.OpGetChat]
	w := &recorder{TB: t}
	resp, err := contract.Transport(w, roundTrip(func(*http.Request) (*http.Response, error) {
		body := io.MultiReader(strings.NewReader(`{"sta`), iotest.ErrReader(io.ErrUnexpectedEOF))
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(body)}, nil
	})).RoundTrip(e.request(t.Context(), t))
	require.NoError(t, err)
	got, err := io.ReadAll(resp.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.NoError(t, resp.Body.Close())
	assert.Equal(t, `{"sta`, string(got))
	assert.Empty(t, w.reports)
}

func TestTransport_WorksInABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := exchanges[chats.OpGetChats]
		next := func(req *http.Request) (*http.Response, error) {
			select {
			case <-time.After(time.Hour):
			case <-req.Context().Done():
			}
			return respondWith(http.StatusOK, e.response)(req)
		}
		began := time.Now()
		reports, _ := pass(t, e.request(t.Context(), t), roundTrip(next))
		assert.Empty(t, reports)
		assert.Equal(t, time.Hour, time.Since(began))
	})
}
