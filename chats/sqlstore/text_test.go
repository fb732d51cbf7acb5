package sqlstore

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Every statement passes through sql, so the text must not be built anew each time.
func TestStore_TextsAreBuiltOnce(t *testing.T) {
	s := newStore(&sql.DB{}, PostgreSQL, config{prefix: "shop_"})
	first := s.sql(takeHeld)
	assert.Contains(t, first, "shop_leases")
	assert.NotContains(t, first, "{")
	var again string
	assert.Zero(t, testing.AllocsPerRun(100, func() { again = s.sql(takeHeld) }))
	assert.Equal(t, first, again)
}
