package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDump_WritesEveryExportedName(t *testing.T) {
	t.Parallel()
	lines, err := dump(t.Context(), "./testdata/shop")
	require.NoError(t, err)
	assert.Equal(t, []string{
		`const Limit Count = 16`,
		`const Open untyped string = "open"`,
		`const Share untyped float = 0.25`,
		`func Map[K comparable, V any](in map[K]V) Box[V]`,
		`func New(name string, options ...func(*Shop)) *Shop`,
		`method (*Shop) Sell(name string) (Count, error)`,
		`method (Box[T]) First() (item T, ok bool)`,
		`type Alias = http.Header`,
		`type Box[T any] struct, field Items []T`,
		`type Box[T any] struct, not comparable`,
		`type Count int`,
		`type Event interface, sealed`,
		`type Point struct`,
		`type Point struct, field X int`,
		`type Point struct, field Y int`,
		`type Seller interface`,
		`type Seller interface, Sell(name string) (Count, error)`,
		`type Shop struct, embedded Point *Point`,
		`type Shop struct, field Client *http.Client`,
		`type Shop struct, field Name string`,
		`type Shop struct, with unexported fields, not comparable`,
		`var ErrClosed error`,
	}, lines)
}

func TestAPackageThatIsNotThereIsAnError(t *testing.T) {
	t.Parallel()
	_, err := dump(t.Context(), "./testdata/nothing")
	assert.ErrorContains(t, err, "go list")
}
