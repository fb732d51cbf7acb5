package outbox_test

import (
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

// A worker makes each of its transitions in the circumstances that the documentation names.
func TestTransitions_OfWorkers(t *testing.T) {
	t.Parallel()
	const send, history = chats.OpSendMessageToChat, chats.OpGetChatHistory
	type transition = outbox.Transition
	tested := map[transition]outbox.Actor{}
	for _, c := range []struct {
		name     string
		op       chats.Operation
		faults   []chatstest.Fault
		notAfter time.Duration
		path     []outbox.State
	}{
		{"posted", send, nil, 0, []outbox.State{outbox.Queued, outbox.Sending, outbox.Sent}},
		{"refused", send, []chatstest.Fault{chatstest.Status(400, badRequest)}, 0, []outbox.State{outbox.Queued, outbox.Sending, outbox.Failed}},
		{
			"the history is refused", history, slices.Repeat([]chatstest.Fault{chatstest.Status(404, badRequest)}, 40), 0,
			[]outbox.State{outbox.Queued, outbox.Failed},
		},
		{
			"quota", send, []chatstest.Fault{chatstest.RateLimitedHourly(time.Date(2000, 1, 1, 0, 5, 0, 0, time.UTC))}, 0, // synctest's year
			[]outbox.State{outbox.Queued, outbox.Sending, outbox.Queued, outbox.Sending, outbox.Sent},
		},
		{"too late", send, nil, -time.Second, []outbox.State{outbox.Queued, outbox.Expired}},
		{
			"too late after a lost request", send,
			[]chatstest.Fault{chatstest.DropBefore()},
			10 * time.Second,
			[]outbox.State{outbox.Queued, outbox.Sending, outbox.Expired},
		},
		{
			"not shown", send,
			[]chatstest.Fault{chatstest.Status(200, `{"status":"OK"}`)},
			0,
			[]outbox.State{outbox.Queued, outbox.Sending, outbox.Uncertain},
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			market := chatstest.NewMarket()
			w := &simulation{
				t: t, random: rand.New(rand.NewPCG(1, 1)), market: market, store: outbox.NewMemoryStore(),
				states: map[string][]outbox.State{}, reported: map[string]outbox.Result{}, plan: plan{retention: time.Hour},
			}
			item := text("reply", market.AddChat(chats.Chat{}))
			if c.notAfter != 0 {
				item.NotAfter = time.Now().Add(c.notAfter)
			}
			market.Fail(c.op, c.faults...)
			p := w.start(forever)
			p.isSteady = true
			o := p.outbox()
			put(t, o, item)
			stepUntilIdle(t, 24*time.Hour, func() *outbox.Outbox { return o })
			assert.Equal(t, c.path[1:], w.states[item.Key], c.name)
			assert.Empty(t, w.illegal, c.name)
		})
		for n, to := range c.path[1:] {
			tested[transition{From: c.path[n], To: to}] = outbox.Worker
		}
	}
	all := maps.Clone(outbox.Transitions)
	maps.DeleteFunc(all, func(_ transition, by outbox.Actor) bool { return by != outbox.Worker })
	assert.Equal(t, all, tested)
}

// drawing is a drawing of states and arrows, by line and column.
type drawing []string

func (d drawing) at(row, column int) byte {
	if row < 0 || row >= len(d) || column < 0 || column >= len(d[row]) {
		return ' '
	}
	return d[row][column]
}

var stateName = regexp.MustCompile(`\b[A-Z][a-z]+\b`)

// stateAt returns the state whose name covers a place, or "".
func (d drawing) stateAt(row, column int) outbox.State {
	if row < 0 || row >= len(d) {
		return ""
	}
	for _, found := range stateName.FindAllStringIndex(d[row], -1) {
		state := outbox.State(strings.ToLower(d[row][found[0]:found[1]]))
		if found[0] <= column && column < found[1] && slices.Contains(outbox.States, state) {
			return state
		}
	}
	return ""
}

// follow returns the states to which a line leads that goes in a direction from a place.
func (d drawing) follow(row, column, down, right int) (to []outbox.State) {
	for {
		row, column = row+down, column+right
		switch d.at(row, column) {
		case '-', '|':
		case '>', '<':
			return []outbox.State{d.stateAt(row, column+2*right)}
		case 'v':
			return []outbox.State{d.stateAt(row+1, column)}
		case '+':
			for _, turn := range [][2]int{{-1, 0}, {1, 0}, {0, -1}, {0, 1}} {
				line := "|"
				if turn[0] == 0 {
					line = "-<>"
				}
				isBack := turn[0] == -down && turn[1] == -right
				if next := d.at(row+turn[0], column+turn[1]); !isBack && strings.ContainsRune(line+"v+", rune(next)) {
					to = append(to, d.follow(row, column, turn[0], turn[1])...)
				}
			}
			return to
		default:
			return []outbox.State{""}
		}
	}
}

// The drawing of the package documentation shows all transitions, and no others.
func TestTransitions_AreDrawn(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	_, text, _ := strings.Cut(string(doc), "// # States\n//\n")
	text, _, isDrawn := strings.Cut(text, "\n//\n")
	require.True(t, isDrawn)
	var d drawing
	for line := range strings.Lines(text) {
		d = append(d, strings.TrimRight(strings.TrimPrefix(line, "//\t"), "\n"))
	}
	arrows, drawn := map[outbox.Transition]bool{}, map[outbox.Transition]bool{}
	for row, line := range d {
		for column := range line {
			from := d.stateAt(row, column)
			if from == "" {
				continue
			}
			var to []outbox.State
			if d.at(row+1, column) == '|' {
				to = d.follow(row, column, 1, 0)
			}
			if d.stateAt(row, column+1) == "" && d.at(row, column+2) == '-' {
				to = append(to, d.follow(row, column+1, 0, 1)...)
			}
			for _, state := range to {
				arrows[outbox.Transition{From: from, To: state}] = true
			}
		}
	}
	for transition := range outbox.Transitions {
		drawn[transition] = true
	}
	assert.Equal(t, drawn, arrows)
	assert.Contains(t, text, "Put ---------> Queued")
}
