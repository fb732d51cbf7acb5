package notify_test

import (
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/notify"
)

func TestNewHandler_InvalidArguments(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		name, version string
		handle        handleFunc
		option        notify.Option
		field, reason string
	}{
		"no name":            {"", "1", accept, nil, "name", "must have 1 to 100 characters"},
		"a long name":        {strings.Repeat("ж", 101), "1", accept, nil, "name", "must have 1 to 100 characters"},
		"a broken name":      {"\xff", "1", accept, nil, "name", "must have 1 to 100 characters"},
		"no version":         {"shop", "", accept, nil, "version", "must have 1 to 100 characters"},
		"a long version":     {"shop", strings.Repeat("1", 101), accept, nil, "version", "must have 1 to 100 characters"},
		"no function":        {"shop", "1", nil, nil, "handle", "is nil"},
		"no networks":        {"shop", "1", accept, notify.WithAllowedNetworks(), "networks", "must not be empty"},
		"an empty network":   {"shop", "1", accept, notify.WithAllowedNetworks(netip.Prefix{}), "networks", "contains an invalid prefix"},
		"a mapped network":   {"shop", "1", accept, notify.WithAllowedNetworks(netip.MustParsePrefix("::ffff:5.45.207.0/121")), "networks", "must have IPv4 networks in IPv4 form: ::ffff:5.45.207.0/121"},
		"no proxies":         {"shop", "1", accept, notify.WithTrustedProxies(), "trusted proxies", "must not be empty"},
		"an empty proxy":     {"shop", "1", accept, notify.WithTrustedProxies(netip.Prefix{}), "trusted proxies", "contains an invalid prefix"},
		"a mapped proxy":     {"shop", "1", accept, notify.WithTrustedProxies(netip.MustParsePrefix("::ffff:10.0.0.1/128")), "trusted proxies", "must have IPv4 networks in IPv4 form: ::ffff:10.0.0.1/128"},
		"no client address":  {"shop", "1", accept, notify.WithClientAddr(nil), "client address", "is nil"},
		"no window":          {"shop", "1", accept, notify.WithDedupe(0, 1), "window", "must be greater than 0"},
		"a window backwards": {"shop", "1", accept, notify.WithDedupe(-time.Second, 1), "window", "must be greater than 0"},
		"a size below zero":  {"shop", "1", accept, notify.WithDedupe(time.Second, -1), "size", "must be greater than 0"},
		"neither, negative":  {"shop", "1", accept, notify.WithDedupe(-time.Second, 0), "window", "must be greater than 0"},
		"a nil option":       {"shop", "1", accept, nil, "option", "is nil"},
		"no size":            {"shop", "1", accept, notify.WithDedupe(time.Second, 0), "size", "must be greater than 0"},
		"no logger":          {"shop", "1", accept, notify.WithLogger(nil), "logger", "is nil"},
		"no log handler":     {"shop", "1", accept, notify.WithLogger(new(slog.Logger)), "logger", "is nil"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var options []notify.Option
			if tc.option != nil || tc.field == "option" {
				options = append(options, tc.option)
			}
			handler, err := notify.NewHandler(tc.name, tc.version, tc.handle, options...)
			assert.Nil(t, handler)
			require.ErrorIs(t, err, chats.ErrInvalidArgument)
			var argument *chats.ArgumentError
			require.ErrorAs(t, err, &argument)
			assert.Equal(t, chats.ArgumentError{Package: "notify", Field: tc.field, Reason: tc.reason}, *argument)
		})
	}
}

func TestNewHandler_LongestNames(t *testing.T) {
	t.Parallel()
	name := strings.Repeat("ж", 100)
	handler, err := notify.NewHandler(name, name, accept)
	require.NoError(t, err)
	resp := post(t, handler, pingBody)
	assert.Equal(t, http.StatusOK, resp.status)
	assert.Equal(t, name, resp.Name)
	assert.Equal(t, name, resp.Version)
}
