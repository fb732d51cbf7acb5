#!/bin/sh
# Runs a command with a temporary PostgreSQL server:
#
#	postgres.sh go test ./...
#
# DATABASE_URL is the server's address, POSTGRES_BIN the directory of its programs, and
# POSTGRES_USER who runs it if it is not the caller. The server listens on 127.0.0.1 only, on a free
# port, and keeps its data in a temporary directory. If PostgreSQL is not installed,
# root installs it on Debian and its derivatives; other users have to install it
# first.
set -eu

say() { echo "postgres.sh: $*" >&2; }

[ $# -gt 0 ] || { say "usage: $0 COMMAND, for example $0 go test ./..."; exit 2; }

find_bin() {
	if command -v initdb >/dev/null && command -v pg_ctl >/dev/null; then
		dirname "$(command -v pg_ctl)"
		return
	fi
	# Debian has each version in its own directory, which is not in PATH.
	for dir in $(ls -d /usr/lib/postgresql/*/bin /usr/pgsql-*/bin 2>/dev/null | sort -rV) /usr/local/pgsql/bin; do
		if [ -x "$dir/initdb" ] && [ -x "$dir/pg_ctl" ]; then
			echo "$dir"
			return
		fi
	done
	return 1
}

install_postgres() {
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		say "initdb and pg_ctl not found; install PostgreSQL 14 or later (Debian: apt-get install postgresql)"
		exit 1
	fi
	say "installing PostgreSQL"
	{
		apt-get update -q
		DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends postgresql
	} >&2
}

bin=$(find_bin) || { install_postgres; bin=$(find_bin); }

# The server does not run as root.
user=
if [ "$(id -u)" = 0 ]; then
	user=postgres
	id "$user" >/dev/null 2>&1 || user=nobody
fi
as_user() {
	if [ -n "$user" ]; then
		setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups -- "$@"
	else
		"$@"
	fi
}

dir=$(mktemp -d "${TMPDIR:-/tmp}/ymchats-postgres.XXXXXX")
child=
cleanup() {
	status=$?
	trap - EXIT
	trap '' HUP INT TERM
	if [ -n "$child" ]; then
		kill -TERM -- "-$child" 2>/dev/null || kill -TERM "$child" 2>/dev/null || true
		wait "$child" 2>/dev/null || true
	fi
	if [ -f "$dir/data/postmaster.pid" ]; then
		(cd "$dir" && as_user "$bin/pg_ctl" -D "$dir/data" -m immediate -w stop >/dev/null 2>&1) || say "the server in $dir did not stop"
	fi
	rm -rf "$dir"
	exit "$status"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

[ -z "$user" ] || chown "$user" "$dir"
(cd "$dir" && LC_ALL=C as_user "$bin/initdb" -D data -U postgres -A trust -E UTF8 --locale=C --no-sync >initdb.log 2>&1) || {
	cat "$dir/initdb.log" >&2
	exit 1
}

# The data need not survive a power failure, so nothing waits for the disk.
cat >>"$dir/data/postgresql.conf" <<EOF
listen_addresses = '127.0.0.1'
unix_socket_directories = '$dir'
fsync = off
synchronous_commit = off
full_page_writes = off
EOF

# Random ports until one is free.
for _ in 1 2 3 4 5 6 7 8 9 10; do
	port=$(($(od -An -N2 -tu2 /dev/urandom) % 20000 + 20000))
	if (cd "$dir" && as_user "$bin/pg_ctl" -D "$dir/data" -o "-p $port" -l "$dir/server.log" -w -t 60 start >/dev/null 2>&1); then
		started=yes
		break
	fi
done
[ "${started:-}" = yes ] || { cat "$dir/server.log" >&2; exit 1; }

DATABASE_URL="postgres://postgres@127.0.0.1:$port/postgres?sslmode=disable"
POSTGRES_BIN=$bin
POSTGRES_USER=$user
export DATABASE_URL POSTGRES_BIN POSTGRES_USER

# The command runs in the background so that signals are handled at once, with the
# standard input that it would have in the foreground, and in its own process group
# so that its children end with it.
group=$(command -v setsid || true)
exec 3<&0
${group:+"$group"} "$@" <&3 3<&- &
child=$!
exec 3<&-
status=0
wait "$child" || status=$?
child=
exit "$status"
