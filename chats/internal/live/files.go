package live

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/ymchats/ymchats-go/chats"
)

// withKey is the context key of downloads that may send the Api-Key.
type withKey struct{}

// fileAuth adds the Api-Key to a download from the configured host.
func (p *probe) fileAuth(ctx context.Context, req *http.Request) error {
	if ctx.Value(withKey{}) != nil && req.URL.Hostname() == p.config.FileHost {
		req.Header.Set("Api-Key", p.config.Key)
	}
	return nil
}

// files finds out whether an attachment can be downloaded with and without the credential. The
// key is sent only to the API's host and to the configured one.
func (p *probe) files() {
	link, err := url.Parse(p.file.URL)
	if err != nil || link.Host == "" {
		p.report.add("attachments", "unknown: none found")
		return
	}
	where := "on another host"
	if own := p.mayShowKey(link); own {
		where = "on a host that may see the key"
	}
	p.report.add("attachments", "%s; without the credential: %s; with it: %s", where, p.openPlain(), p.openWithKey(link))
}

func (p *probe) mayShowKey(link *url.URL) bool {
	base := p.config.BaseURL
	if base == "" {
		base = "https://api.partner.market.yandex.ru"
	}
	own, err := url.Parse(base)
	return err == nil && link.Host == own.Host || link.Hostname() == p.config.FileHost && link.Scheme == "https"
}

func (p *probe) openPlain() string {
	req, err := http.NewRequestWithContext(p.ctx, http.MethodGet, p.file.URL, nil)
	if err != nil {
		return "invalid URL"
	}
	resp, err := p.plain.Do(req)
	if err != nil {
		return "no response"
	}
	defer func() { _ = resp.Body.Close() }()
	return strconv.Itoa(resp.StatusCode)
}

func (p *probe) openWithKey(link *url.URL) string {
	if !p.mayShowKey(link) {
		return "not tried: set YANDEX_MARKET_FILE_HOST to send the key to that host"
	}
	body, err := p.client.Download(context.WithValue(p.ctx, withKey{}, true), p.file)
	if err != nil {
		return outcome(err)
	}
	defer func() { _ = body.Close() }()
	n, err := io.Copy(io.Discard, io.LimitReader(body, chats.MaxFileSize))
	if err != nil {
		return "truncated"
	}
	return fmt.Sprintf("opens, size as reported: %t", n == p.file.Size)
}
