//go:build race

package chats_test

// raceEnabled: the race detector makes everything ten times slower.
const raceEnabled = true
