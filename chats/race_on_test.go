//go:build race

package chats_test

// raceEnabled reports whether the race detector, which slows everything down about ten
// times, is on.
const raceEnabled = true
