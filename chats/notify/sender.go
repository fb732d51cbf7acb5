package notify

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
)

// MarketNetworks returns the networks that Market sends from, according to its
// documentation of push notifications as of 2026. Each call returns a new slice.
func MarketNetworks() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("5.45.207.0/25"),
		netip.MustParsePrefix("141.8.142.0/25"),
		netip.MustParsePrefix("5.255.253.0/25"),
	}
}

var errNotAllowed = errors.New("sender is in no allowed network")

// senders decides which requests are let in.
type senders struct {
	networks   []netip.Prefix // empty: all senders
	clientAddr func(*http.Request) (netip.Addr, error)
}

// admit returns the address of the sender, and an error if it is not let in.
func (s *senders) admit(r *http.Request) (netip.Addr, error) {
	addr, err := s.addr(r)
	switch {
	case err != nil && (s.clientAddr != nil || len(s.networks) > 0):
		return addr, fmt.Errorf("sender address: %w", err)
	case len(s.networks) > 0 && !contains(s.networks, addr):
		return addr, errNotAllowed
	}
	return addr, nil
}

func (s *senders) addr(r *http.Request) (netip.Addr, error) {
	if s.clientAddr == nil {
		remote, err := netip.ParseAddrPort(r.RemoteAddr)
		return plainAddr(remote.Addr()), err
	}
	var addr netip.Addr
	err := recoverPanic(func() (err error) {
		addr, err = s.clientAddr(r)
		return err
	})
	return plainAddr(addr), err
}

// plainAddr returns addr as networks contain it: a listener for both versions of IP
// reports IPv4 as ::ffff:1.2.3.4, and no network contains an address with a zone.
func plainAddr(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

func contains(networks []netip.Prefix, addr netip.Addr) bool {
	for _, network := range networks {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}
