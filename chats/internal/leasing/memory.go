package leasing

import (
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// MemoryDuration is how long the leases of [Memory] last.
const MemoryDuration = 5 * time.Second

// Memory holds the leases of a store in memory. It is not safe for concurrent use. The zero value
// is ready to use.
type Memory struct{ leases map[memoryKey]memoryLease }

type memoryKey struct {
	business chats.BusinessID
	purpose  string
}

type memoryLease struct {
	holder  string // empty if the lease is free
	token   int64
	since   time.Time
	expires time.Time
}

func (l memoryLease) isHeld() bool { return l.holder != "" && time.Now().Before(l.expires) }

// Acquire acquires a lease and returns its token, or the current holder if the lease is held.
func (m *Memory) Acquire(business chats.BusinessID, purpose, holder string) (token int64, held *Held) {
	key, now := memoryKey{business, purpose}, time.Now()
	l := m.leases[key]
	if l.isHeld() {
		return 0, &Held{Holder: l.holder, Since: l.since, ExpiresIn: l.expires.Sub(now)}
	}
	if m.leases == nil {
		m.leases = map[memoryKey]memoryLease{}
	}
	m.leases[key] = memoryLease{holder: holder, token: l.token + 1, since: now, expires: now.Add(MemoryDuration)}
	return l.token + 1, nil
}

// Holds reports whether a lease is valid.
func (m *Memory) Holds(business chats.BusinessID, purpose, holder string, token int64) bool {
	l := m.leases[memoryKey{business, purpose}]
	return l.isHeld() && l.token == token && l.holder == holder
}

// Extend extends a held lease to [MemoryDuration] from now.
func (m *Memory) Extend(business chats.BusinessID, purpose string) {
	m.set(business, purpose, func(l *memoryLease) { l.expires = time.Now().Add(MemoryDuration) })
}

// Free releases a lease.
func (m *Memory) Free(business chats.BusinessID, purpose string) {
	m.set(business, purpose, func(l *memoryLease) { l.holder = "" })
}

func (m *Memory) set(business chats.BusinessID, purpose string, change func(*memoryLease)) {
	key := memoryKey{business, purpose}
	l := m.leases[key]
	change(&l)
	m.leases[key] = l
}

// Holder returns the holder of a lease and when it acquired the lease. The holder is empty if the
// lease is free.
func (m *Memory) Holder(business chats.BusinessID, purpose string) (holder string, since time.Time) {
	if l := m.leases[memoryKey{business, purpose}]; l.isHeld() {
		return l.holder, l.since
	}
	return "", time.Time{}
}
