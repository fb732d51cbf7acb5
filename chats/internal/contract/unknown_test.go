package contract_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats/internal/contract"
)

func TestUnknowns_QuotesIdentifiersOnly(t *testing.T) {
	t.Parallel()
	history := httptest.NewRequest(http.MethodPost, "/v2/businesses/1/chats/history?chatId=2", nil)
	for name, c := range map[string]struct {
		status int
		body   string
		want   []string
	}{
		"all known": {200, `{"status":"OK","result":{"context":{"type":"ORDER"},"messages":[{"messageId":1,"sender":"CUSTOMER",
			"createdAt":"2026-03-02T11:40:00+03:00","message":"x","payload":null}],"paging":{"nextPageToken":"t"}}}`, nil},
		"a field, in two messages": {
			200, `{"status":"OK","result":{"messages":[{"mood":{"deep":1}},{"mood":2}]}}`,
			[]string{"getChatHistory: result.messages[].mood: unknown field"},
		},
		"fields here and there": {
			200, `{"status":"OK","meta":1,"result":{"context":{"customer":{"age":30}}}}`,
			[]string{
				"getChatHistory: meta: unknown field",
				"getChatHistory: result.context.customer.age: unknown field",
			},
		},
		"enum values": {
			200, `{"status":"MAYBE","result":{"messages":[{"sender":"BOT"},{"sender":"Анна Смирнова"}]}}`,
			[]string{
				"getChatHistory: result.messages[].sender: unknown value (13 characters, no identifier)",
				"getChatHistory: result.messages[].sender: unknown value BOT",
				"getChatHistory: status: unknown value MAYBE",
			},
		},
		"a name that is a person's": {
			200, `{"result":{"Анна Смирнова":1}}`,
			[]string{"getChatHistory: result.(13 characters, no identifier): unknown field"},
		},
		"an error's":                 {420, `{"status":"ERROR","errors":[{"code":"X","hint":"y"}]}`, []string{"getChatHistory: errors[].hint: unknown field"}},
		"a status not in it":         {418, `{"teapot":true}`, nil},
		"not JSON":                   {200, `<html>`, nil},
		"another type than expected": {200, `{"result":[{"x":1}]}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			unknowns := contract.Unknowns(history, c.status, []byte(c.body))
			require.Len(t, unknowns, len(c.want))
			for i, s := range unknowns {
				assert.Equal(t, c.want[i], s.String())
			}
		})
	}
	elsewhere := httptest.NewRequest(http.MethodGet, "/files/1", nil)
	assert.Empty(t, contract.Unknowns(elsewhere, 200, []byte(`{"x":1}`)))
}

// violations collects what Transport reports, without values.
type violations struct {
	testing.TB
	all []string
}

func (v *violations) Helper() {}

func (v *violations) Errorf(_ string, args ...any) {
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			v.all = append(v.all, contract.Violations(err)...)
		}
	}
}

func TestViolations_QuoteNoValue(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ body, want string }{
		"a missing field": {
			`{"status":"OK","result":{"chatId":1,"context":{"type":"ORDER","customer":{"name":"Анна"}},
			"type":"CHAT","status":"NEW","createdAt":"2026-03-02T11:40:00+03:00"}}`,
			`/result/updatedAt: property "updatedAt" is missing`,
		},
		"a wrong type": {`{"status":"OK","result":"Анна"}`, `/result: value must be an object`},
		"not JSON":     {`Анна`, `does not match the contract`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := &violations{TB: t}
			transport := contract.Transport(seen, respondWith(http.StatusOK, c.body))
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.partner.market.yandex.ru/v2/businesses/1/chat?chatId=1", nil)
			require.NoError(t, err)
			req.Header.Set("Api-Key", "x")
			resp, err := transport.RoundTrip(req)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			assert.Contains(t, seen.all, c.want)
			assert.NotContains(t, strings.Join(seen.all, "\n"), "Анна")
		})
	}
	assert.Equal(t, []string{"does not match the contract"}, contract.Violations(errors.New("Анна")))
}
