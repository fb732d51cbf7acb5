package sqlstore

import (
	"database/sql"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

const (
	defaultPrefix        = "ymchats_"
	defaultLeaseDuration = 5 * time.Second
	minLeaseDuration     = time.Second
	maxLeaseDuration     = time.Hour
)

// Option configures [New] and [Migrate].
type Option func(*config) error

type config struct {
	prefix    string
	lease     time.Duration
	noMigrate bool
}

// WithTablePrefix sets the prefix of all table names: at most 32 lower-case letters, digits
// and underscores, not starting with a digit or sqlite_. The default is "ymchats_". Each program
// that needs all messages of a business needs its own prefix, because programs that share the
// tables share the work: each message is delivered to one of them.
func WithTablePrefix(prefix string) Option {
	return func(c *config) error {
		if !prefixPattern.MatchString(prefix) || strings.HasPrefix(prefix, "sqlite_") {
			return badArgument("prefix", "must be 1 to 32 characters of a-z, 0-9 and _, not beginning with a digit or sqlite_")
		}
		c.prefix = prefix
		return nil
	}
}

// 32 characters leave room for the longest name within PostgreSQL's limit of 63.
var prefixPattern = regexp.MustCompile(`\A[a-z_][a-z0-9_]{0,31}\z`)

// WithLeaseDuration sets how long a lease is valid after its last renewal, from 1 s to 1 h. The
// default is 5 s. If a process is killed, its leases are free again after at most this duration.
// With a short duration, brief stalls of the process or the database cause leases to be lost.
func WithLeaseDuration(d time.Duration) Option {
	return func(c *config) error {
		if d < minLeaseDuration || d > maxLeaseDuration {
			return badArgument("lease duration", fmt.Sprintf("must be from %v to %v", minLeaseDuration, maxLeaseDuration))
		}
		c.lease = d
		return nil
	}
}

// WithoutMigration keeps [New] from creating or migrating tables. New then fails unless
// the tables are up to date; see [Migrate].
func WithoutMigration() Option {
	return func(c *config) error {
		c.noMigrate = true
		return nil
	}
}

func newConfig(db *sql.DB, dialect Dialect, options []Option) (config, error) {
	c := config{prefix: defaultPrefix, lease: defaultLeaseDuration}
	if db == nil {
		return c, badArgument("db", "must not be nil")
	}
	if dialect != SQLite && dialect != PostgreSQL {
		return c, badArgument("dialect", "must be SQLite or PostgreSQL, not "+dialect.String())
	}
	for _, option := range options {
		if option == nil {
			return c, badArgument("options", "must not contain nil")
		}
		if err := option(&c); err != nil {
			return c, err
		}
	}
	return c, nil
}

func badArgument(field, reason string) error {
	return &chats.ArgumentError{Package: "sqlstore", Field: field, Reason: reason}
}
