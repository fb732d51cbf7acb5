package chatstest_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client returns a client whose exchanges are checked against the contract.
func client(tb testing.TB, m *chatstest.Market) *chats.Client {
	tb.Helper()
	return m.Client(chats.WithHTTPClient(&http.Client{Transport: contract.Transport(tb, m.Transport())}))
}

const host = "https://api.partner.market.yandex.ru"

// business is the path of the default business.
const business = host + "/v2/businesses/1234567"

// request creates a request as a program without the library would, with the key.
func request(ctx context.Context, tb testing.TB, method, url, body string) *http.Request {
	tb.Helper()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	require.NoError(tb, err)
	req.Header.Set("Api-Key", chatstest.NewMarket().Key())
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return req
}

// result is the outcome of a request.
type result struct {
	status int
	header http.Header
	body   string
	err    error // of the exchange or of reading the body
}

func exchange(tb testing.TB, transport http.RoundTripper, req *http.Request) result {
	tb.Helper()
	resp, err := contract.Transport(tb, transport).RoundTrip(req)
	if err != nil {
		return result{err: err}
	}
	body, err := io.ReadAll(resp.Body)
	require.NoError(tb, resp.Body.Close())
	return result{resp.StatusCode, resp.Header, string(body), err}
}

// sendInvalid makes a request that violates the contract on purpose.
func sendInvalid(t *testing.T, m *chatstest.Market, method, url, body string) result {
	t.Helper()
	return exchange(t, m.Transport(), request(contract.Skip(t.Context()), t, method, url, body))
}

// collect reads a whole sequence.
func collect[T any](tb testing.TB, sequence func(func(T, error) bool)) []T {
	tb.Helper()
	var all []T
	for item, err := range sequence {
		require.NoError(tb, err)
		all = append(all, item)
	}
	return all
}
