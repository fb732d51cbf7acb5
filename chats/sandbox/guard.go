package main

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// guarded allows only requests to a name of this server, and a browser's only from the
// sandbox's own page. Its headers keep a browser from executing what is served, and from
// embedding it in another site.
func (s *sandbox) guarded(next http.Handler) http.Handler {
	origin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		if !s.isOwnName(r.Host) {
			// Another site whose host name was made to resolve to this server must not use the sandbox.
			http.Error(w, "unknown host name; start the sandbox with -host NAME to allow it", http.StatusMisdirectedRequest)
			return
		}
		if origin.Check(r) != nil || isCrossSiteRead(r) {
			http.Error(w, "requests from other sites are refused", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isCrossSiteRead reports whether another site makes a browser read something here, other
// than by a link to the page.
func isCrossSiteRead(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return false
	default:
		return r.URL.Path != "/" || r.Header.Get("Sec-Fetch-Mode") != "navigate"
	}
}

// isOwnName reports whether a request's host is an IP address, localhost, or an allowed name.
func (s *sandbox) isOwnName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	_, err := netip.ParseAddr(host)
	return err == nil || strings.EqualFold(host, "localhost") ||
		slices.ContainsFunc(s.config.hosts, func(name string) bool { return strings.EqualFold(host, name) })
}
