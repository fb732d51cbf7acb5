package httpbody

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestLength(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status int
		length int64
		header string
		want   int64
	}{
		{206, -1, "bytes 10-99/100", 90},
		{206, -1, "bytes 10-99/*", 90},
		{206, -1, "bytes 0-0/1", 1},
		{206, 90, "bytes 10-98/100", 90},
		{206, -1, "bytes 99-10/100", -1},
		{206, -1, "bytes -5-4/100", -1},
		{206, -1, "bytes */100", -1},
		{206, -1, "bytes 10-99999999999999999999/*", -1},
		{206, -1, "", -1},
		{200, -1, "bytes 10-99/100", -1},
	} {
		resp := &http.Response{StatusCode: tt.status, ContentLength: tt.length, Header: http.Header{"Content-Range": {tt.header}}}
		assert.Equal(t, tt.want, Length(resp), tt)
	}
	assert.Equal(t, int64(-1), Length(&http.Response{StatusCode: http.StatusPartialContent, ContentLength: -1, Uncompressed: true, Header: http.Header{"Content-Range": {"bytes 0-9/10"}}}))
}

func TestIsRequestedPart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		requested, received string
		want                bool
	}{
		{"bytes=2-", "bytes 2-9/10", true},
		{"bytes=2-4", "bytes 2-3/10", true},
		{"bytes=2-4", "bytes 0-4/10", false},
		{"bytes=0-", "bytes 1-9/*", false},
		{"bytes=-5", "bytes 5-9/10", true},
		{"bytes=2-3,5-6", "bytes 5-6/10", true},
		{"bytes=2-", "", true},
		{"pages=2-", "pages 1-9/10", true},
		{"", "bytes 0-9/10", false},
	} {
		assert.Equal(t, tt.want, IsRequestedPart(tt.requested, tt.received), tt)
	}
}
