package chats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// Credential is what a client shows to Market: an Api-Key or an OAuth token.
// However it is printed, logged or marshalled, it shows [redacted].
//
// The key is made in the seller's cabinet, under API and modules. Reading needs
// one of the scopes communication, all-methods and all-methods:read-only,
// writing one of communication and all-methods.
type Credential struct {
	// A closure instead of a string: fmt prints unexported fields of a struct that
	// holds a Credential without asking its methods, and finds no secret there.
	source  func(context.Context) (string, error)
	oauth   bool
	invalid error // what is known to be wrong with it beforehand
}

// APIKey is the key as the cabinet shows it, ACMA:...:..., without any prefix.
// It opens one business and does not expire.
func APIKey(key string) Credential {
	return Credential{source: staticSource(key), invalid: checkSecret(key)}
}

// APIKeySource asks for the key before every request, so that keys can rotate, from
// any goroutine and several at once. An error of key fails the call; nothing is sent.
func APIKeySource(key func(context.Context) (string, error)) Credential {
	return Credential{source: key}
}

// OAuthToken is the older way in: a token, without the word Bearer. Tokens
// expire; Market answers an expired one with 403.
func OAuthToken(token string) Credential {
	return Credential{source: staticSource(token), invalid: checkSecret(token), oauth: true}
}

// OAuthTokenSource asks for the token before every request, so that it can be
// refreshed, from any goroutine and several at once. An error of token fails the
// call; nothing is sent.
func OAuthTokenSource(token func(context.Context) (string, error)) Credential {
	return Credential{source: token, oauth: true}
}

func staticSource(secret string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return secret, nil }
}

// String redacts.
func (Credential) String() string { return redacted }

// GoString redacts.
func (Credential) GoString() string { return redacted }

// Format redacts whatever the verb.
func (Credential) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue redacts in log/slog.
func (Credential) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText redacts in JSON and every other encoding.
func (Credential) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// check refuses what could never work.
func (c Credential) check() error {
	switch {
	case c.source == nil:
		return badArgument("credential", "is empty: use APIKey, OAuthToken or one of their sources")
	case c.invalid != nil:
		return badArgument("credential", "%v", c.invalid)
	}
	return nil
}

// secret is one credential's value, ready to be sent.
type secret struct{ header, value, raw string }

// read asks the source and checks what it gives, so that a broken key fails here
// and not as a puzzling 401.
func (c Credential) read(ctx context.Context) (secret, error) {
	raw, err := c.source(ctx)
	if err != nil {
		return secret{}, err
	}
	if err := checkSecret(raw); err != nil {
		return secret{}, err
	}
	if c.oauth {
		return secret{"Authorization", "Bearer " + raw, raw}, nil
	}
	return secret{"Api-Key", raw, raw}, nil
}

// checkSecret never quotes what it refuses.
func checkSecret(raw string) error {
	if raw == "" {
		return errors.New("the credential is empty")
	}
	if strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return errors.New("the credential has a character that is not printable ASCII, or a space: pass the bare key, without a prefix")
	}
	return nil
}
