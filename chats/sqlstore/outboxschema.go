package sqlstore

// The predicates of the indexes. Queries must contain them verbatim.
const (
	isOpenItem     = `state IN ('queued', 'sending')`
	isUnreported   = `state NOT IN ('queued', 'sending') AND NOT reported`
	isDisposable   = `state NOT IN ('queued', 'sending', 'uncertain') AND reported`
	isTroubledItem = `state IN ('uncertain', 'failed')`
)

// outboxTables creates the tables of an outbox.Store. The type BYTEA has no meaning in SQLite,
// which stores bytes unchanged.
var outboxTables = []string{
	`CREATE TABLE {p}outbox (
		business      BIGINT  NOT NULL,
		key           TEXT    NOT NULL,
		chat          BIGINT  NOT NULL,
		position      BIGINT  NOT NULL,
		version       BIGINT  NOT NULL,
		digest        TEXT    NOT NULL,
		text          TEXT    NOT NULL,
		file_name     TEXT    NOT NULL,
		file_size     BIGINT  NOT NULL,
		not_after     BIGINT,
		state         TEXT    NOT NULL,
		due_at        BIGINT  NOT NULL,
		error         TEXT    NOT NULL,
		attempts      BIGINT  NOT NULL,
		first_attempt BIGINT,
		last_attempt  BIGINT,
		message       BIGINT,
		queued_at     BIGINT  NOT NULL,
		settled_at    BIGINT,
		reported      BOOLEAN NOT NULL,
		data          TEXT    NOT NULL,
		PRIMARY KEY (business, key)
	)`,
	`CREATE INDEX {p}outbox_position ON {p}outbox (business, position)`,
	`CREATE INDEX {p}outbox_open ON {p}outbox (business, chat, position, key) WHERE ` + isOpenItem,
	`CREATE INDEX {p}outbox_unreported ON {p}outbox (business, due_at, position) WHERE ` + isUnreported,
	`CREATE INDEX {p}outbox_disposable ON {p}outbox (business, settled_at) WHERE ` + isDisposable,
	`CREATE INDEX {p}outbox_troubled ON {p}outbox (business, state) WHERE ` + isTroubledItem,
	`CREATE UNIQUE INDEX {p}outbox_message ON {p}outbox (business, chat, message) WHERE message IS NOT NULL`,
	`CREATE TABLE {p}outbox_files (
		business BIGINT NOT NULL,
		key      TEXT   NOT NULL,
		content  BYTEA  NOT NULL,
		PRIMARY KEY (business, key)
	)`,
}

// putColumns are the columns that Put reads from JSON, with their types. n is the item's place in
// the batch.
var putColumns = columnsOf(`n BIGINT, key TEXT, chat BIGINT, digest TEXT, text TEXT, file_name TEXT, file_size BIGINT, not_after BIGINT`)
