package chats

import (
	"net/http"
	"sync"
	"time"
)

// fallbackSizes are the page sizes that are tried, in this order, after the server has
// refused a larger one. The vendor has lowered its limits before.
var fallbackSizes = map[Operation][]int{
	OpGetChats:       {10, 5},
	OpGetChatHistory: {50, 20, 10},
}

// pageSizeLifetime is how long an accepted page size is used. It is bounded because a 400
// may have had another reason.
const pageSizeLifetime = time.Hour

// sizedPage is a page and how it was requested.
type sizedPage[T any] struct {
	Page[T]
	size        int
	requestedAt time.Time // by the server's clock, if it is known
}

// pageSizes remembers the largest page sizes that the server accepts.
type pageSizes struct {
	mu       sync.Mutex
	accepted map[Operation]acceptedSize
}

type acceptedSize struct {
	size  int
	until time.Time
}

// bound returns the size to request. A size must not change between the pages of a listing:
// with a page token the accepted size does not expire.
func (s *pageSizes) bound(op Operation, size int, token string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	accepted, known := s.accepted[op]
	if !known || token == "" && !time.Now().Before(accepted.until) {
		return size
	}
	return min(size, accepted.size)
}

func (s *pageSizes) remember(op Operation, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.accepted == nil {
		s.accepted = map[Operation]acceptedSize{}
	}
	s.accepted[op] = acceptedSize{size, time.Now().Add(pageSizeLifetime)}
}

// fitPage calls fetch with size and, if that is the first page and is refused with 400, with
// the fallback sizes. A 400 to all of them has another reason and is returned as it was.
func fitPage[T any](
	s *pageSizes, op Operation, size int, token string, fetch func(size int) (sizedPage[T], error),
) (sizedPage[T], error) {
	size = s.bound(op, size, token)
	page, err := fetch(size)
	if token != "" || !hasStatus(err, http.StatusBadRequest) {
		return page, err
	}
	for _, smaller := range fallbackSizes[op] {
		if smaller >= size {
			continue
		}
		fitting, fitErr := fetch(smaller)
		if fitErr == nil {
			s.remember(op, smaller)
		}
		if !hasStatus(fitErr, http.StatusBadRequest) {
			return fitting, fitErr
		}
	}
	return page, err
}
