package chats

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/callerctx"
	"github.com/ymchats/ymchats-go/chats/internal/httpbody"
	"github.com/ymchats/ymchats-go/chats/internal/redact"
	"github.com/ymchats/ymchats-go/chats/internal/redirect"
)

// Attachment is a download in progress. The caller must close it.
//
// The content is passed on as stored: a .gz file stays compressed. Read errors are of type
// [*Error]. If the content is shorter than its announced length or than File.Size, the last
// read fails with an error that matches [io.ErrUnexpectedEOF]. Content that is longer than
// File.Size is not an error: limit the read if size matters.
type Attachment struct {
	io.ReadCloser
	Name        string // base name, taken from the response or, failing that, from File.Name; may be empty
	ContentType string // as the server reported it; may be empty
	Size        int64  // in bytes, as the response announced it; -1 if unknown
}

// Download opens an attachment. The caller reads and closes it.
//
// The credential is sent only to the host of the base URL; a different scheme or port counts
// as a different host. According to other published clients of the API, attachments are stored on
// other hosts, which respond with 403: use [WithAttachmentAuth] to authenticate there.
// Redirects are followed if the HTTP client's CheckRedirect allows them. After a redirect to
// another host, requests carry neither the credential nor the headers from WithAttachmentAuth.
//
// Download makes one request, and one more for each redirect that it follows. These requests are
// not retried, logged, reported to hooks or paced by the [Limiter]. They occupy no slot (see
// [WithMaxParallel]) and do not count against a quota. RetryPolicy.AttemptTimeout bounds the wait
// for the response headers; ctx covers the whole download.
//
// A 2xx other than 200 or 203 results in an error that matches [ErrProtocol]. The exception is a
// 206 if the function set with WithAttachmentAuth has requested a range and the response begins
// where that range begins.
//
// How long a link remains valid is not documented. To get a new link, read the message again.
//
// Errors: [ArgumentError], [Error].
func (c *Client) Download(ctx context.Context, file File) (*Attachment, error) {
	cancelable, cancel := context.WithCancelCause(ctx)
	return c.download(ctx, cancelable, cancel, file)
}

func (c *Client) download(caller, ctx context.Context, cancel context.CancelCauseFunc, file File) (attachment *Attachment, err error) {
	defer func() { // also after a panic of a callback
		if attachment == nil {
			cancel(err)
		}
	}()
	call := &call{business: c.business, op: OpDownload, repeatable: true}
	req, err := c.newDownloadRequest(ctx, file)
	if err != nil {
		return nil, err
	}
	if ended := callerctx.Err(caller); ended != nil {
		return nil, call.failure(caller, ended)
	}
	call.attempts, call.secrets = 1, redact.OfRequest(req, file.URL)
	timer := time.AfterFunc(c.config.retry.AttemptTimeout, func() { cancel(errAttemptTimeout) })
	defer timer.Stop()
	resp, err := redirect.Strip(c.config.client).Do(req) //nolint:bodyclose // the caller closes it, or downloadError
	failure := func(err error) *Error { return call.failure(caller, call.secrets.SanitizeError(withoutURL(err))) }
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			err = cause
		}
		return nil, failure(err)
	}
	if !isWholeFile(req, resp) {
		return nil, call.downloadError(ctx, resp)
	}
	body := &downloadBody{ReadCloser: resp.Body, cancel: cancel, failure: failure, status: resp.StatusCode}
	size := httpbody.Length(resp)
	if body.missing = size; resp.StatusCode != http.StatusPartialContent {
		body.missing = max(size, file.Size)
	}
	return &Attachment{
		ReadCloser: body, Name: attachmentName(resp.Header, file), ContentType: resp.Header.Get("Content-Type"), Size: size,
	}, nil
}

// errNotTheFile is the cause of an [Error] for a 2xx without the whole file.
var errNotTheFile = errors.New("response is not the whole file")

// isWholeFile reports whether a response contains the file, or the part of it that the
// function set with [WithAttachmentAuth] has requested.
func isWholeFile(req *http.Request, resp *http.Response) bool {
	isPart := resp.StatusCode == http.StatusPartialContent && httpbody.IsRequestedPart(req.Header.Get("Range"), resp.Header.Get("Content-Range"))
	return isPart || resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusNonAuthoritativeInfo
}

// attachmentName returns a file name without a path, so that it cannot refer to another
// directory.
func attachmentName(header http.Header, file File) string {
	_, params, _ := mime.ParseMediaType(header.Get("Content-Disposition"))
	name := params["filename"]
	if decoded, err := new(mime.WordDecoder).DecodeHeader(name); err == nil {
		name = decoded
	}
	for _, name := range []string{name, file.Name} {
		name = name[strings.LastIndexAny(name, `/\`)+1:]
		for strings.IndexByte(name, ':') == 1 { // a Windows drive letter, perhaps before another one
			name = name[2:]
		}
		if checkFileName(name) == nil {
			return name
		}
	}
	return ""
}

func (c *Client) newDownloadRequest(ctx context.Context, file File) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, redirect.Escape(file.URL), nil)
	if err != nil || req.URL.Hostname() == "" || req.URL.Scheme != "https" && req.URL.Scheme != "http" {
		return nil, badArgument("file", "URL must be absolute (http or https)")
	}
	if c.config.attachmentAuth != nil {
		if err := c.config.attachmentAuth(ctx, req); err != nil {
			return nil, &Error{Business: c.business, Operation: OpDownload, cause: callerctx.HideOthers(ctx, fmt.Errorf("attachment auth: %w", err))}
		}
	}
	if redirect.Origin(req.URL) == redirect.Origin(c.config.base) { // checked here because auth may have changed the URL
		value, err := c.credential.read(ctx)
		if err != nil {
			return nil, &Error{Business: c.business, Operation: OpDownload, cause: callerctx.HideOthers(ctx, err)}
		}
		if req.Header.Get(value.header) == "" {
			req.Header.Set(value.header, value.value)
		}
	}
	if req.Header.Get("Accept-Encoding") == "" {
		req.Header.Set("Accept-Encoding", "identity") // otherwise net/http would unpack a stored .gz
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", c.headers.Get("User-Agent"))
	}
	return req, nil
}

// downloadError returns the error for a response that is not the file.
func (c *call) downloadError(ctx context.Context, resp *http.Response) error {
	buf, err := httpbody.Read(ctx, resp)
	r := &response{call: c, status: resp.StatusCode, header: resp.Header, body: buf, bodyErr: err}
	if r.ok() {
		r.decodeErr = errNotTheFile
	}
	defer r.release()
	return r.err()
}

// downloadBody is the body of an attachment. Close also cancels its context.
type downloadBody struct {
	io.ReadCloser
	cancel  context.CancelCauseFunc
	failure func(error) *Error
	status  int
	missing int64 // bytes not received yet
}

func (d *downloadBody) Read(p []byte) (int, error) {
	n, err := d.ReadCloser.Read(p)
	d.missing -= int64(n)
	switch {
	case err == io.EOF && d.missing > 0: //nolint:errorlint // a reader returns it unwrapped
		err = fmt.Errorf("%d bytes are missing: %w", d.missing, io.ErrUnexpectedEOF)
	case err == nil || err == io.EOF: //nolint:errorlint // as above
		return n, err
	}
	failed := d.failure(err)
	failed.StatusCode = d.status
	return n, failed
}

func (d *downloadBody) Close() error {
	err := d.ReadCloser.Close()
	d.cancel(nil)
	return err
}

var attachmentHosts = []string{"https://files.messenger.yandex.net:443", "https://files.messenger.yandex.ru:443"}

// AttachmentOAuth returns a function for [WithAttachmentAuth] that adds an Authorization header,
// with the OAuth scheme and the token, to https requests to files.messenger.yandex.net and
// files.messenger.yandex.ru. Other published clients find Market's attachments on these hosts. All
// other requests are left unchanged, and the token function is not called for them.
func AttachmentOAuth(token func(context.Context) (string, error)) func(context.Context, *http.Request) error {
	if token == nil {
		return nil // which WithAttachmentAuth rejects
	}
	token = redact.Source(token)
	return func(ctx context.Context, req *http.Request) error {
		if !slices.Contains(attachmentHosts, redirect.Origin(req.URL)) {
			return nil
		}
		value, err := token(ctx)
		if err != nil {
			return err
		}
		if err := checkSecret(value); err != nil {
			return fmt.Errorf("OAuth token: %w", err)
		}
		req.Header.Set("Authorization", "OAuth "+value)
		return nil
	}
}
