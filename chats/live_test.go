//go:build live

package chats_test

import (
	"errors"
	"os"
	"testing"

	"github.com/ymchats/ymchats-go/chats/internal/live"
)

// TestLive calls the real Market with YANDEX_MARKET_API_KEY and
// YANDEX_MARKET_BUSINESS_ID, and checks its responses against the contract. It only
// reads, unless YANDEX_MARKET_TEST_ORDER names a test order of the cabinet's
// debugging page. Run it with -v to see the report, which has no name, no text and no
// number of the shop: please send it to us.
func TestLive(t *testing.T) {
	config, err := live.FromEnv(os.Getenv)
	if errors.Is(err, live.ErrNotAsked) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the report:\n%s", live.Run(t, config))
}
