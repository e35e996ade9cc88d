#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# After `azd up` and `azd deploy`: asks the deployed server a question, and fails where an answer is not as it should be. Waits for the roles
# of the identity, which take effect after minutes. AGENTCHAT_TOKEN: a token of the OpenID provider instead of the key.
set -eu
# Before its second provisioning a new app has no port of ours: `azd up` tests it at its end.
[ "${SERVICE_API_RESOURCE_EXISTS:-true}" = true ] || { echo "a new app: tested at the end of azd up"; exit 0; }
: "${SERVICE_API_URI:?is an output of azd provision}"
key=${AGENTCHAT_TOKEN:-${AGENTCHAT_KEY:-}}
api=$SERVICE_API_URI/api
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "smoke test: $*" >&2; exit 1; }
ask() { curl -sS --max-time 120 -H "Authorization: Bearer $key" -H 'Content-Type: application/json' "$@"; }

tries=${SMOKE_TRIES:-60}
until [ "$(curl -sS -o /dev/null -w '%{http_code}' --max-time 10 "$SERVICE_API_URI/ready?check=store")" = 200 ]; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || fail "the server is not ready; its log says why: azd monitor --logs"
    sleep 5
done
echo "ready"

[ "$(curl -sS -o /dev/null -w '%{http_code}' --max-time 10 "$api/agents")" = 401 ] || fail "the API answers without a key"
echo "signed out: 401"
[ -n "$key" ] || { echo "no AGENTCHAT_KEY and no AGENTCHAT_TOKEN: the rest was not tested"; exit 0; }

ask -N "$api/agents/assistant/chat" -H 'Accept: text/event-stream' -d '{"message": "What is 18% tip on 75 euros?"}' >"$work/stream"
run=$(sed -n 's/.*"run_id":"\(run_[a-z0-9]*\)".*/\1/p' "$work/stream" | head -n 1)
grep -q '"type":"done"' "$work/stream" && [ -n "$run" ] || fail "the stream did not end well: $(tail -n 3 "$work/stream")"
tokens=$(grep -c '"type":"token"' "$work/stream" || true)
[ "$tokens" -gt 0 ] || fail "the stream has no tokens"
echo "streamed: $tokens tokens"

# Each request is a new connection: with several replicas most of them reach another one than the run had.
for i in 1 2 3 4 5 6; do
    ask -N "$api/runs/$run/events" -H 'Last-Event-ID: 1' >"$work/resumed"
    grep -q '"type":"done"' "$work/resumed" || fail "the run cannot be followed again: $(tail -n 3 "$work/resumed")"
done
echo "resumed: six times, each on a new connection"
