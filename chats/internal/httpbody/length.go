package httpbody

import (
	"fmt"
	"net/http"
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
