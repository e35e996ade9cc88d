#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Measures mod_agentchat and raw relays with the same scenarios and prints tables.
#
#   run.sh [-qp] [-r RUNS] [-o OUTDIR] [-s "SCENARIO..."] [SERVER...]
#
#   -q   quick: shorter loads, one try each (QUICK=1 does the same)
#   -p   profile: perf watches the server's children; OUTDIR gets NAME.SCENARIO.perf and .top of each (and its figures are
#        worth less)
#   BIN      the folder of llmsim and ssebench        MODULE   the module to measure
#
# The rig (llmsim and ssebench) runs on CPU $RIG_CPU, the server on CPU $SERVER_CPU; where there are rights for it, in a network
# namespace of their own, with ports and TCP settings of their own. Each server is started afresh for each run, and again
# for the scenario of 10,000 streams.
set -u
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
: "${BUILD:=$top/build}" "${QUICK:=0}" "${RIG_CPU:=0}" "${SERVER_CPU:=1}" "${QUIET_CORES:=0.20}" "${NOISE_CORES:=0.30}"
: "${BIN:=$BUILD/bench}" "${MODULE:=$BUILD/mod_agentchat.so}" "${BENCH_TMP:=/var/tmp}"

if [ -z "${IN_NAMESPACE:-}" ] && unshare -n true 2> /dev/null; then
    exec env IN_NAMESPACE=1 unshare -n "$0" "$@"
fi
PORT=9200 SIM=9100 FRONT=9300
if [ -n "${IN_NAMESPACE:-}" ]; then
    ip link set lo up
    # reno is the one choice a namespace always has. bbr, the default of some machines, paces even loopback connections.
    sysctl -q -w net.ipv4.tcp_congestion_control=reno
else
    read -r PORT SIM FRONT < <(python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(s.getsockname()[1] for s in sockets))')
fi
ulimit -n "$(ulimit -Hn)"

runs=1 profile=0 out=$BUILD/bench/results scenarios="c1 c100 c1000 burst turn c10k c10k-h2 max crud-post crud-get"
while getopts qpr:o:s: opt; do
    case $opt in
    q) QUICK=1 ;;
    p) profile=1 ;;
    r) runs=$OPTARG ;;
    o) out=$OPTARG ;;
    s) scenarios=$OPTARG ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
MODULES=/usr/lib/apache2/modules
[ -d $MODULES ] || MODULES=/usr/lib64/httpd/modules
export PORT SIM FRONT MODULES THREADS=1280 DIR
# shellcheck source=servers.sh
. "$here/servers.sh"
servers=${*:-nginx apache-proxy module module-completions module-threads module-responses module-ui module-model-responses module-nolog module-h2}

# ---- the scenarios ----
# A stream takes two descriptors in one process: the client's connection and the model's. With HTTP/2 to the model it takes
# little more than one. 200 are for everything else.
files=$(ulimit -n)
most_streams=$(((files - 200) / 2 / 100 * 100))
[ "$most_streams" -gt 10000 ] && most_streams=10000
most_streams_h2=$(((files - 400) * 100 / 102 / 100 * 100))
[ "$most_streams_h2" -gt 10000 ] && most_streams_h2=10000

if [ "$QUICK" = 1 ]; then
    seconds=1 tries=1 n_c1=20 n_c100=100 tokens_10k=8
else
    seconds=3 tries=3 n_c1=100 n_c100=300 tokens_10k=30
fi
tokens_of() {
    case $1 in
    c1) echo 20 ;;
    turn) echo 2 ;;
    c10k*) echo $tokens_10k ;;
    max | max1) echo 500 ;;
    *) echo 100 ;;
    esac
}
directive() {
    case $1 in
    warm | turn) echo "interval-us=0" ;;
    c1) echo "interval-us=5000" ;;
    c100 | c1000 | burst) echo "interval-us=20000 jitter=10" ;;
    c10k*) echo "interval-us=500000 jitter=10" ;;
    max) echo "interval-us=0" ;;
    max1) echo "interval-us=0 burst=1" ;;
    esac
}
load() {
    case $1 in
    warm) echo "-c 8 -d $seconds" ;;
    c1) echo "-c 1 -n $n_c1" ;;
    c100) echo "-c 100 -n $n_c100 --ramp-ms 1000 --poll-us 500 -d 20 --grace 20" ;;
    c1000) echo "-c 1000 -n 1000 --ramp-ms 1000 --poll-us 500 -d 20 --grace 30" ;;
    burst) echo "-c 1000 -n 1000 -d 20 --grace 30" ;;
    turn) echo "-c 8 -d $seconds" ;;
    c10k) echo "-c $most_streams -n $most_streams --ramp-ms 5000 --poll-us 500 -d 30 --grace 30" ;;
    c10k-h2) echo "-c $most_streams_h2 -n $most_streams_h2 --ramp-ms 5000 --poll-us 500 -d 30 --grace 30" ;;
    max | max1) echo "-c 64 -d $((seconds + 1))" ;;
    crud-post) echo "-c 16 -d $seconds --plain" ;;
    crud-get) echo "-c 16 -d $seconds --plain --setup -X GET" ;;
    esac
}
prompt() { # kind of body, directive for llmsim
    case $1 in
    openai) printf '{"model":"assistant","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"Tell me a story. [[sim %s]]"}]}' "$2" ;;
    openai-thread) printf '{"model":"assistant","stream":true,"metadata":{"thread_id":"chat-%s-{n}"},"messages":[{"role":"user","content":"Tell me a story. [[sim %s]]"}]}' $SRANDOM "$2" ;;
    responses) printf '{"model":"assistant","stream":true,"input":"Tell me a story. [[sim %s]]"}' "$2" ;;
    ui) printf '{"id":"chat-%s-{n}","trigger":"submit-message","messages":[{"id":"m-%s-{n}","role":"user","parts":[{"type":"text","text":"Tell me a story. [[sim %s]]"}]}]}' $SRANDOM $SRANDOM "$2" ;;
    chat) printf '{"message":"Tell me a story. [[sim %s]]","stream":true}' "$2" ;;
    esac
}
wanted() { # server, scenario
    case $2 in
    c10k-h2) [ "$1" = module-h2 ] ;;
    crud-*) [ "$1" = module ] ;;
    *) [[ " ${scenarios_of[$1]:-$2} " = *" $2 "* ]] ;;
    esac
}

bench() { # server, scenario, JSON file
    local args=(-k --label "$1/$2" --pid "$server" --rss-base-kb "$base") url=http://127.0.0.1:$port
    [ "$1" = direct ] || args+=(--upstream-pid "$sim")
    [ -n "$front" ] && args+=(--upstream-pid "$front")
    case $2 in
    crud-post) url+=/api/threads args+=(-b '{"metadata":{"user_id":"user_123","session_type":"support"}}') ;;
    crud-get) url+=/api/threads/{thread_id} ;;
    *) url+=${path[$1]}
        args+=(-b "$(prompt "${body[$1]}" "tokens=$(tokens_of "$2") $(directive "$2")")"
            --expect-tokens "$(tokens_of "$2")")
        [ "${body[$1]}" = responses ] && args+=(--delta '"response.output_text.delta"') ;;
    esac
    # shellcheck disable=SC2046
    taskset -c "$RIG_CPU" "$BIN/ssebench" "${args[@]}" $(load "$2") "$url" > "$3"
}

children() { # of a process, or itself
    local list
    list=$(tr ' ' ',' < "/proc/$1/task/$1/children")
    echo "${list%,}" | grep . || echo "$1"
}
profiled_bench() { # as bench
    local data=${3%.json*}.perf perf
    if [ $profile = 0 ]; then
        bench "$@"
        return
    fi
    taskset -c "$RIG_CPU" perf record -q -e cpu-clock -F 4999 -g -p "$(children "$server")" -o "$data" &
    perf=$!
    bench "$@"
    kill -INT $perf
    wait $perf
    perf report -i "$data" --no-children -g none --percent-limit 0.4 --stdio 2> /dev/null > "${data%.perf}.top"
}

# ---- quiet hours: other work on the machine spoils a measurement ----
busy_cores() { # over half a second
    local a b
    read -ra a < /proc/stat
    sleep 0.5
    read -ra b < /proc/stat
    awk -v n="$(nproc)" -v idle=$((b[4] - a[4] + b[5] - a[5])) -v hz="$(getconf CLK_TCK)" \
        'BEGIN { print n - idle / hz / 0.5 }'
}
await_quiet() {
    local i
    for ((i = 0; i < 20; i++)); do
        awk -v b="$(busy_cores)" -v q="$QUIET_CORES" 'BEGIN { exit !(b < q) }' && return
    done
}
noise() { # cores that others took during a measurement, by its JSON
    sed -n 's/.*"other_cores":\(-\?[0-9.]*\),"steal_cores":\([0-9.]*\).*/\1 \2/p' "$1" |
        awk '{ print ($1 > 0 ? $1 : 0) + $2 }'
}
model_stats() {
    curl -s "http://127.0.0.1:$SIM/stats"
}
measure() { # server, scenario: keeps the quietest of up to $tries tries
    local file=$dir/$1.$2.json try best=99 n
    for ((try = 1; try <= tries; try++)); do
        await_quiet
        model_stats > /dev/null # which starts its lag afresh
        profiled_bench "$1" "$2" "$file.try"
        model_stats > "$file.try.sim"
        n=$(noise "$file.try")
        if [ -n "$n" ] && awk -v n="$n" -v b="$best" 'BEGIN { exit !(n < b) }'; then
            best=$n
            mv "$file.try" "$file"
            mv "$file.try.sim" "${file%.json}.sim"
        fi
        awk -v n="${n:-99}" -v q="$NOISE_CORES" 'BEGIN { exit !(n < q) }' && break
        echo "  $1/$2: others took ${n:-?} cores, try $try of $tries" >&2
    done
    rm -f "$file.try" "$file.try.sim"
}

# ---- life of the servers ----
sim='' server='' front=''
stop() {
    local pid
    for pid in $server $front $sim; do
        kill "$pid" 2> /dev/null
        wait "$pid" 2> /dev/null
    done
    server='' sim='' front=''
    [ -n "${DIR:-}" ] && rm -rf "$DIR"
}
trap 'stop; exit 130' INT TERM

await_port() {
    local i
    for ((i = 0; i < 200; i++)); do
        (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null && return
        sleep 0.05
    done
    echo "nothing listens on port $1" >&2
    return 1
}
prepare_dir() {
    DIR=$(mktemp -d "$BENCH_TMP/agentchat-bench.XXXXXX")
    chmod 755 "$DIR"
    mkdir "$DIR/state"
    : > "$DIR/account.conf"
    local user
    for user in www-data apache; do
        [ "$(id -u)" = 0 ] && id "$user" > /dev/null 2>&1 || continue
        printf 'User %s\nGroup %s\n' $user $user > "$DIR/account.conf"
        chown $user "$DIR/state"
    done
}
start_front() {
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 \
        -keyout "$DIR/model.key" -out "$DIR/model.crt" 2> /dev/null
    chmod 644 "$DIR/model.crt"
    fill_in "$here/front.conf" "$DIR/front.conf"
    taskset -c "$RIG_CPU" nginx -e stderr -c "$DIR/front.conf" 2> "$dir/$1.front.log" &
    front=$!
    await_port $FRONT
}
start_collector() { # server
    taskset -c "$RIG_CPU" python3 "$here/collector.py" $FRONT "${1#module-}" > "$dir/$1.collector" 2>&1 &
    front=$!
    await_port $FRONT
}
start() { # server
    prepare_dir
    taskset -c "$RIG_CPU" "$BIN/llmsim" --port $SIM --stamp 2> "$dir/$1.llmsim" &
    sim=$! server=$! port=$SIM
    await_port $SIM || return 1
    if [ "$1" = module-h2 ]; then
        start_front "$1" || return 1
    fi
    case $1 in
    module-traced | module-hung) start_collector "$1" || return 1 ;;
    esac
    if [ "$1" != direct ]; then
        port=$PORT
        (taskset -cp "$SERVER_CPU" $BASHPID > /dev/null; "start_$1") > "$dir/$1.log" 2>&1 &
        server=$!
        await_port $PORT || return 1
    fi
    base=0
    bench "$1" warm "$dir/$1.warm.json" 2> /dev/null
    base=$(sed -n 's/.*"rss_peak_kb":\([0-9]*\).*/\1/p' "$dir/$1.warm.json")
}
measure_all() { # server, scenario...: in one life of the server
    local name=$1 scenario
    shift
    [ $# = 0 ] && return
    if start "$name"; then
        for scenario; do
            measure "$name" "$scenario"
        done
    else
        echo "  $name did not start; see $dir/$name.log" >&2
    fi
    [ -s "$DIR/error.log" ] && cat "$DIR/error.log" >> "$dir/$name.log"
    stop
}

# ---- the runs ----
present=''
for name in $servers; do
    lack=$("missing_$name")
    if [ -n "$lack" ]; then
        echo "without $name: $lack" >&2
    else
        present+=" $name"
    fi
done
rm -rf "$out"
for ((run = 1; run <= runs; run++)); do
    dir=$out/run-$run
    mkdir -p "$dir"
    for name in $present; do
        small='' large=''
        for scenario in $scenarios; do
            wanted "$name" "$scenario" || continue
            if [[ $scenario = c10k* ]]; then large+=" $scenario"; else small+=" $scenario"; fi
        done
        # shellcheck disable=SC2086
        measure_all "$name" $small
        for scenario in $large; do
            THREADS=$((most_streams + 100)) measure_all "$name" "$scenario"
        done
    done
done
cat > "$out/machine.json" << JSON
{"files": $files, "streams_10k": $most_streams, "streams_10k_h2": $most_streams_h2, "quick": $QUICK, "runs": $runs,
 "kernel": "$(uname -sr)", "cpus": $(nproc), "cpu": "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)",
 "store": "$(stat -f -c %T "$BENCH_TMP")", "namespace": "${IN_NAMESPACE:-0}", "date": "$(date -u +%Y-%m-%dT%H:%MZ)"}
JSON
python3 "$here/report.py" "$out" | tee "$out/results.txt"
