#!/usr/bin/env bash
# drift-notifications.sh OURS THEIRS OASDIFF_VERSION
#
# Compares our contract of the notifications with the vendor's, in both directions, and fails on any structural difference in
# what ours describes: the notifications about chats, PING, the responses, and the values of the enum of types. THEIRS is one
# file or the root of the vendor's tree. Run it in the root of the repository.
set -euo pipefail
shopt -s inherit_errexit
[ $# -eq 3 ] || { echo "usage: drift-notifications.sh OURS THEIRS OASDIFF_VERSION" >&2; exit 2; }
ours=$1 theirs=$2 version=$3
[ -f "$theirs" ] || { echo "drift: $theirs does not exist: pass the path of the vendor's file" >&2; exit 2; }

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
go run ./api/specsubset "$ours" >"$dir/ours"
go run ./api/specsubset "$theirs" >"$dir/theirs"

changes() { # BASE REVISION PREFIX
	go run "github.com/oasdiff/oasdiff@$version" changelog --flatten-allof --format singleline "$1" "$2" >"$dir/out"
	# The schemas of other notifications are named on one side only; what a schema changes in the operation is reported there.
	grep -E '^(error|warn|info)' "$dir/out" | grep -vE '\[api-schema-(added|removed)\]' | sed "s|^|$3|; s| at $dir/[a-z]*||" || true
}

found=$(
	changes "$dir/ours" "$dir/theirs" "from our contract to the vendor's: "
	changes "$dir/theirs" "$dir/ours" "from the vendor's contract to ours: "
)
if [ -n "$found" ]; then
	echo "$found"
	echo "The contracts differ. CONTRIBUTING.md says what to do, step by step."
	exit 1
fi
echo "no drift: $ours and $theirs have the same structure in what concerns chats"
