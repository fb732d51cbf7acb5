package chats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/ymchats/ymchats-go/chats/internal/redact"
)

// Credential is an API key or an OAuth token that authenticates a client. It is printed,
// logged and marshalled as [redacted].
//
// Keys are created in the seller's cabinet, under "API and modules". Reading requires the
// communication, all-methods or all-methods:read-only scope; writing requires communication or
// all-methods.
type Credential struct {
	// source is a closure rather than a string. fmt prints the unexported fields of a struct
	// without calling their methods, so a Credential in such a field must not contain the
	// secret itself.
	source  func(context.Context) (string, error)
	oauth   bool
	invalid error // why the argument of the constructor is invalid
}

// APIKey returns the credential for a key. Pass the key as the cabinet shows it (ACMA:...:...),
// without a prefix. A key is valid for one business and does not expire.
func APIKey(key string) Credential {
	return Credential{source: staticSource(key), invalid: checkSecret(key)}
}

// APIKeySource returns a credential that calls the given function before every request, so that
// keys can be rotated. The exception is the read of the history immediately before a confirmed
// send, which uses the key obtained for the send. The function must be safe for concurrent use. If
// it returns an error, the call fails and nothing more is sent.
func APIKeySource(key func(context.Context) (string, error)) Credential {
	return Credential{source: redact.Source(key)}
}

// OAuthToken returns the credential for an OAuth token. Pass the bare token, without the Bearer
// prefix. OAuth is the older method of authentication. Tokens expire; Market responds to an expired
// token with 403.
func OAuthToken(token string) Credential {
	return Credential{source: staticSource(token), invalid: checkSecret(token), oauth: true}
}

// OAuthTokenSource returns a credential that calls the given function before every request, so that
// tokens can be refreshed. The exception is the read of the history immediately before a confirmed
// send, which uses the token obtained for the send. The function must be safe for concurrent use.
// If it returns an error, the call fails and nothing more is sent.
func OAuthTokenSource(token func(context.Context) (string, error)) Credential {
	return Credential{source: redact.Source(token), oauth: true}
}

func staticSource(secret string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return secret, nil }
}

// String returns [redacted].
func (Credential) String() string { return redact.Placeholder }

// GoString returns [redacted].
func (Credential) GoString() string { return redact.Placeholder }

// Format prints [redacted] for every verb.
func (Credential) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redact.Placeholder)) }

// LogValue returns [redacted] for log/slog.
func (Credential) LogValue() slog.Value { return slog.StringValue(redact.Placeholder) }

// MarshalText returns [redacted]; encoding/json uses it.
func (Credential) MarshalText() ([]byte, error) { return []byte(redact.Placeholder), nil }

// check returns an [ArgumentError] for an invalid credential.
func (c Credential) check() error {
	switch {
	case c.source == nil:
		return badArgument("credential", "is empty: use APIKey, OAuthToken, APIKeySource or OAuthTokenSource")
	case c.invalid != nil:
		return badArgument("credential", "%v", c.invalid)
	}
	return nil
}

// secret is the value of a credential: the header to send, and the raw text that the source
// returned.
type secret struct{ header, value, raw string }

// read obtains the secret from the source and validates it, so that a malformed key fails here
// rather than with a 401.
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

// checkSecret returns an error for a malformed secret. The error never quotes the secret.
func checkSecret(raw string) error {
	if raw == "" {
		return errors.New("the credential is empty")
	}
	if strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return errors.New("the credential contains a space or a character that is not printable ASCII: pass the bare key, without a prefix")
	}
	return nil
}
