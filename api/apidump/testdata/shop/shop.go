// Package shop exports one of each kind of declaration.
package shop

import "net/http"

const (
	Open         = "open"
	Limit  Count = 1 << 4
	Share        = 0.25
	hidden       = 1
)

var (
	ErrClosed error
	names     []string
)

type Count int

type Alias = http.Header

type Point struct{ X, Y int }

type Shop struct {
	*Point

	Name   string
	Client *http.Client
	stock  map[string]int
}

type Box[T any] struct{ Items []T }

type Seller interface {
	Sell(name string) (Count, error)
}

type Event interface{ event() }

func New(name string, options ...func(*Shop)) *Shop {
	return &Shop{Name: name, stock: map[string]int{}}
}

func Map[K comparable, V any](in map[K]V) Box[V] { return Box[V]{} }

func (s *Shop) Sell(name string) (Count, error) { return Count(s.stock[name]), nil }

func (Point) event() {}

func (b Box[T]) First() (item T, ok bool) { return b.Items[0], true }

func unexported() { _, _ = names, hidden }
