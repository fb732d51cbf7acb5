#!/usr/bin/env bash
# exported.sh write | check
#
# Writes the exported API of every public package into api/exported, or fails when it is not what stands there. Public is
# every library below chats that is not internal.
set -euo pipefail
shopt -s inherit_errexit nullglob
[[ ${1-} =~ ^(write|check)$ ]] || { echo "usage: exported.sh write | check" >&2; exit 2; }
cd "$(dirname "$0")/.."
golden=api/exported
packages=$(go list -f '{{if ne .Name "main"}}{{.Name}} {{.ImportPath}}{{end}}' ./chats/... | grep -v /internal/)

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
go build -o "$dir/exported" ./$golden
while read -r name path; do
	"$dir/exported" "$path" >"$dir/$name.txt"
done <<<"$packages"
rm "$dir/exported"

if [ "$1" = write ]; then
	rm -f $golden/*.txt
	cp "$dir"/*.txt $golden/
elif ! diff -u -x '*.go' -x testdata $golden "$dir"; then
	echo "The exported API has changed (- as it stands in $golden, + as it is). If it was meant to: make api, and a line in CHANGELOG.md."
	exit 1
fi
