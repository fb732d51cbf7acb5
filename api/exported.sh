#!/usr/bin/env bash
# exported.sh write | check
#
# Writes the exported API of every public package to api/exported, or fails if the files there are out of date. Every
# library below chats that is not internal is public, also those of the nested modules that are libraries.
set -euo pipefail
shopt -s inherit_errexit nullglob
[[ ${1-} =~ ^(write|check)$ ]] || { echo "usage: exported.sh write | check" >&2; exit 2; }
cd "$(dirname "$0")/.."
golden=api/exported
packages=$(go list -f '{{if ne .Name "main"}}{{.Name}} {{.ImportPath}}{{end}}' ./chats/... | grep -v /internal/)

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
go build -o "$dir/apidump" ./api/apidump
while read -r name path; do
	"$dir/apidump" "$path" >"$dir/$name.txt"
done <<<"$packages"
(cd chats/fleet && "$dir/apidump" github.com/ymchats/ymchats-go/chats/fleet >"$dir/fleet.txt")
rm "$dir/apidump"

if [ "$1" = write ]; then
	rm -f $golden/*.txt
	cp "$dir"/*.txt $golden/
elif ! diff -u $golden "$dir"; then
	echo "The exported API has changed (- is $golden, + is the code). If that is intended, run make api and add a line to CHANGELOG.md."
	exit 1
fi
