package chats

import "time"

// SearchTime is how long after a send its message may still appear in the history; Market
// itself gives up on a request after 10 s. A confirmed send searches for at least this
// long.
const SearchTime = 15500 * time.Millisecond

// maxSearchTime bounds a search under a policy with very many attempts.
const maxSearchTime = 10 * time.Minute

// searchTime returns how long the history is searched: as long as the delays between all
// attempts can last, within its bounds.
func (p RetryPolicy) searchTime() (total time.Duration) {
	for n := 0; n < p.MaxAttempts-1 && n < 1000 && total < maxSearchTime; n++ {
		total += p.delayCap(n)
	}
	return max(SearchTime, min(total, maxSearchTime))
}
