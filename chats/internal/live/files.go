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

// The key of a request's context under which the key may go along.
type withKey struct{}

// fileAuth adds the key to a download, for a host that was named.
func (p *probe) fileAuth(ctx context.Context, req *http.Request) error {
	if ctx.Value(withKey{}) != nil && req.URL.Hostname() == p.config.FileHost {
		req.Header.Set("Api-Key", p.config.Key)
	}
	return nil
}

// files settles whether an attachment opens without the credential, and with it.
// The key is shown to Market's own host and to the one that was named.
func (p *probe) files() {
	link, err := url.Parse(p.file.URL)
	if err != nil || link.Host == "" {
		p.report.add("attachments", "unknown: none was met")
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
		return "no address"
	}
	resp, err := p.plain.Do(req)
	if err != nil {
		return "no answer"
	}
	defer func() { _ = resp.Body.Close() }()
	return strconv.Itoa(resp.StatusCode)
}

func (p *probe) openWithKey(link *url.URL) string {
	if !p.mayShowKey(link) {
		return "not tried: the key goes to a host that you name, in YANDEX_MARKET_FILE_HOST"
	}
	body, err := p.client.Download(context.WithValue(p.ctx, withKey{}, true), p.file)
	if err != nil {
		return outcome(err)
	}
	defer func() { _ = body.Close() }()
	n, err := io.Copy(io.Discard, io.LimitReader(body, chats.MaxFileSize))
	if err != nil {
		return "cut off"
	}
	return fmt.Sprintf("opens, size as told %t", n == p.file.Size)
}
