#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `make run` executes this after the build: an httpd of its own with the sample configuration, in the foreground.
#
#   PORT=8080                   the port; LISTEN=127.0.0.1 the address
#   CONF=FILE                   further directives, included last
#   AGENTCHAT_STORE=…           another store than the SQLite file, as in AgentChatStore
# The model is the first of these that the environment has:
#   AGENTCHAT_MODEL_ENDPOINT (+ AGENTCHAT_MODEL_NAME, AGENTCHAT_MODEL_KEY)
#   AZURE_OPENAI_ENDPOINT + AZURE_OPENAI_API_KEY + AZURE_OPENAI_DEPLOYMENT_NAME (+ AZURE_OPENAI_API_VERSION)
#   OPENAI_API_KEY (+ OPENAI_MODEL)
#   none: the demonstration model, which needs no network
set -euo pipefail

# In the background of a script SIGINT is ignored, and bash cannot trap a signal that was ignored at its start.
if [ "$(trap -p INT)" = "trap -- '' SIGINT" ]; then exec env --default-signal=INT "$0" "$@"; fi

# make forwards SIGTERM, but not SIGINT and SIGHUP: it stops catching them, and waits. That state is detected here.
caught_by_make() {
    local name value
    while read -r name value; do [ "$name" != SigCgt: ] || echo "$((16#$value & 3))"; done <"/proc/$PPID/status"
}
made=0
if [[ $(cat "/proc/$PPID/comm" 2>/dev/null) == *make ]]; then made=$(caught_by_make); fi

top=$(cd "$(dirname "$0")/.." && pwd)
build=${BUILD:-build}
[[ $build == /* ]] || build=$top/$build
run=$build/run
sample=$top/conf/sample
port=${PORT:-8080}
listen=${LISTEN:-127.0.0.1}
conf=${CONF:-}

fail() { echo "run: $*" >&2; exit 1; }

find_first() { local path; for path; do if [ -e "$path" ]; then echo "$path"; return; fi; done; }
httpd=$(find_first /usr/sbin/apache2 /usr/sbin/httpd)
modules=$(find_first /usr/lib/apache2/modules /usr/lib64/httpd/modules /usr/lib/httpd/modules)
[ -n "$httpd" ] && [ -n "$modules" ] || fail "there is no Apache httpd; conf/packages.sh run installs it"
[ -e "$build/mod_agentchat.so" ] || fail "$build/mod_agentchat.so is not there; make builds it"
[[ $port =~ ^[0-9]+$ && $port -ge 1 && $port -le 65535 ]] || fail "PORT=$port is not a port"
if [ -n "$conf" ]; then
    [ -r "$conf" ] || fail "CONF=$conf cannot be read"
    conf=$(cd "$(dirname "$conf")" && pwd)/$(basename "$conf")
fi
if (exec 3<>"/dev/tcp/${listen/0.0.0.0/127.0.0.1}/$port") 2>/dev/null; then
    fail "port $port is taken by another program; choose another: make run PORT=$((port < 65535 ? port + 1 : port - 1))"
fi

# ---- directories ----
mkdir -p "$run/logs"
data=$run
account=
if [ "$(id -u)" = 0 ]; then
    # httpd gives up root. Its user may have no access to a clone below a private home: then the files of that user are in another
    # directory, which is remembered for the next run.
    for user in www-data apache nobody; do
        if id -u "$user" >/dev/null 2>&1; then break; fi
    done
    group=$(id -gn "$user")
    account="User $user
Group $group"
    reaches() { runuser -u "$user" -- test "$1" "$2" 2>/dev/null; }
    if ! reaches -x "$run" || ! reaches -r "$sample/knowledge/orders.md"; then
        data=$(cat "$run/data.path" 2>/dev/null || true)
        if [ -z "$data" ] || [ ! -O "$data" ]; then
            data=$(mktemp -d /var/tmp/agentchat.XXXXXXXX)
            chmod 755 "$data"
            echo "$data" >"$run/data.path"
        fi
        echo "$run" >"$data/of.path"            # conf/install.sh clean removes the directory by it
    fi
fi
mkdir -p "$data/state" "$data/htdocs"
rm -f "$data/htdocs/index.html"
cp -f "$sample/htdocs/config.json" "$data/htdocs/"
chmod 755 "$data/htdocs"
chmod 644 "$data/htdocs/config.json"
knowledge=$sample/knowledge
www=$top/src/www
swagger=$build/swagger-ui
if [ "$data" != "$run" ]; then
    knowledge=$data/knowledge
    mkdir -p "$knowledge"
    cp -f "$sample"/knowledge/*.md "$knowledge/"
    chmod 755 "$knowledge"
    chmod 644 "$knowledge"/*.md
    www=$data/www
    mkdir -p "$www"
    cp -f "$top"/src/www/* "$www/"
    chmod 755 "$www"
    chmod 644 "$www"/*
    if [ -e "$swagger/swagger-ui-bundle.js" ]; then
        swagger=$data/swagger-ui
        mkdir -p "$swagger"
        cp -f "$build"/swagger-ui/* "$swagger/"
        chmod 755 "$swagger"
        chmod 644 "$swagger"/*
    fi
fi
[ -z "$account" ] || chown -R "$user:$group" "$data/state"

# ---- configuration ----
# Quotes a value in httpd's syntax; a value may come from the environment.
quote() { local text=${1//\\/\\\\}; printf '"%s"' "${text//\"/\\\"}"; }

load() {
    local name
    for name; do
        if [ -e "$modules/mod_$name.so" ]; then
            printf '<IfModule !%s_module>\n    LoadModule %s_module "%s/mod_%s.so"\n</IfModule>\n' \
                "$name" "$name" "$modules" "$name"
        fi
    done
}

model() {
    echo "<AgentChatModel default>"
    if [ -n "${AGENTCHAT_MODEL_ENDPOINT:-}" ]; then
        echo "    AgentChatProvider   openai"
        echo "    AgentChatEndpoint   $(quote "$AGENTCHAT_MODEL_ENDPOINT") $(quote "model=${AGENTCHAT_MODEL_NAME:-default}")"
        [ -z "${AGENTCHAT_MODEL_KEY:-}" ] || echo "    AgentChatCredential env:AGENTCHAT_MODEL_KEY"
    elif [ -n "${AZURE_OPENAI_ENDPOINT:-}" ] && [ -n "${AZURE_OPENAI_API_KEY:-}" ] &&
         [ -n "${AZURE_OPENAI_DEPLOYMENT_NAME:-}" ]; then
        echo "    AgentChatProvider   azure-openai"
        echo "    AgentChatEndpoint   $(quote "$AZURE_OPENAI_ENDPOINT")" \
             "$(quote "deployment=$AZURE_OPENAI_DEPLOYMENT_NAME") $(quote "api-version=${AZURE_OPENAI_API_VERSION:-v1}")"
        echo "    AgentChatCredential env:AZURE_OPENAI_API_KEY"
    elif [ -n "${OPENAI_API_KEY:-}" ]; then
        echo "    AgentChatProvider   openai"
        echo "    AgentChatEndpoint   https://api.openai.com/v1 $(quote "model=${OPENAI_MODEL:-gpt-4o-mini}")"
        echo "    AgentChatCredential env:OPENAI_API_KEY"
    else
        echo "    AgentChatProvider   demo"
    fi
    echo "</AgentChatModel>"
}

{
    echo "# Written by conf/run.sh at each start."
    echo "Define RUN $(quote "$run")"
    echo "Define DATA $(quote "$data")"
    echo "Define SAMPLE $(quote "$sample")"
    echo "Define KNOWLEDGE $(quote "$knowledge")"
    echo "Define AGENTCHAT_WWW $(quote "$www")"
    echo "Define CONF $(quote "$top/conf")"
    echo "Define PORT $port"
    echo "Define LISTEN $listen"
    grep -qw -e 'prefork.c' -e 'worker.c' -e 'event.c' <<<"$("$httpd" -l)" || load mpm_event
    load unixd log_config reqtimeout authz_core authz_user authn_core authn_file auth_basic mime dir alias headers filter deflate
    echo "LoadModule agentchat_module $(quote "$build/mod_agentchat.so")"
    [ -z "$account" ] || echo "$account"
    echo "Include $(quote "$sample/httpd.conf")"
    model
    [ -z "${AGENTCHAT_STORE:-}" ] || echo "AgentChatStore $AGENTCHAT_STORE"
    [ ! -e "$swagger/swagger-ui-bundle.js" ] || echo "AgentChatDocs $(quote "$swagger")"
    [ -z "$conf" ] || echo "Include $(quote "$conf")"
} >"$run/httpd.conf"

"$httpd" -t -f "$run/httpd.conf" >"$run/logs/configtest.log" 2>&1 || { cat "$run/logs/configtest.log" >&2; exit 1; }

# ---- start ----
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true
seen=$(stat -c %s "$run/logs/error.log" 2>/dev/null || echo 0)
# A child of a script without job control ignores SIGINT, so that the script receives Ctrl-C and stops httpd.
"$httpd" -f "$run/httpd.conf" -DFOREGROUND &
pid=$!
stop() { trap '' INT TERM HUP; kill -TERM "$pid" 2>/dev/null || true; }
trap stop INT TERM HUP

url="http://${listen/0.0.0.0/127.0.0.1}:$port"
news() { tail -c "+$((seen + 1))" "$run/logs/error.log" 2>/dev/null || true; }
# A complete answer proves that a child has started.
answers() {
    (
        exec 3<>"/dev/tcp/${listen/0.0.0.0/127.0.0.1}/$port"
        printf 'GET /health HTTP/1.0\r\n\r\n' >&3
        read -r -t 5 line <&3 && [[ $line == HTTP/* ]]
    ) 2>/dev/null
}
until answers; do
    if ! kill -0 "$pid" 2>/dev/null; then
        news >&2
        fail "httpd did not start; its log is $run/logs/error.log"
    fi
    sleep 0.1
done
if news | grep -E 'AC060[26]' >&2; then echo "run: the server is up, but its chats fail for this reason" >&2; fi
what=$(awk '$1 == "AgentChatProvider" {print $2}' "$run/httpd.conf")
[ "$what" = demo ] && what="demo (give OPENAI_API_KEY for a real one)"

cat <<EOF

mod_agentchat is running    model: $what

The chat page: $url/chat/
The API:

    curl -N $url/api/agents/support-triage/chat -H 'Content-Type: application/json' \\
         -d '{"message": "What is the weather in Paris, and what is 18% tip on 75 euros?"}'

Logs: $run/logs/error.log and access.log    Conversations: ${AGENTCHAT_STORE:-$data/state/agentchat.db}
Ctrl-C stops it.

EOF
# Paths of data in memory that outlive httpd, for conf/install.sh clean.
{ grep -o '/dev/shm/agentchat-[0-9a-f]*' "/proc/$pid/maps" || true; } | sort -u >"$run/memory.path"

exec {quiet}<> <(:)
while kill -0 "$pid" 2>/dev/null; do
    if [ "$made" != 0 ] && [ "$(caught_by_make 2>/dev/null)" != "$made" ]; then
        made=0
        stop
    fi
    read -r -t 0.5 -u "$quiet" || true
done
wait "$pid" && status=0 || status=$?
echo "run: stopped"
exit "$([ "$status" -gt 128 ] && echo 0 || echo "$status")"
