// Package fleet runs the inboxes and outboxes of thousands of businesses on several machines.
// It is built on River (https://riverqueue.com), a job queue in the database that the
// program already uses.
//
//	f, err := fleet.New(store, func(ctx context.Context, id chats.BusinessID) (fleet.Shop, error) {
//		key, err := keys.Of(ctx, id)
//		...
//		client, err := chats.New(id, chats.APIKey(key), chats.WithHTTPClient(shared))
//		return fleet.Shop{Client: client}, err
//	}, handle)
//	...
//	f.Register(workers)
//	jobs, err := river.NewClient(riverpgxv5.New(pool), f.Config(&river.Config{Workers: workers}))
//	...
//	err = f.Start(ctx, jobs, businesses...)
//	err = jobs.Start(ctx)
//
// Every process does the above, with the same store and the same database. The River client belongs
// to the caller: it works the caller's own jobs alongside the fleet's. A second fleet in the same
// database, with another table prefix for its store, needs a separate schema for River's tables
// (river.Config.Schema), because jobs do not record which store they belong to.
//
// River's tables must exist. Create them with River's package rivermigrate, or with its command
// river migrate-up.
//
// # Jobs
//
// Each business has two unique ymchats_turn jobs: one in the queue for inboxes, ymchats_inbox, and
// one in the queue for outboxes, ymchats_outbox. Each job runs one step and then snoozes until
// something is due again. A step is a call to [inbox.Inbox.Step], which begins no poll after 20 s,
// or to [outbox.Outbox.Step], whose context is canceled after 25 s. A business with more to do goes
// to the back of the queue. Any process with a free worker takes the next job, so a new process has
// work immediately, and when a process stops, the others take over its jobs.
//
// Every push ([Fleet.Notify]), Put and Resolve inserts one more job, ymchats_wake. It has priority
// over all ymchats_turn jobs and runs a step immediately, in any process. The work is recorded in
// the store, not in the job, so losing a job loses no work, and a step that finds no work is
// harmless.
//
// Every step holds a lease in the store. If River rescues a job that a process is still working on,
// the process that takes over the job waits for the lease. A process that was frozen or cut off
// until its lease expired can save nothing.
//
// # Failures
//
//	failure                     the affected business                        other businesses
//	process killed              served again within 75 s, or later if        no effect, or delayed by up to 22 s; see Config
//	                            JobTimeout is above 36 s; see Config
//	process stopped             its step is allowed to finish                no effect
//	credential refused          the shop function is called again after      no effect
//	                            15 s, doubling to 5 min, or on Start; a
//	                            changed credential is tried immediately,
//	                            an unchanged credential after 15 s,
//	                            doubling to 30 min
//	shop function fails,        it is called again after 15 s, doubling to   no effect
//	panics or hangs             5 min, or on Start
//	a River middleware fails    tried again after 1 s, doubling to 1 min     no effect
//	handler hangs               its step ends after the timeout, 15 s        one worker fewer most of the time
//	quota exhausted             waits for the next window                    no effect
//	backlog of a million        handled 20 s at a time                       one worker fewer
//	messages
//
// Configure a few more workers ([WithWorkers]) than the number of businesses whose handlers may
// hang at the same time.
//
// # Load
//
// The first steps of businesses that are started together are spread out, 100 a second, and their
// sweeps are spread over the poll interval. An idle business costs its rows in the database, an
// estimated 120 bytes in each process, an inbox step per poll interval (two statements and, for
// fifty chats, three requests), and an outbox step an hour. A business whose credential is refused
// for good costs a job and a call to the shop function every 5 min, and as much again while replies
// are waiting. If pushes announce most messages, [inbox.WithPollInterval] can be long: see
// chats/docs/scaling.md. A pool of ten connections per process is enough.
//
// In a business with more than about 1,000 unfinished chats, a sweep takes many steps. If the steps
// run in different processes, the last message before a chat was closed is found only by a push or
// the next full sweep; see Sweeps in the documentation of chats/inbox.
//
// # What to know about River
//
//   - A unique job that is running can neither be made available again nor be inserted a second
//     time, so each push inserts its own job.
//   - Scheduled jobs are made available by one process, the leader, every 5 s. If the leader is
//     killed, another process takes over within 22 s; pushes do not depend on the leader.
//   - The interval at which River looks for stuck jobs, 30 s, is fixed.
//   - The leader discards stuck jobs whose kinds are not registered with its own client, and a
//     business that has lost its ymchats_turn jobs is no longer served. So call [Fleet.Register]
//     and [Fleet.Config] for every client that works jobs of this schema.
//   - A job's due time is set by the clock of the process that inserted it or worked it last, and
//     compared with the clock of the database or of the leader: keep the clocks synchronised. The
//     jobs of pushes and Puts wait for as long as the clock of the process that inserts them is ahead.
//   - The query for scheduled jobs is slow without statistics: after the first Start of
//     thousands of businesses, run ANALYZE river_job, or wait for autovacuum.
//   - InsertTx of riverpgxv5 takes a pgx.Tx, while sqlstore's PutTx takes a sql.Tx: for
//     [Fleet.PutTx] create a second client, on riverdatabasesql, that works no jobs.
//   - River returns a connection to the pool even if its session is read-only, and remains so. If
//     the database has been read-only for a while, as during a failover, jobs may not run until the
//     pool closes its connections, an hour later by default. So open connections only to a database
//     that accepts writes, with target_session_attrs=read-write in the address of the database.
//   - A session that is frozen within a transaction keeps its row locks. Apart from River's own
//     statements, the fleet and its store lock rows for longer than one statement only in Put, in
//     PutTx (where the transaction is yours), and in sqlstore's Forget and migrations. To limit how
//     long a frozen session can keep its locks, set idle_in_transaction_session_timeout.
package fleet
