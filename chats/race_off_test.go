//go:build !race

package chats_test

const underRace = false
