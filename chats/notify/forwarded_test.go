package notify_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/notify"
)

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// forwarded is a push from the peer with these X-Forwarded-For lines.
func forwarded(peer string, lines ...string) *http.Request {
	r := from(peer)
	for _, line := range lines {
		r.Header.Add("X-Forwarded-For", line)
	}
	return r
}

func TestTrustedProxies_DecideSender(t *testing.T) {
	t.Parallel()
	const market, other, proxy = "5.45.207.7", "203.0.113.5", "10.0.0.1:51000"
	for name, tc := range map[string]struct {
		peer  string
		lines []string
		want  int
	}{
		"market":                             {proxy, []string{market}, http.StatusOK},
		"another sender":                     {proxy, []string{other}, http.StatusForbidden},
		"another sender that says market":    {proxy, []string{market + ", " + other}, http.StatusForbidden},
		"in a line of its own":               {proxy, []string{market, other}, http.StatusForbidden},
		"market after what it wrote":         {proxy, []string{other + ", " + market}, http.StatusOK},
		"market after nonsense":              {proxy, []string{"unknown, <script>, ," + market}, http.StatusOK},
		"market after nonsense in two lines": {proxy, []string{"unknown", market}, http.StatusOK},
		"market after an empty line":         {proxy, []string{"", market}, http.StatusOK},
		"two proxies":                        {proxy, []string{market + ",10.0.0.2"}, http.StatusOK},
		"two proxies in two lines":           {proxy, []string{market, "10.0.0.2"}, http.StatusOK},
		"three proxies, all forms":           {proxy, []string{market + ":1", "[fd00::2]:443 , ::ffff:10.0.0.2"}, http.StatusOK},
		"two proxies, another sender":        {proxy, []string{market + "," + other + ",10.0.0.2"}, http.StatusForbidden},
		"a proxy that is not trusted":        {proxy, []string{market + ",10.1.0.2"}, http.StatusForbidden},
		"tabs and spaces":                    {proxy, []string{" \t" + market + "\t "}, http.StatusOK},
		"with a port":                        {proxy, []string{market + ":40001"}, http.StatusOK},
		"mapped":                             {proxy, []string{"::ffff:" + market}, http.StatusOK},
		"mapped, in hexadecimal":             {proxy, []string{"::ffff:52d:cf07"}, http.StatusOK},
		"mapped, in brackets":                {proxy, []string{"[::ffff:" + market + "]"}, http.StatusOK},
		"mapped, with a port":                {proxy, []string{"[::ffff:" + market + "]:1"}, http.StatusOK},
		"mapped, with a zone":                {proxy, []string{"::ffff:" + market + "%eth0"}, http.StatusOK},
		"another sender, mapped":             {proxy, []string{"::ffff:" + other}, http.StatusForbidden},
		"IPv6":                               {proxy, []string{"2001:db8::1"}, http.StatusForbidden},
		"peer mapped":                        {"[::ffff:10.0.0.1]:1", []string{market}, http.StatusOK},
		"peer with a zone":                   {"[fd00::1%eth0]:1", []string{market}, http.StatusOK},
		"past the proxy":                     {"203.0.113.5:1", []string{market}, http.StatusForbidden},
		"past the proxy, through it, too":    {"203.0.113.5:1", []string{market + ",10.0.0.1"}, http.StatusForbidden},
		"market itself":                      {market + ":1", nil, http.StatusOK},
		"market itself, header ignored":      {market + ":1", []string{other}, http.StatusOK},
		"a peer without an address":          {"@", []string{market}, http.StatusForbidden},
		"no header":                          {proxy, nil, http.StatusForbidden},
		"an empty header":                    {proxy, []string{""}, http.StatusForbidden},
		"an empty entry":                     {proxy, []string{market + ","}, http.StatusForbidden},
		"an empty line at the end":           {proxy, []string{market, ""}, http.StatusForbidden},
		"an empty entry before a proxy":      {proxy, []string{market + ",,10.0.0.2"}, http.StatusForbidden},
		"proxies only":                       {proxy, []string{"10.0.0.2, 10.0.0.3"}, http.StatusForbidden},
		"a word":                             {proxy, []string{market + ", unknown"}, http.StatusForbidden},
		"a word before a proxy":              {proxy, []string{market + ", _hidden, 10.0.0.2"}, http.StatusForbidden},
		"in quotes":                          {proxy, []string{`"` + market + `"`}, http.StatusForbidden},
		"a port that is none":                {proxy, []string{market + ":99999"}, http.StatusForbidden},
		"an empty port":                      {proxy, []string{market + ":"}, http.StatusForbidden},
		"leading zeros":                      {proxy, []string{"005.045.207.007"}, http.StatusForbidden},
		"a decimal number":                   {proxy, []string{"86888199"}, http.StatusForbidden},
		"a bracket too few":                  {proxy, []string{"[::ffff:" + market}, http.StatusForbidden},
		"IPv4 in brackets":                   {proxy, []string{"[" + market + "]"}, http.StatusForbidden},
		"a network":                          {proxy, []string{market + "/32"}, http.StatusForbidden},
		"a list with semicolons":             {proxy, []string{other + ";" + market}, http.StatusForbidden},
	} {
		var shop counter
		handler := newHandler(t, shop.handle, notify.WithAllowedNetworks(notify.MarketNetworks()...),
			notify.WithTrustedProxies(prefixes("10.0.0.0/24")...), notify.WithTrustedProxies(prefixes("fd00::/8")...))
		assert.Equal(t, tc.want, send(t, handler, forwarded(tc.peer, tc.lines...)).status, name)
		assert.Equal(t, tc.want == http.StatusOK, shop.count() == 1, name)
	}
}

// Other headers can be written by anyone, even through the proxy.
func TestTrustedProxies_IgnoreOtherHeaders(t *testing.T) {
	t.Parallel()
	handler := newHandler(t, accept, notify.WithAllowedNetworks(notify.MarketNetworks()...),
		notify.WithTrustedProxies(prefixes("10.0.0.1/32")...))
	r := forwarded("10.0.0.1:1", "203.0.113.5")
	for _, name := range []string{"X-Real-Ip", "Forwarded", "True-Client-Ip", "X_forwarded_for", "X-Forwarded-For-Original"} {
		r.Header.Set(name, "5.45.207.7")
	}
	assert.Equal(t, http.StatusForbidden, send(t, handler, r).status)
}

// Senders are not authenticated without allowed networks.
func TestTrustedProxies_WithoutNetworksLetAllIn(t *testing.T) {
	t.Parallel()
	for _, lines := range [][]string{nil, {"203.0.113.5"}, {"unknown"}} {
		handler := newHandler(t, accept, notify.WithTrustedProxies(prefixes("10.0.0.1/32")...))
		assert.Equal(t, http.StatusOK, send(t, handler, forwarded("10.0.0.1:1", lines...)).status)
	}
}

func TestTrustedProxies_Log(t *testing.T) {
	t.Parallel()
	options := []notify.Option{
		notify.WithAllowedNetworks(notify.MarketNetworks()...), notify.WithTrustedProxies(prefixes("10.0.0.1/32")...),
	}
	for header, want := range map[string]struct{ remote, reason string }{
		"203.0.113.5":  {"203.0.113.5", "sender is not in an allowed network"},
		"5.45.207.7":   {"5.45.207.7", ""},
		"unknown":      {"10.0.0.1", "sender address: X-Forwarded-For has an entry that is not an IP address"},
		"10.0.0.1":     {"10.0.0.1", "sender address: X-Forwarded-For contains only trusted proxies"},
		"":             {"10.0.0.1", "sender address: the trusted proxy sent no X-Forwarded-For"},
		"[10.0.0.1]:1": {"10.0.0.1", "sender address: X-Forwarded-For has an entry that is not an IP address"},
	} {
		line := logRequest(t, accept, forwarded("10.0.0.1:1", header), options...)
		assert.Equal(t, want.remote, line["remote"], header)
		assert.Equal(t, want.reason, strings.TrimSpace(toString(line["error"])), header)
	}
}

func toString(value any) string { text, _ := value.(string); return text }

func TestTrustedProxies_ExcludeClientAddr(t *testing.T) {
	t.Parallel()
	proxies := notify.WithTrustedProxies(prefixes("10.0.0.1/32")...)
	function := notify.WithClientAddr(func(*http.Request) (netip.Addr, error) { return netip.Addr{}, nil })
	for _, options := range [][]notify.Option{{proxies, function}, {function, proxies}} {
		_, err := notify.NewHandler("shop", "1.0", accept, options...)
		var argument *chats.ArgumentError
		require.ErrorAs(t, err, &argument)
		assert.Equal(t, chats.ArgumentError{
			Package: "notify", Field: "trusted proxies", Reason: "cannot be combined with WithClientAddr",
		}, *argument)
	}
}
