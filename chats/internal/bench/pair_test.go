package bench_test

import (
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// side is one of the two that are compared: a call, or a whole job.
type side func() error

// pair is a row of the table: the same work by the library and by hand.
type pair struct {
	row            string
	batch          int // calls of one side in a row, so that a batch has its share of the collector's work
	turns          int // pairs of one b.Loop, where one is too rough; 0 is 1
	ours, baseline side
	// absolute is what this row tells beyond ratios.
	absolute func(b *testing.B, ours, baseline cost)
}

// cost is what a call costs, on average over a batch.
type cost struct{ seconds, bytes, allocations float64 }

// run is three benchmarks: each side by itself, for a profile and for benchstat,
// and both in turn. Of the last come the ratios: whatever else the machine does
// meanwhile, it does to both.
func (p pair) run(b *testing.B) {
	b.Helper()
	b.Run("ours", func(b *testing.B) { alone(b, p.ours) })
	b.Run("baseline", func(b *testing.B) { alone(b, p.baseline) })
	b.Run("ratio", func(b *testing.B) {
		p.compare(b, func(ours, baseline cost) {
			record(b, p.row, "time", ours.seconds/baseline.seconds)
			record(b, p.row, "bytes", ours.bytes/baseline.bytes)
			record(b, p.row, "allocations", ours.allocations/baseline.allocations)
			if p.absolute != nil {
				p.absolute(b, ours, baseline)
			}
		})
	})
}

func alone(b *testing.B, call side) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		must(b, call())
	}
}

// compare measures the sides in turn, each first in every other pair.
func (p pair) compare(b *testing.B, see func(ours, baseline cost)) {
	b.Helper()
	must(b, p.ours()) // connections, pools
	must(b, p.baseline())
	oursFirst := false
	for b.Loop() {
		for range max(p.turns, 1) {
			oursFirst = !oursFirst
			see(p.turn(b, oursFirst))
		}
	}
	b.ReportMetric(0, "ns/op") // of both together: says nothing
	reportMedians(b)
}

func (p pair) turn(b *testing.B, oursFirst bool) (ours, baseline cost) {
	b.Helper()
	if oursFirst {
		ours = p.measure(b, p.ours)
		return ours, p.measure(b, p.baseline)
	}
	baseline = p.measure(b, p.baseline)
	return p.measure(b, p.ours), baseline
}

func (p pair) measure(b *testing.B, call side) cost {
	b.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	for range p.batch {
		must(b, call())
	}
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	n := float64(p.batch)
	return cost{
		seconds:     took.Seconds() / n,
		bytes:       float64(after.TotalAlloc-before.TotalAlloc) / n,
		allocations: float64(after.Mallocs-before.Mallocs) / n,
	}
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// A figure is a column of a row; what was measured of it, run by run.
type figure struct{ row, column string }

type series struct {
	run  *testing.B
	runs [][]float64 // of every run its pairs
}

var measured = map[figure]*series{}

// record keeps what a pair gave.
func record(b *testing.B, row, column string, value float64) {
	b.Helper()
	f := figure{row, column}
	s := measured[f]
	if s == nil {
		s = &series{}
		measured[f] = s
	}
	if s.run != b {
		s.run, s.runs = b, append(s.runs, nil)
	}
	last := len(s.runs) - 1
	s.runs[last] = append(s.runs[last], value)
}

// reportMedians hands this run's medians to benchstat.
func reportMedians(b *testing.B) {
	b.Helper()
	for f, s := range measured {
		if s.run == b {
			b.ReportMetric(median(s.runs[len(s.runs)-1]), strings.ReplaceAll(f.column, " ", "-"))
		}
	}
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// spread is the median of all pairs, and the lowest and highest median of a run.
func (s *series) spread() (middle, low, high float64) {
	medians := make([]float64, 0, len(s.runs))
	for _, run := range s.runs {
		medians = append(medians, median(run))
	}
	return median(slices.Concat(s.runs...)), slices.Min(medians), slices.Max(medians)
}
