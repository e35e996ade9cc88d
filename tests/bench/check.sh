#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Self-test of the measuring rig: check.sh DIR, where DIR has llmsim and ssebench. Takes some 10 s.
set -u
here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "${1:?usage: check.sh DIR}" && pwd)
dir=$(mktemp -d)
python=$(command -v python3)
read -r port app_port < <("$python" - <<'PY'
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in sockets))
PY
)
url=http://127.0.0.1:$port/v1/chat/completions
passed=0 failed=0

"$bin/llmsim" --port "$port" --tokens 20 --interval-us 1000 2> "$dir/llmsim" &
sim=$!
"$python" "$here/relay.py" "$app_port" "$port" &
app=$!
trap 'kill $sim $app 2> /dev/null; wait; rm -rf "$dir"' EXIT
for ((i = 0; i < 200; i++)); do
    (exec 3<> "/dev/tcp/127.0.0.1/$port" 4<> "/dev/tcp/127.0.0.1/$app_port") 2> /dev/null && break
    sleep 0.05
done

same() { # name, expected, got
    if [ "$2" = "$3" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED $1: expected $2, got $3"
    fi
}
body() { # directive, more members
    printf '{"model":"m","messages":[{"role":"user","content":"x [[sim %s]]"}]%s}' "$1" "${2:-}"
}
get() { # JSON on stdin: the value of a Python expression over r
    "$python" -c "import json,sys; r=json.load(sys.stdin); print($1)"
}
events() { # what a client makes of a stream: text, tool arguments, finish reasons, usage
    curl -s "$1" -d "$2" | "$python" -c '
import json, sys
text = args = ends = ""; tokens = None
for line in sys.stdin:
    if line.startswith("data: {"):
        chunk = json.loads(line[6:])
        tokens = (chunk.get("usage") or {}).get("completion_tokens", tokens)
        for c in chunk["choices"]:
            text += c["delta"].get("content") or ""
            ends += c["finish_reason"] or ""
            for t in c["delta"].get("tool_calls", []):
                args += t["function"].get("name", "") + t["function"]["arguments"]
print(text.strip(), args, ends, tokens, line.strip() or "-", sep="|")'
}
load() { # options and URL; the JSON goes to $dir/r
    "$bin/ssebench" --quiet "$@" > "$dir/r"
    local rc=$?
    echo "rc=$rc" > "$dir/rc"
    [ $rc = 0 ] || [ $rc = 2 ] || same "ssebench $*" "0 or 2" $rc
}
result() { # name, expression, expected
    same "$1" "$3" "$(get "$2" < "$dir/r")"
}
stat_reaches() { # member of llmsim's statistics, value: waits for it, and prints what it became
    local i value
    for ((i = 0; i < 200; i++)); do
        value=$(curl -s "http://127.0.0.1:$port/stats" | get "r[\"$1\"]")
        [ "$value" = "$2" ] && break
        sleep 0.02
    done
    echo "$value"
}

# llmsim by itself
stream=',"stream":true'
same stream "t0001 t0002||stop|None|-" "$(events "$url" "$(body tokens=2 "$stream")")"
same usage "t0001 t0002||stop|2|-" \
    "$(events "$url" "$(body tokens=2 "$stream,\"stream_options\":{\"include_usage\":true}")")"
same max_tokens "t0001||stop|None|-" "$(events "$url" "$(body '' "$stream,\"max_tokens\":1")")"
same azure "t0001||stop|None|-" \
    "$(events "http://127.0.0.1:$port/openai/deployments/d/chat/completions?api-version=1" "$(body tokens=1 "$stream")")"
same tools '|calculate{"expression":"85 * 0.15"}|tool_calls|None|-' \
    "$(events "$url" "$(body tool-round=1 "$stream,\"tools\":[{}]")")"
same split "t0001 t0002||stop|None|-" "$(events "$url" "$(body 'tokens=2 fault=split' "$stream")")"
same whole "t0001 t0002 2" "$(curl -s "$url" -d "$(body tokens=2)" |
    get 'r["choices"][0]["message"]["content"] + str(r["usage"]["completion_tokens"])')"
same whole-tools '{"expression":"85 * 0.15"}' "$(curl -s "$url" -d "$(body tool-round=1 ',"tools":[{}]')" |
    get 'r["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]')"
same chunked-request "t0001 t0002 " "$(curl -s -H 'Transfer-Encoding: chunked' "$url" -d "$(body tokens=2)" |
    get 'r["choices"][0]["message"]["content"]')"
same 429 "429 7" \
    "$(curl -s -o /dev/null -w '%{http_code} %header{retry-after}' "$url" -d "$(body 'status=429 retry-after=7')")"
same bad-json 400 "$(curl -s -o /dev/null -w '%{http_code}' "$url" -d '{')"
same not-found 404 "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/other" -d '{}')"
same http/1.0 "t0001 " "$(curl -s --http1.0 "$url" -d "$(body tokens=1)" | get 'r["choices"][0]["message"]["content"]')"

# ssebench against it
load -k -c 50 -n 200 --expect-tokens 20 -b "$(body stamp "$stream")" "$url"
result tokens 'r["tokens"], r["stamped"], r["outcome"]["ok"], r["errors"], r["connects"]' "4000 4000 200 0 50"
result percentiles '0 < r["relay_us"]["p50"] <= r["relay_us"]["p99"] <= r["relay_us"]["max"] < 1e6' True
result first 'r["first_us"]["n"], r["first_us"]["p50"] <= r["ttft_us"]["p50"]' "200 True"
result complete 'r["lost"], r["surplus"], r["disordered"]' "0 0 0"
load -c 20 -n 40 -b "$(body '' "$stream")" --pid $sim "$url"
result no-stamps 'r["tokens"], r["stamped"], r["connects"], r["ttft_us"]["n"]' "800 0 40 40"
result accounting 'r["server"]["processes"], r["server"]["rss_peak_kb"] > 500, r["server"]["pss_peak_kb"] > 100' \
    "1 True True"
load -c 4 -n 8 --expect-tokens 20 -b "$(body fault=cut "$stream")" "$url"
result cut 'r["outcome"]["incomplete"], r["errors"]' "8 8"
result lost 'r["lost"], r["surplus"]' "80 0"
same status-of-errors rc=2 "$(cat "$dir/rc")"
load -c 2 -n 2 --expect-tokens 15 -b "$(body '' "$stream")" "$url"
result surplus 'r["lost"], r["surplus"]' "0 10"
load -c 2 -n 2 --expect-tokens 20 --delta '"delta":{"content"' -b "$(body stamp "$stream")" "$url"
result delta 'r["lost"], r["surplus"]' "0 0"
load -c 2 -n 2 --expect-tokens 20 --delta no-such-text -b "$(body stamp "$stream")" "$url"
result "no delta" 'r["lost"], r["surplus"]' "40 0"
load -c 4 -n 8 -b "$(body status=503 "$stream")" "$url"
result status 'r["outcome"]["status"], r["status"]["5xx"]' "8 8"
load -c 4 -n 4 --timeout 1 -b "$(body fault=stall "$stream")" "$url"
result stall 'r["outcome"]["timeout"]' 4
load -c 4 -n 4 -b "$(body 'fault=stall stall-ms=200' "$stream")" "$url"
result stall-ends 'r["outcome"]["ok"]' 4
load -c 4 -n 4 -b "$(body fault=garbage "$stream")" "$url"
result garbage 'r["outcome"]["ok"], r["tokens"], r["events"]' "4 80 $((4 * 24))"
load -c 2 -n 2 -b "$(body fault=split "$stream")" "$url"
result split 'r["outcome"]["ok"], r["tokens"]' "2 40"
load -c 2 -n 6 --abort-after 5 -b "$(body '' "$stream")" "$url"
result abort 'r["outcome"]["aborted"], r["errors"]' "6 0"
same aborted-upstream 10 "$(stat_reaches aborted 10)" # and 4 of the stall
load -c 2 -d 0.3 --grace 0.2 -b "$(body 'interval-us=100000 tokens=9' "$stream")" "$url"
result grace 'r["outcome"]["cut_at_end"]' 2
load -c 3 -n 3 --ramp-ms 600 -b "$(body 'tokens=1' "$stream")" "$url"
result ramp '0.3 < r["seconds"] < 0.8' True
load -c 1 -n 2 -X GET --plain -k "http://127.0.0.1:$port/stats"
result plain 'r["outcome"]["ok"], r["latency_us"]["n"]' "2 2"

# through an application, with a thread for each connection
base=http://127.0.0.1:$app_port
chat='{"message":"x [[sim stamp tokens=5 interval-us=0]]","thread_id":"{thread_id}"}'
load -k -c 5 -n 10 --setup -b "$chat" "$base/api/agents/a/chat"
result setup 'r["outcome"]["ok"], r["stamped"]' "10 50"
load -k -c 5 -n 5 --setup --plain -X GET "$base/api/threads/{thread_id}"
result thread-url 'r["outcome"]["ok"], r["status"]["2xx"]' "5 5"
load -c 2 -n 2 -b '{"message":"x [[sim status=500]]"}' "$base/api/agents/a/chat"
result error-event 'r["outcome"]["error_event"]' 2

kill $app # first: a connection still open would pass for a leak
wait $app 2> /dev/null
same released 0 "$(stat_reaches active 0)"
kill $sim
wait $sim
same sanitizers "" "$(grep -E 'ERROR|runtime error' "$dir/llmsim")"
echo "$passed passed, $failed failed"
[ $failed = 0 ]
