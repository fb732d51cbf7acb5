package chats

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
)

// CredentialFingerprint returns a short hash of the current credential, so that a program
// whose credential was rejected can detect that it has been replaced. The hash cannot be
// reversed and differs from business to business. CredentialFingerprint calls the
// source of an [APIKeySource] or [OAuthTokenSource], and returns its error if it fails. It
// sends no request.
func (c *Client) CredentialFingerprint(ctx context.Context) (string, error) {
	secret, err := c.credential.read(ctx)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(c.businessID() + " " + secret.header + " " + secret.raw))
	return hex.EncodeToString(sum[:8]), nil
}
