package chatstest

import (
	"encoding/base64"
	"fmt"
	"time"
)

// cursor is what a page token contains.
type cursor struct {
	number   int    // of the page, from 0
	position int    // where the page begins; -1: at the beginning
	parity   int    // of the messages that are swapped with the next one; see WithSwappedNeighbours
	issued   int64  // in nanoseconds since 1970
	request  uint64 // fingerprint of the request that the token belongs to
}

const cursorForm = "%d/%d/%d/%d/%x"

func (c cursor) token() string {
	return base64.RawURLEncoding.EncodeToString(
		fmt.Appendf(nil, cursorForm, c.number, c.position, c.parity, c.issued, c.request))
}

func parseToken(token string) (c cursor, err error) {
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		_, err = fmt.Sscanf(string(text), cursorForm, &c.number, &c.position, &c.parity, &c.issued, &c.request)
	}
	return c, err
}

// isExpired reports whether the token is refused; see WithTokenLifetime.
func (c cursor) isExpired(now time.Time, lifetime time.Duration) bool {
	return now.Sub(time.Unix(0, c.issued)) >= lifetime
}

// constantToken is the token of WithConstantToken.
const constantToken = "next"
