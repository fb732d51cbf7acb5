// Package check has the assertions used by the conformance tests of stores. An assertion library
// would become a dependency of every module that runs these tests.
package check

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// T is a test with assertions.
type T struct{ *testing.T }

// NoError ends the test if there is an error.
func (t T) NoError(err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

// ErrorIs ends the test unless err matches target.
func (t T) ErrorIs(err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("the error is %v, want %v", err, target)
	}
}

// SameTime reports an error unless the times are equal.
func (t T) SameTime(what string, got, want time.Time) {
	t.Helper()
	if !got.Equal(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// Equal reports an error unless the values are equal.
func Equal[V comparable](tb testing.TB, what string, got, want V) {
	tb.Helper()
	if got != want {
		tb.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// Slices reports an error unless the slices are equal.
func Slices[V comparable](tb testing.TB, what string, got, want []V) {
	tb.Helper()
	if !slices.Equal(got, want) {
		tb.Errorf("%s: got %v, want %v", what, got, want)
	}
}
