package bench_test

import (
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// side is one of the two that are compared: a call or a whole job.
type side func() error

// pair is a row of the table: the same work by the library and by hand.
type pair struct {
	row            string
	batch          int // consecutive calls of one side, so that a batch has its share of garbage collection
	turns          int // pairs per b.Loop iteration; 0 is 1
	ours, baseline side
	// absolute records figures other than ratios.
	absolute func(b *testing.B, ours, baseline cost)
}

// cost is the cost of a call, averaged over a batch.
type cost struct{ seconds, bytes, allocations float64 }

// run runs three benchmarks: each side alone, for profiles and benchstat, and both
// alternately. The last one yields the ratios: other load on the machine affects both
// sides alike.
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

// compare measures the sides alternately, each first in every second pair.
func (p pair) compare(b *testing.B, record func(ours, baseline cost)) {
	b.Helper()
	must(b, p.ours()) // connections, pools
	must(b, p.baseline())
	oursFirst := false
	for b.Loop() {
		for range max(p.turns, 1) {
			oursFirst = !oursFirst
			record(p.turn(b, oursFirst))
		}
	}
	b.ReportMetric(0, "ns/op") // meaningless for both together
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

// figure is a column of a row, series is what was measured of it.
type figure struct{ row, column string }

type series struct {
	run  *testing.B
	runs [][]float64 // the pairs of each run
}

var measured = map[figure]*series{}

// record stores a value of one pair.
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

// reportMedians reports this run's medians for benchstat.
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

// spread returns the median of all pairs, and the lowest and highest median of a run.
func (s *series) spread() (middle, low, high float64) {
	medians := make([]float64, 0, len(s.runs))
	for _, run := range s.runs {
		medians = append(medians, median(run))
	}
	return median(slices.Concat(s.runs...)), slices.Min(medians), slices.Max(medians)
}
