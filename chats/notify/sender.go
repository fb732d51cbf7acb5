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

var errNotAllowed = errors.New("sender is not in an allowed network")

// senders decides which senders are allowed.
type senders struct {
	networks   []netip.Prefix // empty: all senders
	proxies    []netip.Prefix
	clientAddr func(*http.Request) (netip.Addr, error)
}

// admit returns the address of the sender, and an error if it is not allowed.
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
	if s.clientAddr != nil {
		return s.callClientAddr(r)
	}
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, err
	}
	return forwardedAddr(plainAddr(remote.Addr()), r.Header, s.proxies)
}

func (s *senders) callClientAddr(r *http.Request) (addr netip.Addr, err error) {
	err = recoverPanic(func() (err error) {
		addr, err = s.clientAddr(r)
		return err
	})
	return plainAddr(addr), err
}
