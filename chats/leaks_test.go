package chats_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails if a test leaves a goroutine or a connection behind. Within one test
// a synctest bubble checks the same: it fails if a goroutine is left in it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
