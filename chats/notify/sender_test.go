package notify_test

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ymchats/ymchats-go/chats/notify"
)

func from(remote string) *http.Request {
	r := request(sentBody)
	r.RemoteAddr = remote
	return r
}

func TestAllowedNetworks_LetMarketIn(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]int{
		"5.45.207.0:443":              http.StatusOK,
		"5.45.207.127:443":            http.StatusOK,
		"5.45.207.128:443":            http.StatusForbidden,
		"141.8.142.77:1":              http.StatusOK,
		"141.8.142.200:1":             http.StatusForbidden,
		"5.255.253.1:1":               http.StatusOK,
		"5.255.253.127:1":             http.StatusOK,
		"5.255.253.128:1":             http.StatusForbidden,
		"5.255.254.1:1":               http.StatusForbidden,
		"[::ffff:5.45.207.7]:443":     http.StatusOK,
		"[::ffff:5.45.207.7%eth0]:80": http.StatusOK,
		"[::ffff:8.8.8.8]:443":        http.StatusForbidden,
		"[2a02:6b8::1]:443":           http.StatusForbidden,
		"127.0.0.1:443":               http.StatusForbidden,
		"@":                           http.StatusForbidden,
		"":                            http.StatusForbidden,
		"5.45.207.1":                  http.StatusForbidden,
	} {
		var shop counter
		handler := newHandler(t, shop.handle, notify.WithAllowedNetworks(notify.MarketNetworks()...))
		resp := send(t, handler, from(remote))
		assert.Equal(t, want, resp.status, remote)
		assert.Equal(t, want == http.StatusOK, shop.count() == 1, remote)
		if want != http.StatusOK {
			assert.EqualValues(t, "UNKNOWN", resp.Error.Type)
			assert.Equal(t, "close", resp.header.Get("Connection"))
		}
	}
}

// Senders that are not allowed do not learn what the handler accepts.
func TestAllowedNetworks_CheckedFirst(t *testing.T) {
	t.Parallel()
	handler := newHandler(t, accept, notify.WithAllowedNetworks(notify.MarketNetworks()...))
	r := from("8.8.8.8:1")
	r.Method = http.MethodGet
	assert.Equal(t, http.StatusForbidden, send(t, handler, r).status)
}

func TestAllowedNetworks_IgnoreZone(t *testing.T) {
	t.Parallel()
	handler := newHandler(t, accept, notify.WithAllowedNetworks(netip.MustParsePrefix("fe80::/10")))
	assert.Equal(t, http.StatusOK, send(t, handler, from("[fe80::1%eth0]:443")).status)
	withZone := func(*http.Request) (netip.Addr, error) { return netip.MustParseAddr("fe80::1%eth0"), nil }
	handler = newHandler(t, accept, notify.WithAllowedNetworks(netip.MustParsePrefix("fe80::/10")), notify.WithClientAddr(withZone))
	assert.Equal(t, http.StatusOK, send(t, handler, from("10.0.0.1:1")).status)
}

// The most likely mistake: the header is missing.
func TestClientAddr_PanicRefuses(t *testing.T) {
	t.Parallel()
	last := func(r *http.Request) (netip.Addr, error) {
		hops := r.Header["X-Forwarded-For"]
		return netip.ParseAddr(hops[len(hops)-1])
	}
	line := logged(t, accept, sentBody, "10.0.0.1:1", notify.WithClientAddr(last))
	assert.InEpsilon(t, http.StatusForbidden, line["status"], 0)
	assert.Contains(t, line["error"], "index out of range")
}

func TestAllowedNetworks_AddUp(t *testing.T) {
	t.Parallel()
	handler := newHandler(t, accept,
		notify.WithAllowedNetworks(netip.MustParsePrefix("10.0.0.0/8")),
		notify.WithAllowedNetworks(netip.MustParsePrefix("192.0.2.0/24")))
	assert.Equal(t, http.StatusOK, send(t, handler, from("10.1.2.3:1")).status)
	assert.Equal(t, http.StatusOK, send(t, handler, from("192.0.2.1:1")).status)
	assert.Equal(t, http.StatusForbidden, send(t, handler, from("172.16.0.1:1")).status)
}

func TestAllowedNetworks_DefaultIsAll(t *testing.T) {
	t.Parallel()
	for _, remote := range []string{"8.8.8.8:1", "@", ""} {
		assert.Equal(t, http.StatusOK, send(t, newHandler(t, accept), from(remote)).status)
	}
}

func TestClientAddr_DecidesSender(t *testing.T) {
	t.Parallel()
	byProxy := notify.WithClientAddr(func(r *http.Request) (netip.Addr, error) {
		if !strings.HasPrefix(r.RemoteAddr, "10.") {
			return netip.Addr{}, errors.New("not by the proxy")
		}
		return netip.ParseAddr(r.Header.Get("X-Real-IP"))
	})
	market := notify.WithAllowedNetworks(notify.MarketNetworks()...)
	for name, tc := range map[string]struct {
		remote, header string
		want           int
	}{
		"market":                {"10.0.0.1:1", "5.45.207.7", http.StatusOK},
		"market, mapped":        {"10.0.0.1:1", "::ffff:5.45.207.7", http.StatusOK},
		"another sender":        {"10.0.0.1:1", "8.8.8.8", http.StatusForbidden},
		"no header":             {"10.0.0.1:1", "", http.StatusForbidden},
		"past the proxy":        {"8.8.8.8:1", "5.45.207.7", http.StatusForbidden},
		"market past the proxy": {"5.45.207.7:1", "5.45.207.7", http.StatusForbidden},
		"a list in the header":  {"10.0.0.1:1", "5.45.207.7, 8.8.8.8", http.StatusForbidden},
	} {
		r := from(tc.remote)
		r.Header.Set("X-Real-IP", tc.header)
		assert.Equal(t, tc.want, send(t, newHandler(t, accept, market, byProxy), r).status, name)
	}
	r := from("8.8.8.8:1")
	assert.Equal(t, http.StatusForbidden, send(t, newHandler(t, accept, byProxy), r).status, "an error refuses without networks, too")
}

func TestAllowedNetworks_IgnoreHeaders(t *testing.T) {
	t.Parallel()
	handler := newHandler(t, accept, notify.WithAllowedNetworks(notify.MarketNetworks()...))
	r := from("8.8.8.8:1")
	for _, name := range []string{"X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP"} {
		r.Header.Set(name, "5.45.207.7")
	}
	assert.Equal(t, http.StatusForbidden, send(t, handler, r).status)
}

func TestMarketNetworks_ReturnsCopy(t *testing.T) {
	t.Parallel()
	notify.MarketNetworks()[0] = netip.MustParsePrefix("0.0.0.0/0")
	assert.Equal(t, "5.45.207.0/25", notify.MarketNetworks()[0].String())
}
