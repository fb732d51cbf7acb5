package chats

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/httpbody"
	"github.com/ymchats/ymchats-go/chats/internal/paging"
)

// items yields the items of a listing.
func items[T any](ctx context.Context, c *Client, op Operation, l paging.Listing[T], yield func(T, error) bool) {
	l.Refused = isRefused
	for item, err := range paging.Items(httpbody.WithStack(ctx), l) {
		switch {
		case errors.Is(err, paging.ErrRepeatedToken) || errors.Is(err, paging.ErrNoProgress):
			err = &Error{Business: c.business, Operation: op, kinds: []error{ErrProtocol}, cause: err}
		case errors.Is(err, paging.ErrAborted):
			err = &Error{Business: c.business, Operation: op, cause: err}
		}
		if !yield(item, err) {
			return
		}
	}
}

// fallbackSizes are the page sizes that are tried, in this order, after the server has refused a
// larger one. If the error mentions a limit or a page size, fitPage then tries 3 and 1. The vendor
// has lowered its limits before.
var fallbackSizes = map[Operation][]int{OpGetChats: {10, 5}, OpGetChatHistory: {50, 20, 10}}

// acceptedSize is the largest page size that the server accepts. It expires, because a larger
// size may have been refused for another reason.
type acceptedSize struct {
	size  int
	until time.Time
}

const acceptedSizeLifetime = time.Hour

// tinySizeLifetime replaces acceptedSizeLifetime for sizes below 5, which cost many more requests.
const tinySizeLifetime = time.Minute

// sizedPage is a page with the details of its request.
type sizedPage[T any] struct {
	Page[T]
	size        int
	requestedAt time.Time // by the slower of the server's clock and ours
	skipped     []T       // items without a readable ID
}

// fitPage calls fetch with size. If that is the first page and the server refuses it with one
// of sizeRefusals, fitPage tries the fallback sizes. If the server refuses these as well, the
// reason is not the size, and the first error is returned. With a page token, fitPage requests the
// size as it is, because it must not change between the pages of a listing.
func fitPage[T any](
	c *Client, op Operation, size int, token string, fetch func(size int) (sizedPage[T], error),
) (sizedPage[T], error) {
	known, _ := c.pageSizes.Load(op)
	accepted, isKnown := known.(acceptedSize)
	if isKnown && token == "" && time.Now().Before(accepted.until) {
		size = min(size, accepted.size)
	}
	page, err := fetch(size)
	if token == "" && err == nil && size > accepted.size {
		c.pageSizes.CompareAndDelete(op, known) // otherwise the next pages would have another size
	}
	if token != "" || !isRefusedByAPI(err) {
		return page, err
	}
	sizes := fallbackSizes[op]
	if isAboutSize(err) {
		sizes = append(slices.Clip(sizes), 3, 1)
	}
	for _, smaller := range sizes {
		if smaller >= size {
			continue
		}
		fitting, fitErr := fetch(smaller)
		if fitErr == nil {
			lifetime := acceptedSizeLifetime
			if smaller < 5 {
				lifetime = tinySizeLifetime
			}
			c.pageSizes.Store(op, acceptedSize{smaller, time.Now().Add(lifetime)})
		}
		if !isRefusedByAPI(fitErr) {
			return fitting, fitErr
		}
	}
	return page, err
}

// nextSize returns the size of a page that the caller of a single page requests by its token. Which
// size the page before had is not known, so the accepted size counts even after it has expired.
func (c *Client) nextSize(op Operation, size int, token string) int {
	known, _ := c.pageSizes.Load(op)
	if accepted, isKnown := known.(acceptedSize); isKnown && token != "" {
		return min(size, accepted.size)
	}
	return size
}

// sizeRefusals are the statuses that may be caused by the page size.
var sizeRefusals = []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity}

// sizeText matches the text of a refusal of a page size.
var sizeText = regexp.MustCompile(`(?i)\blimit\b|\bpage.?size`)

// isRefusedByAPI reports whether err has one of sizeRefusals and comes from the API, or is about the
// page size. Any other error from a gateway says nothing about the size.
func isRefusedByAPI(err error) bool {
	e, ok := as[*Error](err)
	return ok && slices.Contains(sizeRefusals, e.StatusCode) && (!e.isGateways || isAboutSize(e))
}

func isAboutSize(err error) bool {
	e, ok := as[*Error](err)
	return ok && slices.ContainsFunc(e.Details, func(d Detail) bool { return sizeText.MatchString(d.Message) })
}

// isRefused reports whether the server rejected the request itself, rather than the credential
// or the time of the request. It may do so with an error in a 2xx.
func isRefused(err error) bool {
	e, ok := as[*Error](err)
	return ok && (e.StatusCode/100 == 2 && !errors.Is(e, ErrProtocol) || e.StatusCode/100 == 4 && e.StatusCode != http.StatusUnauthorized &&
		e.StatusCode != http.StatusForbidden && !isRateLimited(e.StatusCode) && !isTimeoutStatus(e.StatusCode))
}
