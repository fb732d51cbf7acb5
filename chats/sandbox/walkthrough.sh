#!/bin/sh
# Walks through the seven operations of the API against the sandbox, as a program in any
# language does, and shows the responses to invalid requests:
#
#	walkthrough.sh http://127.0.0.1:8070
#
# It needs curl. The responses are those of Market: status OK or ERROR, result, errors.
set -eu

base=${1:-${YANDEX_MARKET_BASE_URL:-http://127.0.0.1:8070}}
business=${YANDEX_MARKET_BUSINESS_ID:-1234567}
key=${YANDEX_MARKET_API_KEY:-ACMA:NotARealKeyNotARealKeyNotARealKeyNotARea:00c0ffee}
order=${ORDER:-55210119}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# request STATUS METHOD PATH [curl arguments]: shows the response, which must have the status.
request() {
	want=$1 method=$2 path=$3
	shift 3
	got=$(curl -sS -o "$dir/body" -w '%{http_code}' -X "$method" -H "Api-Key: $key" "$@" "$base/v2/businesses/$business$path")
	echo "$method $path: $got"
	sed 's/^/  /' "$dir/body"
	echo
	[ "$got" = "$want" ] || { echo "walkthrough: want status $want" >&2; exit 1; }
}
json() { request "$1" POST "$2" -H 'Content-Type: application/json' -d "$3"; }

# contains TEXT: the last response must have it.
contains() { grep -qF "$1" "$dir/body" || { echo "walkthrough: no '$1' in the response" >&2; exit 1; }; }

# field NAME: the first number with that name in the last response.
field() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" "$dir/body" | head -n 1; }

echo '--- the seven operations'
json 200 '/chats?limit=5' '{"statuses":["WAITING_FOR_PARTNER"]}'
contains '"status":"OK"'
json 200 /chats/new "{\"context\":{\"type\":\"ORDER\",\"id\":$order}}"
chat=$(field chatId)
request 200 GET "/chat?chatId=$chat"
contains "\"orderId\":$order"
json 200 "/chats/message?chatId=$chat" '{"message":"Здравствуйте! Заказ уже в пути."}'
printf 'A receipt.\n' >"$dir/receipt.txt"
request 200 POST "/chats/file/send?chatId=$chat" -F "file=@$dir/receipt.txt"
json 200 "/chats/history?chatId=$chat&limit=1" '{}'
contains 'Заказ уже в пути.'
contains '"nextPageToken"'
message=$(field messageId)
request 200 GET "/chats/message?chatId=$chat&messageId=$message"
contains '"sender":"PARTNER"'

echo '--- invalid requests'
json 400 '/chats?limit=21' '{}'
contains "Parameter 'limit' must be between 1 and 20"
json 400 /chats '{"statuses":[]}'
contains "Field 'statuses' must not be empty"
json 400 "/chats/message?chatId=$chat" '{"message":""}'
contains "Field 'message' must have 1 to 4096 characters"
json 404 /chats/new '{"context":{"type":"ORDER","id":1}}'
contains "Order not found: '1'"
request 404 GET '/chat?chatId=1'
contains "Can't find chat by id: '1'"
request 404 GET "/chats/message?chatId=$chat&messageId=1"
contains "Can't find message by id: '1' for chat '$chat'"
request 400 GET /chat
request 405 DELETE /chats
request 415 POST /chats -H 'Content-Type: text/plain' -d '{}'
key=wrong
request 401 GET "/chat?chatId=$chat"
contains '"code":"UNAUTHORIZED"'
echo '--- done'
