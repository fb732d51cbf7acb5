package notify

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
)

var (
	errNoHeader = errors.New("the trusted proxy sent no X-Forwarded-For")
	errNoClient = errors.New("X-Forwarded-For contains only trusted proxies")
	errBadEntry = errors.New("X-Forwarded-For has an entry that is not an IP address")
)

// forwardedAddr returns the address from which the outermost trusted proxy was called. Each proxy
// appends the address of its peer, so the entries are read from right to left, and only as far as
// trusted proxies wrote them.
func forwardedAddr(peer netip.Addr, header http.Header, proxies []netip.Prefix) (netip.Addr, error) {
	entries := strings.Join(header.Values("X-Forwarded-For"), ",")
	addr := peer
	if entries == "" && contains(proxies, peer) {
		return peer, errNoHeader
	}
	for contains(proxies, addr) {
		if entries == "" {
			return peer, errNoClient
		}
		last := strings.LastIndexByte(entries, ',')
		var err error
		if addr, err = parseEntry(strings.Trim(entries[last+1:], " \t")); err != nil {
			return peer, err
		}
		entries = entries[:max(last, 0)]
	}
	return addr, nil
}

// parseEntry accepts an address with or without a port, and IPv6 in brackets.
func parseEntry(text string) (netip.Addr, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return plainAddr(addr), nil
	}
	if strings.HasSuffix(text, "]") {
		text += ":0"
	}
	addrPort, err := netip.ParseAddrPort(text)
	if err != nil {
		return netip.Addr{}, errBadEntry
	}
	return plainAddr(addrPort.Addr()), nil
}

// plainAddr returns addr in the form that a network can contain: a dual-stack listener
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
