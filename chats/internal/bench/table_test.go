package bench_test

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"
)

// bound is the maximum of a figure. chats/BENCHMARKS.md documents the same bounds; a
// test compares the two.
type bound struct {
	figure
	max    float64
	format string // of the bound and of the measured value
}

// unbound is the bound of a figure that is printed for comparison only.
var unbound = math.Inf(1)

const (
	ratio    = "%.2fx"
	percent  = "%.1f %%"
	kibi     = "%.1f KiB"
	mega     = "%.1f MB"
	micro    = "%.1f us"
	rowPage  = "page of 100 messages"
	rowChunk = "the same without Content-Length"
	rowChats = "page of 20 chats"
	rowText  = "SendText"
	rowFile  = "SendFile of 5 MB"
	rowSlow  = "10,000 messages, slow consumer"
	rowTLS   = "one TLS connection per call"
	rowECDSA = "the same, ECDSA certificate"
	rowLong  = "1,000,000 messages"
	rowMany  = "64 goroutines, four at a time"
)

var bounds = []bound{
	{figure{rowPage, "time"}, 1.00, ratio},
	{figure{rowPage, "bytes"}, 0.60, ratio},
	{figure{rowPage, "allocations"}, 1.15, ratio},
	{figure{rowChunk, "bytes"}, 0.60, ratio},
	{figure{rowChats, "time"}, 1.15, ratio},
	{figure{rowChats, "bytes"}, 0.95, ratio},
	{figure{rowChats, "allocations"}, 1.30, ratio},
	{figure{rowText, "time"}, 1.20, ratio},
	{figure{rowText, "allocations"}, 1.60, ratio},
	{figure{rowFile, "memory per call"}, 56, kibi},
	{figure{rowFile, "time"}, 0.85, ratio},
	{figure{rowSlow, "time"}, 0.58, ratio},
	{figure{rowTLS, "time"}, 0.65, ratio},
	{figure{rowTLS, "full handshakes"}, 5, percent},
	{figure{rowECDSA, "time"}, unbound, ratio},
	{figure{rowECDSA, "full handshakes"}, 5, percent},
	{figure{rowLong, "peak heap"}, 8, mega},
	{figure{rowMany, "time"}, 1.05, ratio},
	{figure{rowMany, "added per call"}, 15, micro},
}

// printTable compares the measured figures with their bounds.
func printTable(w io.Writer) error {
	if len(measured) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "\nrow\tfigure\tat most\tmedian\tmin..max of the runs\t")
	for _, b := range bounds {
		s := measured[b.figure]
		if s == nil {
			continue
		}
		middle, low, high := s.spread()
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t"+b.format+"\t"+b.format+" .. "+b.format+"\t%s\n",
			b.row, b.column, b, middle, low, high, b.verdict(middle))
	}
	return table.Flush()
}

func (b bound) String() string {
	if b.max == unbound {
		return "-"
	}
	return fmt.Sprintf(b.format, b.max)
}

func (b bound) verdict(value float64) string {
	switch {
	case b.max == unbound:
		return ""
	case value <= b.max:
		return "met"
	default:
		return "MISSED"
	}
}
