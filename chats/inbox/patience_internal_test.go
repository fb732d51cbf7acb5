package inbox

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestIsBaseline(t *testing.T) {
	t.Parallel()
	start := time.Unix(1e9, 0)
	var row ChatState
	row.Snapshot.UpdatedAt = start.Add(-time.Hour)
	row.begin(start, start.Add(time.Minute))
	assert.True(t, isBaseline(&row))
	for name, change := range map[string]func(*ChatState){
		"read":    func(r *ChatState) { r.Read = true },
		"pushed":  func(r *ChatState) { r.Wakes++ },
		"failing": func(r *ChatState) { r.FailingSince = start },
		"changed": func(r *ChatState) { r.move(start.Add(2 * time.Minute)) },
	} {
		other := row
		change(&other)
		assert.False(t, isBaseline(&other), name)
	}
	row = ChatState{SeenAt: start, DueAt: firstAfter(start, unknownAfter, start.Add(10*time.Second))}
	assert.False(t, isBaseline(&row), "not known to the server yet")
}

func TestIsStuck(t *testing.T) {
	t.Parallel()
	assert.True(t, isStuck(&ChatState{Attempts: 10}))
	assert.False(t, isStuck(&ChatState{Attempts: 9}))
	assert.False(t, isStuck(&ChatState{Attempts: 10, Wakes: 1}), "pushed")
}
