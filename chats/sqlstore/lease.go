package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
)

// ErrLeaseLost says that the lease ended without being given back: the database
// could not be reached, it ended the session, or this process stood still for too
// long. Another process may have the business; ask for the lease again.
var ErrLeaseLost = errors.New("the lease was lost, another process may have the business now")

// leaser is the leases of a Store among processes, on PostgreSQL.
type leaser struct {
	db        *sql.DB
	gate      *inbox.MemoryStore // first among goroutines: a session may take its own lock twice
	namespace string             // the schema of the table

	mu   sync.Mutex       // guards what follows, and the desk's fields
	desk *desk            // nil while nobody wants or holds anything
	lost map[int64]*lease // by key: no more, but not yet given back
}

// lease is one call of Lease, from the wait to the release.
type lease struct {
	key     int64
	granted chan error // of one element: how the wait ended
	held    context.Context
	cancel  context.CancelCauseFunc
	free    func()        // lets the next goroutine of this process try
	over    chan struct{} // closed when a lease that was given back is no longer locked
}

// end stops what is done under the lease.
func (le *lease) end(cause error) {
	le.cancel(cause)
	le.free()
}

func (l *leaser) lease(ctx context.Context, business chats.BusinessID) (context.Context, func(), error) {
	if l.db.Stats().MaxOpenConnections == 1 {
		return nil, nil, errors.New("the pool allows one connection, which a lease keeps to itself: call SetMaxOpenConns with 2 or more")
	}
	local, free, err := l.gate.Lease(ctx, business)
	if err != nil {
		return nil, nil, err
	}
	le := &lease{key: l.key(business), granted: make(chan error, 1), free: free, over: make(chan struct{})}
	le.held, le.cancel = context.WithCancelCause(local)
	d := l.queue(le)
	select {
	case err = <-le.granted:
	case <-ctx.Done():
		err = ctx.Err()
		if trouble := l.trouble(d); trouble != nil {
			err = fmt.Errorf("%w; the last attempt failed: %w", err, trouble)
		}
	}
	if err != nil {
		l.giveBack(d, le)
		return nil, nil, err
	}
	return le.held, sync.OnceFunc(func() { l.giveBack(d, le) }), nil
}

// queue has the desk try for the lease at once.
func (l *leaser) queue(le *lease) *desk {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.desk == nil {
		l.desk = newDesk(l)
	}
	l.desk.waiting[le.key] = le
	l.desk.wake()
	return l.desk
}

func (l *leaser) trouble(d *desk) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return d.trouble
}

// giveBack ends a lease in whatever state it is, and returns when others can have
// it.
func (l *leaser) giveBack(d *desk, le *lease) {
	l.mu.Lock()
	locked := d.held[le.key] == le
	if locked {
		delete(d.held, le.key)
		d.returned = append(d.returned, le)
		le.cancel(context.Canceled)
		d.wake()
	}
	if d.waiting[le.key] == le {
		delete(d.waiting, le.key)
		l.closeIfIdle(d)
	}
	if l.lost[le.key] == le {
		delete(l.lost, le.key)
	}
	l.mu.Unlock()
	if locked {
		<-le.over
	}
	le.end(context.Canceled)
}

// closeIfIdle sends the desk home, and its session with it, when there is nothing
// to do. The next lease opens another one. The caller holds mu.
func (l *leaser) closeIfIdle(d *desk) {
	if l.desk == d && len(d.waiting)+len(d.held)+len(d.returned) == 0 {
		l.desk = nil
		d.stop()
	}
}

// until is when the lease of a business ends by the server's time, if there is one.
// It fails where that is certainly over, before and after the holder could learn it: a
// process that stood still may go on at a Commit.
func (l *leaser) until(business chats.BusinessID) (int64, error) {
	key := l.key(business)
	l.mu.Lock()
	defer l.mu.Unlock()
	if lost := l.lost[key]; lost != nil {
		return 0, context.Cause(lost.held)
	}
	d := l.desk
	if d == nil || d.held[key] == nil {
		return noEnd, nil
	}
	if !d.fresh() {
		d.loseHeld(errSilent)
		d.wake()
		return 0, errSilent
	}
	return d.until, nil
}

// noEnd is later than every time of a server.
const noEnd = math.MaxInt64

// key is the advisory lock of a business: a hash, because locks are numbers of 64
// bits shared by everybody who uses the database, and with the schema in it,
// because two of them may hold a table each.
func (l *leaser) key(business chats.BusinessID) int64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "ymchats inbox lease\x00%s\x00%d", l.namespace, business) //nolint:errcheck // a hash takes everything
	return int64(h.Sum64())                                                  //nolint:gosec // all 64 bits, the sign is one of them
}

// schemaName is the schema whose table the search path finds.
func schemaName(ctx context.Context, db *sql.DB) (name string, err error) {
	err = db.QueryRowContext(ctx, `SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.oid = to_regclass('ymchats_inbox_marks')`).Scan(&name)
	return name, err
}

// hopeless tells whether a lease cannot be had, however long one waits.
func hopeless(err error) bool {
	state := sqlState(err)
	for _, class := range []string{"0A", "28", "3D", "42"} { // not supported, not authorised, no such database, not permitted
		if strings.HasPrefix(state, class) {
			return true
		}
	}
	// database/sql does not export its error of a closed pool.
	return strings.Contains(err.Error(), "sql: database is closed")
}

var errSilent = fmt.Errorf("%w: the database has not answered for %v", ErrLeaseLost, leaseTime)

// The times of a lease. A process takes its lease for lost leaseTime after the
// last beat that the database answered, counted from when it was sent, and the
// database ends a session that sends nothing for sessionTime, so that the next
// holder comes after the last one has stopped.
const (
	beatTime    = time.Second     // between two beats, and between two attempts of a stand-by
	answerTime  = 2 * time.Second // for the answer to one beat
	leaseTime   = 5 * time.Second
	sessionTime = 6 * time.Second
	openTime    = 10 * time.Second // for a new connection
)
