package chats_test

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/ymchats/ymchats-go/chats"
	api "github.com/ymchats/ymchats-go/chats/internal/envelope"
)

// fixtureResponding returns a fixture whose every request gets this response.
func fixtureResponding(t *testing.T, status int, body string) *fixture {
	t.Helper()
	client, err := chats.New(1, chats.APIKey(testSecret), noRetry, chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
		if req.Body != nil {
			_, _ = io.Copy(io.Discard, req.Body)
		}
		return respond(req, status, body), nil
	})}))
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{client: client, chat: 1, first: 1}
}

// checkError checks that err is an *Error of bounded, readable text, whatever the body.
func checkError(t *testing.T, op chats.Operation, status int, err error) {
	t.Helper()
	var e *chats.Error
	if !errors.As(err, &e) {
		t.Fatalf("%s: not an *Error: %T %v", op, err, err)
	}
	if e.StatusCode != status || e.Operation != op || e.Attempts != 1 {
		t.Errorf("%s: %#v", op, e)
	}
	if len(e.Details) > 10 {
		t.Errorf("%s: %d details", op, len(e.Details))
	}
	texts := append(make([]string, 0, 21), err.Error())
	for _, d := range e.Details {
		texts = append(texts, d.Code, d.Message)
		if utf8.RuneCountInString(d.Code) > 512 || utf8.RuneCountInString(d.Message) > 512 || d == (chats.Detail{}) {
			t.Errorf("%s: detail %q", op, d)
		}
	}
	for _, text := range texts {
		if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%s: text is not readable: %q", op, text)
		}
		if strings.Contains(text, testSecret[5:15]) {
			t.Errorf("%s: text has the key: %q", op, text)
		}
	}
	if len(err.Error()) > 10*2*512*utf8.UTFMax+1000 {
		t.Errorf("%s: %d bytes of text", op, len(err.Error()))
	}
}

// FuzzDecode responds to every operation with 200 and a body. The call returns a
// result, or an error that says what is wrong with the body. KEY stands for the
// credential.
func FuzzDecode(f *testing.F) {
	for _, body := range []string{
		``, `null`, `[]`, `{}`, `{"status":"OK"}`, envelope, `{"status":"OK","result":null}`,
		`{"status":"OK","result":{"chatId":1,"messageId":1,"chats":[],"messages":[]}}`,
		`{"status":"OK","result":{"chats":[{"chatId":1,"context":{"type":"DIRECT","customer":null}}],"messages":[{"messageId":7,"payload":[null]}],"paging":{"nextPageToken":"a"}}}`,
		`{"status":"OK","result":{"chatId":1e400,"messageId":-1,"chats":null,"messages":{}}}`,
		`{"status":"ERROR","errors":[null,{"code":5,"message":"KEY"}]}`,
		`{"status":"OK","result":{"chatId":1,"createdAt":"KEY"}}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		f := fixtureResponding(t, http.StatusOK, strings.ReplaceAll(body, "KEY", testSecret))
		for _, op := range chats.Operations() {
			if err := f.call(t.Context(), op); err != nil {
				checkError(t, op, http.StatusOK, err)
				var e *chats.Error
				if errors.As(err, &e) && errors.Is(err, chats.ErrProtocol) == (len(e.Details) > 0) {
					t.Errorf("%s: want either details or ErrProtocol: %v", op, err)
				}
				if isSend(op) && errors.Is(err, chats.ErrProtocol) != errors.Is(err, chats.ErrOutcomeUnknown) {
					t.Errorf("%s: ErrProtocol of a send must be ErrOutcomeUnknown, too: %v", op, err)
				}
			}
		}
		checkItems(t, f)
	})
}

// checkItems checks that items without an ID are never returned.
func checkItems(t *testing.T, f *fixture) {
	t.Helper()
	if page, err := f.client.ChatsPage(t.Context(), chats.Filter{}, chats.PageRequest{}); err == nil {
		for _, c := range page.Items {
			if c.ID < 1 {
				t.Errorf("%+v", c)
			}
		}
	}
	var last chats.MessageID
	n := 0
	for m, err := range f.client.History(t.Context(), 1, 0) {
		if err != nil {
			break
		}
		if m.ID <= last {
			t.Errorf("%d after %d", m.ID, last)
		}
		last = m.ID
		if n++; n > 1000 {
			break
		}
	}
}

// FuzzErrorBody responds with an error status, which the error has, whatever the body.
func FuzzErrorBody(f *testing.F) {
	for i, body := range errorBodies("KEY") {
		if len(body.body) < 10_000 {
			f.Add(uint16(errorStatuses[i%len(errorStatuses)]), body.body)
		}
	}
	f.Fuzz(func(t *testing.T, status uint16, body string) {
		code := 300 + int(status)%300
		f := fixtureResponding(t, code, strings.ReplaceAll(body, "KEY", testSecret))
		isAPI := api.Body{Text: []byte(strings.TrimLeft(body, "\ufeff \t\r\n"))}.IsAPI()
		declined := slices.Contains([]int{401, 403, 413, 414, 420, 429, 431}, code)
		for _, op := range chats.Operations() {
			err := f.call(t.Context(), op)
			checkError(t, op, code, err)
			ofGateway := code == 404 && errors.Is(err, chats.ErrProtocol)
			unknown := isSend(op) && (code < 400 || code >= 500 || code == 408 || code == 499 || !isAPI && !declined)
			if errors.Is(err, chats.ErrOutcomeUnknown) != unknown {
				t.Errorf("%s: %v", op, err)
			}
			if errors.Is(err, chats.ErrProtocol) != ofGateway || code == 404 && errors.Is(err, chats.ErrNotFound) == ofGateway || errors.Is(err, chats.ErrInvalidArgument) {
				t.Errorf("%s: the status must decide: %v", op, err)
			}
		}
	})
}
