//go:build !race

package chats_test

const raceEnabled = false
