// Package sqlstore implements [inbox.Store] and [outbox.Store] on top of SQLite or PostgreSQL.
//
// It uses only database/sql; the caller chooses the driver:
//
//	db, err := sql.Open("pgx", os.Getenv("DATABASE_URL")) // github.com/jackc/pgx/v5/stdlib
//	...
//	store, err := sqlstore.New(ctx, db, sqlstore.PostgreSQL)
//
// # Tables
//
// [New] creates six tables in the schema selected by the search path of the connection, and
// migrates them after an upgrade if necessary. A release refuses to use tables that a newer release
// has migrated. So once an upgraded process has migrated the tables, processes of the older release
// cannot be restarted until they are upgraded, too. The encoding of a PostgreSQL database must be
// UTF8, because texts and names may contain any character.
//
// Times in columns are BIGINT, in microseconds since 1970 in UTC; NULL means no time.
//
//	ymchats_inbox_chats        one row per chat; primary key (business, chat)
//	  business, chat           the IDs
//	  version                  incremented by every Save; 0 if only a push has named the chat
//	  wakes, seen_wakes        number of pushes so far, and how many of them the last poll covered
//	  open                     the chat is expected in the list of unfinished chats
//	  checkpoint               every message up to this ID is handled
//	  updated_at               past or scheduled polls cover the chat's activity up to this time;
//	                           may be later than the list's UpdatedAt
//	  due_at                   when the chat is polled next
//	  head, attempts           the message whose handling failed last, and how many times it failed
//	  failing_since, failure   when the chat began to fail, and the last error
//	  state                    internal JSON: everything else
//	ymchats_inbox_businesses   one row per business; primary key (business)
//	  version                  incremented by every Save
//	  start_time               see inbox.BusinessState.StartTime
//	  last_error, last_error_at
//	  state                    internal JSON: sweeps, quota
//	ymchats_leases             one row per business and purpose; primary key (business, purpose)
//	  holder                   the process that acquired the lease last
//	  token                    increases with every acquisition
//	  acquired_at, renewed_at
//	  expires_at               0 if the lease was released
//	ymchats_outbox             one row per item of an outbox; primary key (business, key)
//	  chat, position           the items of a chat are posted in the order of position
//	  state                    queued, sending, sent, failed, uncertain, expired or discarded
//	  attempts, error          requests that may have been processed, and the last failure
//	  message                  the ID of the message that was posted
//	  queued_at, settled_at
//	ymchats_outbox_files       the file of an item that may still be posted
//	ymchats_schema             the version of the tables, in one row
//
// [WithTablePrefix] replaces "ymchats_". The columns listed here keep their meaning within a
// major version; others may be added.
//
// Which chats are failing, since when, and why (PostgreSQL; on SQLite use
// datetime(failing_since / 1000000, 'unixepoch')):
//
//	SELECT business, chat, head, attempts, to_timestamp(failing_since / 1e6) AS since,
//	       to_timestamp(due_at / 1e6) AS next_attempt, failure
//	FROM ymchats_inbox_chats WHERE failing_since IS NOT NULL ORDER BY failing_since;
//
// The holder of the lease of each business, and how long the oldest due chat of the business has
// been waiting:
//
//	SELECT l.business, l.holder, to_timestamp(l.acquired_at / 1e6) AS since,
//	       to_timestamp(l.expires_at / 1e6) > clock_timestamp() AS held,
//	       clock_timestamp() - to_timestamp(min(c.due_at) / 1e6) AS behind
//	FROM ymchats_leases l LEFT JOIN ymchats_inbox_chats c USING (business)
//	WHERE l.purpose = 'inbox' GROUP BY l.business, l.purpose ORDER BY behind DESC NULLS LAST;
//
// To poll a chat again now: UPDATE ymchats_inbox_chats SET due_at = 0 WHERE business = 1
// AND chat = 2. Do not keep transactions open that have changed or locked rows of these tables,
// because they block Saves. On SQLite, so does every open transaction that writes to the file and,
// without a write-ahead log, every open transaction that reads it.
//
// # Privileges
//
// Migration needs the privilege to create tables. After that, SELECT on ymchats_schema and
// SELECT, INSERT, UPDATE and DELETE on the other tables are enough (the inbox needs DELETE only
// for [Store.Forget]). To run the program without the privilege to create tables, run [Migrate]
// at deployment and use [WithoutMigration].
//
// When the tables with the default prefix are created, the table ymchats_inbox_marks of builds
// before 2026-12 is imported. Stop all processes of such builds first. The old table is kept, but
// its version is raised, so that such builds refuse to start. Drop the old table when no such build
// is needed any more.
//
// # Saves
//
// A Save is atomic. After it has returned nil, its effect survives a kill -9, but not a failover to
// a replica that lacks the commit, nor a crash of PostgreSQL if an administrator has turned
// synchronous_commit off. With synchronous replication, no commit is lost.
//
// A store uses at most 4 connections, or 1 on SQLite; a pool of one connection is enough. One
// connection is reserved for Acquire and Renew. With a pool of one, and on SQLite, they wait only
// for the statement that is already running. The other statements queue for as long as their
// contexts allow. Once its turn has come, a statement waits at most 10 s for a connection from the
// pool, and may run on it for 10 s. A statement that acquires, renews or releases a lease may run
// for half the lease duration, but at most 10 s. Put, Forget and migrations have no timeout other
// than the deadline of their context; at most two of them run at a time. Waiting for locks is also
// limited to 10 s, except that on PostgreSQL Put, Forget and migrations wait without a limit, unless
// an administrator has set lock_timeout or statement_timeout. A connection whose session is
// read-only is not returned to the pool, so saves succeed as soon as the database accepts writes
// again.
//
// # Leases
//
// A lease (see Leases in the documentation of package inbox) is held while expires_at is ahead of the
// database's clock; the clocks of the processes do not matter. If the database's clock jumps
// forward, leases expire and are acquired again. If it is set back by more than the lease duration,
// existing leases no longer count as held and can be acquired immediately.
//
// A Save checks the holder, the token and the expiry of the lease. Until the Save has ended, the
// lease cannot be acquired again, so the next holder reads everything that was saved. No session
// state is needed, so statements may go through a pooler in transaction mode, such as PgBouncer.
// pgx then needs default_query_exec_mode=exec, with which it cannot read the files of an outbox
// unless the parameter bytea_output of PostgreSQL is hex, the default.
//
// # Databases and drivers
//
// On PostgreSQL use pgx, with which the store is tested. Other drivers should work as well. If a
// driver ignores contexts, as lib/pq does on a connection that was cut silently, a statement is
// abandoned half a second after its timeout. Its goroutine keeps the connection until the driver
// returns.
//
// SQLite is for one machine. Several processes may use one file; the store retries while another
// process has the file locked, with or without a busy timeout in the data source name. A process
// that is frozen within a transaction keeps the file locked; SQLite offers no way around this. Stop
// the processes before replacing the file with a backup: with a write-ahead log they would keep
// using the old file. An in-memory database needs a pool of one connection
// ([sql.DB.SetMaxOpenConns]), because each connection has its own database.
package sqlstore
