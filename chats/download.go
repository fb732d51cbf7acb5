package chats

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Download opens an attachment. The caller reads it, bounds it where that matters
// (File.Size is the server's word) and closes it.
//
// The credential is sent to the base URL's host alone; another scheme, host or port
// is another host. Attachments are known to lie elsewhere and to answer 403 there:
// what that host asks for, [WithAttachmentAuth] adds. Redirects are followed,
// without the credential and without what was added for another host. One request;
// it takes none of the parallel places and counts against no allowance. The policy's
// AttemptTimeout bounds the wait for its first byte, the context the whole.
//
// How long a link lives is not documented: read the message again for a fresh one.
//
// Errors: [ArgumentError], [Error].
func (c *Client) Download(ctx context.Context, file File) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	body, err := c.download(ctx, cancel, file)
	if err != nil {
		cancel(err)
		return nil, err
	}
	return body, nil
}

func (c *Client) download(ctx context.Context, cancel context.CancelCauseFunc, file File) (io.ReadCloser, error) {
	req, err := c.newDownloadRequest(ctx, file)
	if err != nil {
		return nil, err
	}
	hidden := headerSecrets(req.Header)
	timer := time.AfterFunc(c.config.retry.AttemptTimeout, func() { cancel(errAttemptTimeout) })
	defer timer.Stop()
	resp, err := withRedirectPolicy(c.config.client, stripOnRedirect).Do(req) //nolint:bodyclose // the caller closes it, or downloadFailed
	if err != nil {
		e := &Error{Operation: OpDownload, Attempts: 1, cause: hidden.sanitizeError(withoutURL(err))}
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			e.cause = cause
		}
		return nil, e
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, downloadError(resp, hidden)
	}
	return &downloadBody{resp.Body, cancel}, nil
}

func (c *Client) newDownloadRequest(ctx context.Context, file File) (*http.Request, error) {
	link, err := url.Parse(file.URL)
	if err != nil || link.Hostname() == "" || link.Scheme != "https" && link.Scheme != "http" {
		return nil, badArgument("file", "its URL is no absolute http(s) address")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, file.URL, nil)
	if err != nil {
		return nil, badArgument("file", "its URL is no absolute http(s) address")
	}
	if origin(link) == origin(c.config.base) {
		value, err := c.credential.read(ctx)
		if err != nil {
			return nil, &Error{Operation: OpDownload, cause: err}
		}
		req.Header.Set(value.header, value.value)
	}
	if c.config.attachmentAuth != nil {
		if err := c.config.attachmentAuth(ctx, req); err != nil {
			return nil, &Error{Operation: OpDownload, cause: fmt.Errorf("attachment auth: %w", err)}
		}
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", c.userAgent())
	}
	return req, nil
}

// secretsIn are the words of all headers but our own: the credential, and whatever the
// caller has added to get in. A short word is no secret, but for the key, and would blot
// out every text.
func headerSecrets(header http.Header) (secret secrets) {
	for name, values := range header {
		for _, value := range strings.Fields(strings.Join(values, " ")) {
			if name == "Api-Key" || name != "User-Agent" && len(value) >= 8 {
				secret = append(secret, value)
			}
		}
	}
	return secret
}

// keepSecrets lets a redirect to another host go without anything that was meant
// for the first. net/http alone would carry every header but a few along, the
// Api-Key among them, and the link itself as Referer.
func stripOnRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("stopped after 10 redirects")
	}
	req.Header.Del("Referer")
	if origin(req.URL) != origin(via[0].URL) {
		req.Header = http.Header{"User-Agent": via[0].Header["User-Agent"]} //nolint:gosec // all that is kept
	}
	return nil
}

func downloadError(resp *http.Response, hidden secrets) error {
	buf, err := readBody(resp)
	r := &response{
		op: OpDownload, rule: rule{repeatable: true}, attempts: 1,
		status: resp.StatusCode, header: resp.Header, body: buf, bodyErr: err, secrets: hidden,
	}
	defer r.release()
	return r.err()
}

// download is an attachment that is being read.
type downloadBody struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (d *downloadBody) Close() error {
	err := d.ReadCloser.Close()
	d.cancel(nil)
	return err
}
