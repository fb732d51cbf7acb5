package chats

import "time"

// SearchTime is the time after a send within which its message is expected to appear in the
// history; Market itself gives up on a request after 10 s. A confirmed send that does not
// find its message searches for at least this long, unless the context is done, or reading the
// history fails with an error that retries cannot fix, such as a 403 or an exhausted quota.
const SearchTime = 15500 * time.Millisecond

// maxSearchTime bounds the search time if the policy allows very many attempts.
const maxSearchTime = 10 * time.Minute

// searchTime returns for how long the history is searched: the maximum total delay between all
// attempts, within the bounds above.
func (p RetryPolicy) searchTime() (total time.Duration) {
	for n := 0; n < p.MaxAttempts-1 && n < 1000 && total < maxSearchTime; n++ {
		total += p.delayCap(n)
	}
	return max(SearchTime, min(total, maxSearchTime))
}
