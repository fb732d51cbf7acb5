package sqlstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// desk is where the leases of one Store are: a session of the database that holds
// an advisory lock for each, and a goroutine that asks for the locks that are
// waited for and notices when the session is no more. One session serves any
// number of businesses by two statements a second.
type desk struct {
	leaser *leaser
	ctx    context.Context //nolint:containedctx // the life of the goroutine
	stop   context.CancelFunc
	bell   chan struct{} // of one element: do not wait for the next beat

	// Guarded by leaser.mu.
	waiting  map[int64]*lease
	held     map[int64]*lease
	returned []*lease    // given back, but still locked
	orphans  []int64     // locked for somebody who had stopped waiting
	beat     time.Time   // when the last beat that was answered had been sent
	until    int64       // when the leases end by the server's time, unless there is another beat
	broken   bool        // the session must not be used any more
	alarm    *time.Timer // goes off leaseTime after the last beat
	trouble  error       // why the last attempt failed
}

func newDesk(l *leaser) *desk {
	d := &desk{
		leaser:  l,
		bell:    make(chan struct{}, 1),
		waiting: make(map[int64]*lease),
		held:    make(map[int64]*lease),
	}
	d.ctx, d.stop = context.WithCancel(context.Background())
	go d.run()
	return d
}

func (d *desk) wake() {
	select {
	case d.bell <- struct{}{}:
	default:
	}
}

func (d *desk) run() {
	var s *session
	for d.ctx.Err() == nil {
		var err error
		if s == nil {
			s, err = d.open()
		}
		if err == nil {
			err = d.round(s)
		}
		if err != nil {
			d.fail(err)
			s.discard()
			s = nil
		}
		d.pause()
	}
	d.leaser.mu.Lock()
	if d.alarm != nil {
		d.alarm.Stop()
	}
	d.leaser.mu.Unlock()
	s.discard()
}

// pause waits for the next beat, at a somewhat random moment, so that the
// stand-bys of a machine that went down do not all come at once.
func (d *desk) pause() {
	timer := time.NewTimer(beatTime*4/5 + rand.N(beatTime*2/5))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.bell:
	case <-d.ctx.Done():
	}
}

func (d *desk) open() (*session, error) {
	ctx, cancel := context.WithTimeout(d.ctx, openTime)
	defer cancel()
	return openSession(ctx, d.leaser.db)
}

// round is one beat: is the session still there, unlock what was given back, try
// what is waited for. Every error means that the session is not to be trusted.
func (d *desk) round(s *session) error {
	ctx, cancel := context.WithTimeout(d.ctx, answerTime)
	defer cancel()
	sent := time.Now()
	now, err := s.beat(ctx)
	if err != nil {
		return err
	}
	back, orphans, wanted, err := d.answered(sent, now)
	if err != nil {
		return err
	}
	if err := s.unlock(ctx, append(keysOf(back), orphans...)); err != nil {
		return err
	}
	d.unlocked(back)
	locked, err := s.tryLock(ctx, wanted)
	if err != nil {
		return err
	}
	return d.grant(locked)
}

// answered notes a beat and gives what is to be done on the session. A beat that
// comes too late saves no lease: its holders have been told that it is over.
func (d *desk) answered(sent time.Time, now int64) (back []*lease, orphans, wanted []int64, err error) {
	d.leaser.mu.Lock()
	defer d.leaser.mu.Unlock()
	if d.broken || len(d.held) > 0 && !d.fresh() {
		return nil, nil, nil, errSilent
	}
	d.beat, d.until, d.trouble = sent, now+leaseTime.Microseconds(), nil
	if d.alarm == nil {
		d.alarm = time.AfterFunc(time.Until(sent.Add(leaseTime)), d.expire)
	} else {
		d.alarm.Reset(time.Until(sent.Add(leaseTime)))
	}
	for key := range d.waiting {
		wanted = append(wanted, key)
	}
	back, orphans, d.orphans = d.returned, d.orphans, nil
	return back, orphans, wanted, nil
}

func (d *desk) fresh() bool { return time.Since(d.beat) < leaseTime }

// expire does not depend on the driver: the holders stop although a statement may
// hang.
func (d *desk) expire() {
	d.leaser.mu.Lock()
	defer d.leaser.mu.Unlock()
	if len(d.held) > 0 && !d.fresh() {
		d.loseHeld(errSilent)
		d.wake()
	}
}

// unlocked tells those who gave a lease back that others can have it.
func (d *desk) unlocked(back []*lease) {
	d.leaser.mu.Lock()
	defer d.leaser.mu.Unlock()
	for _, le := range back {
		close(le.over)
	}
	d.returned = d.returned[len(back):]
	d.leaser.closeIfIdle(d)
}

func (d *desk) grant(locked []int64) error {
	d.leaser.mu.Lock()
	defer d.leaser.mu.Unlock()
	if len(locked) > 0 && (d.broken || !d.fresh()) {
		return errSilent
	}
	for _, key := range locked {
		le := d.waiting[key]
		if le == nil {
			d.orphans = append(d.orphans, key)
			d.wake()
			continue
		}
		delete(d.waiting, key)
		delete(d.leaser.lost, key)
		d.held[key] = le
		le.granted <- nil
	}
	return nil
}

// fail gives up everything that was on the session. Those who wait go on waiting,
// unless that is hopeless.
func (d *desk) fail(err error) {
	d.leaser.mu.Lock()
	defer d.leaser.mu.Unlock()
	d.loseHeld(fmt.Errorf("%w: %w", ErrLeaseLost, err))
	d.broken = false // the next session is a new one
	d.trouble = err
	for _, le := range d.returned {
		close(le.over)
	}
	d.returned, d.orphans = nil, nil
	if hopeless(err) {
		for key, le := range d.waiting {
			delete(d.waiting, key)
			le.granted <- err
		}
	}
	d.leaser.closeIfIdle(d)
}

// loseHeld ends every lease of the session, which must not be used any more. The
// caller holds mu.
func (d *desk) loseHeld(cause error) {
	d.broken = true
	for key, le := range d.held {
		delete(d.held, key)
		d.leaser.lost[key] = le
		le.end(cause)
	}
	d.leaser.closeIfIdle(d)
}

func keysOf(leases []*lease) []int64 {
	keys := make([]int64, len(leases))
	for i, le := range leases {
		keys[i] = le.key
	}
	return keys
}
