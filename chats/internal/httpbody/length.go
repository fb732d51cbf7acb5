package httpbody

import (
	"fmt"
	"net/http"
	"strings"
)

// Length returns the length of the body that a response announces, or -1. A 206 may announce it in
// Content-Range alone.
func Length(resp *http.Response) int64 {
	var first, last int64
	if resp.ContentLength < 0 && resp.StatusCode == http.StatusPartialContent && !resp.Uncompressed {
		n, _ := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/", &first, &last)
		if n == 2 && 0 <= first && first <= last {
			return last - first + 1
		}
	}
	return resp.ContentLength
}

// IsRequestedPart reports whether a part of a file, as described by Content-Range, begins where the
// one requested by Range does. A part that is not described is assumed to be.
func IsRequestedPart(requested, received string) bool {
	var first, got int64
	n, _ := fmt.Sscanf(requested, "bytes=%d-", &first)
	isKnown := n == 1 && first >= 0 && !strings.Contains(requested, ",")
	n, _ = fmt.Sscanf(received, "bytes %d-", &got)
	return requested != "" && (!isKnown || n == 0 || got == first)
}
