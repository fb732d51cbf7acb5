#!/usr/bin/env bash
# drift.sh OURS THEIRS OASDIFF_VERSION
#
# Compares our contract of the chats section with the vendor's, in both directions, and fails on any structural difference.
# THEIRS is the chats section or the root of the vendor's whole tree; other paths are ignored.
set -euo pipefail
shopt -s inherit_errexit
[ $# -eq 3 ] || { echo "usage: drift.sh OURS THEIRS OASDIFF_VERSION" >&2; exit 2; }
ours=$1 theirs=$2 version=$3
[ -f "$theirs" ] || { echo "drift: $theirs does not exist: pass the vendor's file as UPSTREAM=path" >&2; exit 2; }

# Not structural: each side describes OAuth scopes in its own words, and a tree of files has no named schemas (what a schema
# changes in an operation is reported there). oasdiff has no option for either.
harmless='\[(api-security-component-oauth-scope-changed|api-schema-added|api-schema-removed)\]'

changes() {
	go run "github.com/oasdiff/oasdiff@$version" changelog --flatten-allof --format singleline \
		--match-path '^/v2/businesses/\{businessId\}/chats?(/|$)' "$1" "$2" >"$out"
	grep -E '^(error|warn|info)' "$out" | grep -vE "$harmless" || true
}

out=$(mktemp)
trap 'rm -f "$out"' EXIT
found=$(
	changes "$ours" "$theirs" | sed 's/^/from our contract to the vendor'"'"'s: /'
	changes "$theirs" "$ours" | sed 's/^/from the vendor'"'"'s contract to ours: /'
)
if [ -n "$found" ]; then
	echo "$found"
	echo "The contracts differ. CONTRIBUTING.md says what to do, step by step."
	exit 1
fi
echo "no drift: $ours and $theirs have the same structure"
