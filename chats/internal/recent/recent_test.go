package recent

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestSet_HasTheLastKeys(t *testing.T) {
	t.Parallel()
	var s Set[int]
	assert.False(t, s.Has(0))
	for key := range 10 * minKeys {
		s.Add(key)
		assert.True(t, s.Has(key))
		assert.True(t, s.Has(max(key-minKeys+1, 0)))
	}
	assert.False(t, s.Has(0))
	assert.LessOrEqual(t, len(s.newest)+len(s.before), 2*minKeys)
}

func TestTimes_ForgetsOldOnes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		times := Times[string]{MaxAge: time.Minute}
		assert.Zero(t, times.Get("a"))
		began := time.Now()
		times.Set("a", began)
		times.Set("b", began)
		assert.Equal(t, began, times.Get("a"))
		times.Remove("b")
		assert.Zero(t, times.Get("b"))
		<-time.After(time.Minute)
		assert.Equal(t, began, times.Get("a"))
		<-time.After(time.Minute)
		assert.Zero(t, times.Get("a"), "before another is set, too")
		times.Set("b", time.Now())
		assert.Zero(t, times.Get("a"))
		assert.Len(t, times.at, 1)
	})
}
