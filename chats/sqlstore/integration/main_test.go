package integration

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"
)

var checkTimes = flag.Bool("times", false, "fail if a push or a takeover takes longer than it does on a machine that is not busy")

// busyFactor is how much longer something may take on a machine that is busy.
const busyFactor = 10

// patience is how long a test waits for what takes seconds on a machine that is not busy.
const patience = 2 * time.Minute

// assertTook fails if something takes ten times as long as it may on a machine that is not
// busy, or longer than it may with -times.
func assertTook(t *testing.T, took, limit time.Duration) {
	t.Helper()
	if !*checkTimes {
		limit *= busyFactor
	}
	assert.Less(t, took, limit)
}

func TestMain(m *testing.M) {
	if role := os.Getenv(envRole); role != "" {
		os.Exit(playRole(role))
	}
	// Most of the tests' time is waiting for leases.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}
