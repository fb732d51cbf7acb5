// Package race is for tests that the race detector makes too slow: it makes everything about ten times
// slower.
package race

import "testing"

// SkipSlow skips a test if the race detector is on. It is for tests that simulate hours or decode
// megabytes, but run no code concurrently that others do not.
func SkipSlow(tb testing.TB) {
	tb.Helper()
	if Enabled {
		tb.Skip("slow with the race detector")
	}
}
