package chatstest

import (
	"net/http"
	"strings"
)

// The credentials of every Market have the documented form and are valid nowhere
// else.
const (
	fakeKey   = "ACMA:NotARealKeyNotARealKeyNotARealKeyNotARea:00c0ffee"
	fakeToken = "y0_not-a-real-token-of-chatstest" //nolint:gosec // no credential, as it says
)

func (s *store) authenticate(header http.Header) *problem {
	key, authorization := header.Get("Api-Key"), header.Get("Authorization")
	token, isBearer := strings.CutPrefix(authorization, "Bearer ")
	switch {
	case key != "" && key != s.key:
		return unauthorized("Api-Key is unknown")
	case key != "":
		return nil
	case !isBearer:
		return unauthorized("Neither Api-Key nor OAuth token is given")
	case token != fakeToken:
		return forbidden("OAuth token is invalid or has expired")
	}
	return nil
}
