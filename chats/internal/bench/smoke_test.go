package bench_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The tests find broken benchmarks.
func TestPairs_BothSidesWork(t *testing.T) {
	t.Parallel()
	pairs := []pair{
		historyPage(t, rowPage, chatPlain), historyPage(t, rowChunk, chatChunked), chatsPagePair(t), sendTextPair(t),
		sendFilePair(t), connectionPerCall(t, rowTLS, ours, market.RSA),
		connectionPerCall(t, rowECDSA, oursECDSA, market.ECDSA),
	}
	for _, p := range pairs {
		t.Run(p.row, func(t *testing.T) {
			t.Parallel()
			if p.row == rowTLS || p.row == rowECDSA {
				needTrust(t)
			}
			require.NoError(t, p.ours())
			require.NoError(t, p.baseline())
		})
	}
}

func TestBounds_AreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../BENCHMARKS.md")
	require.NoError(t, err)
	rows := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(line, "|"); len(cells) > 4 {
			rows[strings.TrimSpace(cells[1])+"|"+strings.TrimSpace(cells[2])+"|"+strings.TrimSpace(cells[3])] = true
		}
	}
	for _, b := range bounds {
		assert.True(t, rows[b.row+"|"+b.column+"|"+b.String()], "%s, %s: at most %s", b.row, b.column, b)
	}
}
