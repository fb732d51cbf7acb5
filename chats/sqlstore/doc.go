// Package sqlstore keeps the marks of an inbox in SQLite or PostgreSQL.
//
// It is written on database/sql alone; the driver is the caller's:
//
//	db, err := sql.Open("pgx", os.Getenv("DATABASE_URL")) // github.com/jackc/pgx/v5/stdlib
//	...
//	store, err := sqlstore.New(ctx, db, sqlstore.PostgreSQL)
//
// # The table
//
// [New] makes one table, ymchats_inbox_marks, where the connection's search path
// leads, and migrates it when a later release needs it:
//
//	business    BIGINT  the business's id
//	chat        BIGINT  the chat's id; 0 is the mark of the inbox itself
//	message     BIGINT  every message up to this id is handled
//	updated_at  BIGINT  microseconds since 1970 in UTC; -62135596800000000 is the zero time
//
// Its primary key is (business, chat). The row of business 0 is no mark: its
// message is the version of the table's schema. A release refuses a table that a
// newer one has migrated, so all machines are upgraded before the last old one is
// started again.
//
// Making and migrating the table happens in one transaction and under a lock, so
// any number of processes may start at the same moment, and one that is killed
// leaves nothing half done. The role that does it first needs the right to make a
// table; after that SELECT, INSERT and UPDATE on it are enough.
//
// # Commits
//
// A Commit is one statement that compares and sets: of two workers who move the
// same mark one gets [github.com/ymchats/ymchats-go/chats/inbox.ErrConflict], and
// what Commit has answered with nil outlives a kill -9 at any moment. Where Commit
// fails in another way, say because the connection broke, the mark may have moved
// or not.
//
// SQLite is for one machine. Its file may be used by several processes: the store
// repeats what another one's lock prevented for up to 10 seconds, with or without a
// busy timeout in the data source's name. An in-memory database needs a pool of one
// connection, because each connection has a database of its own.
//
// # Leases on PostgreSQL
//
// [Store.Lease] is an advisory lock of the business, held by a database session
// that the Store keeps to itself: one connection for all its leases and waits, so
// the pool needs at least two. The stand-bys try about once a second, and the
// holder asks as often whether its session is still there. What that gives:
//
//   - A process that dies, even by kill -9, is followed by another one in about a
//     second: the database sees its connection close.
//   - A process that is frozen, or cut off from the database, is followed within
//     some 7 seconds: the database ends a session that is silent for 6.
//   - A process that has had no answer from the database for 5 seconds takes its
//     leases for lost: held ends, with the cause [ErrLeaseLost], before another one can
//     have the lease. By the same 5 seconds, on the database's own clock, the statement
//     of a Commit refuses: a frozen process that wakes up commits nothing any more,
//     wherever in its work it was stopped.
//   - A process whose session is ended by somebody else, by a restart of the database
//     or an administrator, sees it and has held end in about a second.
//   - release returns when the lock is gone, or when the session is given up because
//     that is not certain.
//
// What it does not give: a lease does not reach into a handler, which may ignore the
// end of held, or may have been frozen itself and go on. And for the second in which a
// session was ended by somebody else, the next holder may already be at work. In both
// cases a message may be handled by two processes, but not counted twice: Commit
// compares and sets, so only one of them moves the mark.
//
// Behind a pooler that hands out single transactions a lock has no session to live
// in: connect directly, or let it pool whole sessions. Servers older than PostgreSQL 14
// cannot end a silent session; there a frozen process keeps its leases until its
// connection ends. Leases count against the server's lock table, which has room for a
// few thousand by default: raise max_locks_per_transaction for more businesses than
// that. In pg_stat_activity the session is called "ymchats inbox lease".
//
// On SQLite a lease is a formality: it holds among the goroutines that share the
// Store. Two processes on one file both work, and lose conflicts to each other; run
// one.
package sqlstore
