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

func TestStrangersAreNamedWithoutWhatPeopleWrote(t *testing.T) {
	t.Parallel()
	history := httptest.NewRequest(http.MethodPost, "/v2/businesses/1/chats/history?chatId=2", nil)
	for name, c := range map[string]struct {
		status int
		body   string
		want   []string
	}{
		"all known": {200, `{"status":"OK","result":{"context":{"type":"ORDER"},"messages":[{"messageId":1,"sender":"CUSTOMER",
			"createdAt":"2026-03-02T11:40:00+03:00","message":"x","payload":null}],"paging":{"nextPageToken":"t"}}}`, nil},
		"a field, in two messages": {200, `{"status":"OK","result":{"messages":[{"mood":{"deep":1}},{"mood":2}]}}`,
			[]string{"getChatHistory: result.messages[].mood: the contract has no such field"}},
		"fields here and there": {200, `{"status":"OK","meta":1,"result":{"context":{"customer":{"age":30}}}}`,
			[]string{
				"getChatHistory: meta: the contract has no such field",
				"getChatHistory: result.context.customer.age: the contract has no such field",
			}},
		"words": {200, `{"status":"MAYBE","result":{"messages":[{"sender":"BOT"},{"sender":"Анна Смирнова"}]}}`,
			[]string{
				"getChatHistory: result.messages[].sender: the contract has no word (13 characters that are no word)",
				"getChatHistory: result.messages[].sender: the contract has no word BOT",
				"getChatHistory: status: the contract has no word MAYBE",
			}},
		"a name that is a person's": {200, `{"result":{"Анна Смирнова":1}}`,
			[]string{"getChatHistory: result.(13 characters that are no word): the contract has no such field"}},
		"an error's":                 {420, `{"status":"ERROR","errors":[{"code":"X","hint":"y"}]}`, []string{"getChatHistory: errors[].hint: the contract has no such field"}},
		"a status not in it":         {418, `{"teapot":true}`, nil},
		"not JSON":                   {200, `<html>`, nil},
		"another type than expected": {200, `{"result":[{"x":1}]}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			strangers := contract.Strangers(history, c.status, []byte(c.body))
			require.Len(t, strangers, len(c.want))
			for i, s := range strangers {
				assert.Equal(t, c.want[i], s.String())
			}
		})
	}
	elsewhere := httptest.NewRequest(http.MethodGet, "/files/1", nil)
	assert.Empty(t, contract.Strangers(elsewhere, 200, []byte(`{"x":1}`)))
}

// shapes keeps what Transport reports, without values.
type shapes struct {
	testing.TB
	all []string
}

func (s *shapes) Helper() {}

func (s *shapes) Errorf(_ string, args ...any) {
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			s.all = append(s.all, contract.Shapes(err)...)
		}
	}
}

func TestShapesQuoteNoValue(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ body, want string }{
		"a missing field": {`{"status":"OK","result":{"chatId":1,"context":{"type":"ORDER","customer":{"name":"Анна"}},
			"type":"CHAT","status":"NEW","createdAt":"2026-03-02T11:40:00+03:00"}}`,
			`/result/updatedAt: property "updatedAt" is missing`},
		"a wrong type": {`{"status":"OK","result":"Анна"}`, `/result: value must be an object`},
		"not JSON":     {`Анна`, `is not what the contract describes`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := &shapes{TB: t}
			transport := contract.Transport(seen, answering(http.StatusOK, c.body))
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
	assert.Equal(t, []string{"is not what the contract describes"}, contract.Shapes(errors.New("Анна")))
}
