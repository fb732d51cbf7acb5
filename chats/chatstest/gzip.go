package chatstest

import (
	"compress/gzip"
	"io"
	"net/http"
	"strings"
)

// decompress treats a compressed response to a request that did not ask for compression as
// net/http's transport does.
func decompress(resp *http.Response) {
	asked := resp.Request.Header.Get("Accept-Encoding") != "" || resp.Request.Header.Get("Range") != ""
	if asked || !strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
		return
	}
	resp.Header.Del("Content-Encoding")
	resp.Header.Del("Content-Length")
	resp.ContentLength, resp.Uncompressed = -1, true
	resp.Body = &gzipBody{ReadCloser: resp.Body}
}

// gzipBody decompresses a body. It reads nothing before the first Read.
type gzipBody struct {
	io.ReadCloser
	reader *gzip.Reader
	err    error
}

func (b *gzipBody) Read(p []byte) (int, error) {
	if b.reader == nil && b.err == nil {
		b.reader, b.err = gzip.NewReader(b.ReadCloser)
	}
	if b.err != nil {
		return 0, b.err
	}
	return b.reader.Read(p)
}
