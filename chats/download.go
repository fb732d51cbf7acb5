package chats

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Download opens an attachment. The caller reads it, limits the read if size matters
// (File.Size is not verified) and closes it.
//
// The credential is sent only to the host of the base URL; another scheme, host or port is
// another host. Attachments are known to be stored on other hosts, which respond with 403:
// use [WithAttachmentAuth] to authenticate there. Redirects are followed, to another host
// without the credential and without the headers from WithAttachmentAuth.
//
// It makes one request and does not retry. The request needs no slot of [WithMaxParallel]
// and does not count against a quota. RetryPolicy.AttemptTimeout is the timeout for the
// response headers; ctx covers the whole download.
//
// How long a link is valid is not documented: read the message again for a new one.
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
	hidden := requestSecrets(req, file.URL)
	timer := time.AfterFunc(c.config.retry.AttemptTimeout, func() { cancel(errAttemptTimeout) })
	defer timer.Stop()
	resp, err := withRedirectPolicy(c.config.client, stripOnRedirect).Do(req) //nolint:bodyclose // the caller closes it, or downloadFailed
	if err != nil {
		e := &Error{Business: c.business, Operation: OpDownload, Attempts: 1, cause: hideContextErrors(ctx, hidden.sanitizeError(withoutURL(err)))}
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			e.cause = cause
		}
		return nil, e
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, c.downloadError(resp, hidden)
	}
	return &downloadBody{resp.Body, cancel}, nil
}

func (c *Client) newDownloadRequest(ctx context.Context, file File) (*http.Request, error) {
	link, err := url.Parse(file.URL)
	if err != nil || link.Hostname() == "" || link.Scheme != "https" && link.Scheme != "http" {
		return nil, badArgument("file", "URL must be absolute (http or https)")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, file.URL, nil)
	if err != nil {
		return nil, badArgument("file", "URL must be absolute (http or https)")
	}
	if origin(link) == origin(c.config.base) {
		value, err := c.credential.read(ctx)
		if err != nil {
			return nil, &Error{Business: c.business, Operation: OpDownload, cause: hideContextErrors(ctx, err)}
		}
		req.Header.Set(value.header, value.value)
	}
	if c.config.attachmentAuth != nil {
		if err := c.config.attachmentAuth(ctx, req); err != nil {
			return nil, &Error{Business: c.business, Operation: OpDownload, cause: hideContextErrors(ctx, fmt.Errorf("attachment auth: %w", err))}
		}
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", c.userAgent())
	}
	return req, nil
}

// stripOnRedirect drops all headers on a redirect to another host. net/http alone would send
// most of them along, the Api-Key included, and the link itself as Referer.
func stripOnRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("stopped after 10 redirects")
	}
	req.Header.Del("Referer")
	if origin(req.URL) != origin(via[0].URL) {
		req.Header = http.Header{"User-Agent": via[0].Header["User-Agent"]} //nolint:gosec // the only header kept
	}
	return nil
}

func (c *Client) downloadError(resp *http.Response, hidden secrets) error {
	buf, err := readBody(resp)
	r := &response{
		business: c.business, op: OpDownload, rule: rule{repeatable: true}, attempts: 1,
		status: resp.StatusCode, header: resp.Header, body: buf, bodyErr: err, secrets: hidden,
	}
	defer r.release()
	return r.err()
}

// downloadBody is the body of an attachment. Close also ends its context.
type downloadBody struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (d *downloadBody) Close() error {
	err := d.ReadCloser.Close()
	d.cancel(nil)
	return err
}
