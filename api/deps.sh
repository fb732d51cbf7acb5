#!/usr/bin/env bash
# Fails if package chats links a module other than this one, oapi-codegen's runtime and that runtime's own dependencies.
set -euo pipefail
cd "$(dirname "$0")/.."
modules() { go list -deps -f '{{with .Module}}{{.Path}}{{end}}' "$@" | sort -u | sed '/^$/d'; }
extra=$(comm -23 <(modules ./chats) <({ modules github.com/oapi-codegen/runtime github.com/oapi-codegen/runtime/types; echo github.com/ymchats/ymchats-go; } | sort -u))
if [ -n "$extra" ]; then
	echo "chats links modules that it must not:"
	echo "$extra"
	exit 1
fi
echo "chats links: $(modules ./chats | tr '\n' ' ')"
