package contract_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats/internal/contract"
)

func TestBrokenRules(t *testing.T) {
	t.Parallel()
	const chat = "/v2/businesses/7"
	for name, c := range map[string]struct {
		method, target, key, contentType, body string
		want                                   []string
	}{
		"valid":             {http.MethodPost, chat + "/chats?limit=20", "k", "application/json", `{"statuses":["NEW"]}`, nil},
		"a limit":           {http.MethodPost, chat + "/chats?limit=21", "k", "application/json", `{}`, []string{"query parameter limit: number must be at most 20"}},
		"an unknown name":   {http.MethodPost, chat + "/chats?page=2", "k", "application/json", `{}`, []string{"query parameter page: is unknown"}},
		"a missing id":      {http.MethodGet, chat + "/chat", "k", "", "", []string{"query parameter chatId: value is required but missing"}},
		"no key":            {http.MethodGet, chat + "/chat?chatId=1", "", "", "", []string{"header: no credential"}},
		"an empty text":     {http.MethodPost, chat + "/chats/message?chatId=1", "k", "application/json", `{"message":""}`, []string{"body /message: minimum string length is 1"}},
		"no JSON":           {http.MethodPost, chat + "/chats/message?chatId=1", "k", "application/json", `{`, []string{"body: failed to decode request body: "}},
		"a type":            {http.MethodPost, chat + "/chats/message?chatId=1", "k", "text/plain", `{}`, []string{"body: header Content-Type has unexpected value"}},
		"several":           {http.MethodPost, chat + "/chats?limit=0", "", "application/json", `{"statuses":[],"types":["NO"]}`, []string{"body /statuses: minimum number of items is 1", "body /types/0: value is not one of the allowed values", "header: no credential", "query parameter limit: number must be at least 1"}},
		"an unknown path":   {http.MethodPost, chat + "/chat/new", "k", "", "", []string{"POST /v2/businesses/7/chat/new: "}},
		"an unknown method": {http.MethodDelete, chat + "/chats", "k", "", "", []string{"DELETE /v2/businesses/7/chats: "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := httptest.NewRequestWithContext(t.Context(), c.method, c.target, strings.NewReader("not read"))
			if c.contentType != "" {
				req.Header.Set("Content-Type", c.contentType)
			}
			if c.key != "" {
				req.Header.Set("Api-Key", c.key)
			}
			rules, err := contract.BrokenRules(req, []byte(c.body))
			require.NoError(t, err)
			require.Len(t, rules, len(c.want), "%q", rules)
			for i, want := range c.want {
				assert.Contains(t, rules[i], want)
			}
		})
	}
}
