package chats_test

import (
	"testing"

	"go.uber.org/goleak"
)

// No test leaves a goroutine or a connection behind. Within one test a bubble of
// testing/synctest proves it: it fails where it ends with a goroutine in it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
