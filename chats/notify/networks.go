package notify

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
)

// MarketNetworks are the networks that Market sends from, by its documentation of
// push notifications as of 2026. A copy each time.
func MarketNetworks() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("5.45.207.0/25"),
		netip.MustParsePrefix("141.8.142.0/25"),
		netip.MustParsePrefix("5.255.253.0/25"),
	}
}

var errForeign = errors.New("the sender is of no allowed network")

// admit tells the sender's address, and an error where it is not let in.
func (h *Handler) admit(r *http.Request) (netip.Addr, error) {
	sender, err := h.sender(r)
	switch {
	case err != nil && (h.clientAddr != nil || len(h.networks) > 0):
		return sender, fmt.Errorf("the sender's address: %w", err)
	case len(h.networks) == 0:
		return sender, nil
	}
	for _, network := range h.networks {
		if network.Contains(sender) {
			return sender, nil
		}
	}
	return sender, errForeign
}

// sender is the address as networks are compared with: a listener for both IP
// versions reports IPv4 as ::ffff:1.2.3.4, and a zone would match no network.
func (h *Handler) sender(r *http.Request) (netip.Addr, error) {
	if h.clientAddr != nil {
		var addr netip.Addr
		err := safely(func() (err error) {
			addr, err = h.clientAddr(r)
			return err
		})
		return addr.Unmap().WithZone(""), err
	}
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	return remote.Addr().Unmap().WithZone(""), err
}
