//go:build race

package chats_test

// underRace: the race detector makes everything ten times slower.
const underRace = true
