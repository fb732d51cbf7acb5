#!/bin/sh
# Runs a command with a browser for its tests:
#
#	browser.sh go test -tags browser ./...
#
# CHROMIUM is the path of the browser. If there is no browser, root installs Debian's Chromium; if
# that is not possible, the script reports what it skips, and runs nothing.
set -eu

say() { echo "browser.sh: $*" >&2; }

[ $# -gt 0 ] || { say "usage: $0 COMMAND, for example $0 go test -tags browser ./..."; exit 2; }

find_browser() {
	for name in ${CHROMIUM:+"$CHROMIUM"} chromium chromium-browser google-chrome google-chrome-stable; do
		if command -v "$name" >/dev/null; then
			command -v "$name"
			return
		fi
	done
	return 1
}

install_browser() {
	[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
	say "installing chromium"
	{
		apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium fonts-dejavu-core fonts-noto-color-emoji
	} >&2
}

if ! CHROMIUM=$(find_browser); then
	install_browser || true
	CHROMIUM=$(find_browser) || {
		say "SKIPPED, because there is no browser: $*"
		exit 0
	}
fi
export CHROMIUM
exec "$@"
