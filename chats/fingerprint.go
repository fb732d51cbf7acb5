package chats

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
)

// CredentialFingerprint returns a short hash of the current credential, so that a program can
// detect that a rejected credential has been replaced. The hash cannot be reversed and differs from
// business to business. If the credential was made by [APIKeySource] or [OAuthTokenSource],
// CredentialFingerprint calls the source, and returns the source's error if the call fails.
// CredentialFingerprint sends no request.
func (c *Client) CredentialFingerprint(ctx context.Context) (string, error) {
	secret, err := c.credential.read(ctx)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(c.businessID() + " " + secret.header + " " + secret.raw))
	return hex.EncodeToString(sum[:8]), nil
}
