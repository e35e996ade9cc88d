#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The first process of the container image: checks the variables, starts httpd, and stops it gracefully.
#
#   no argument       the server. SIGTERM and SIGINT: no new requests, and streams are finished within AGENTCHAT_DRAIN; SIGQUIT:
#                     the end at once; SIGHUP: a graceful restart, which reads AGENTCHAT_CONF_DIR again
#   configtest        checks the variables and the configuration
#   PROGRAM ...       another program of the image, as agentchat-keys
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
export TZ=UTC
run=${TMPDIR:-/tmp}/agentchat

if [ $# -gt 0 ] && [ "$1" != configtest ]; then exec "$@"; fi
# The first process of a container ignores what it does not catch.
trap 'exit 0' TERM INT

problems=()
problem() { problems+=("$*"); }
has() { [ -n "${!1:-}" ]; }

# ---- variables ----
defines=()
known=" "
while read -r name form words; do
    case $name in '' | '#'*) continue ;; esac
    known+="$name "
    # An empty value is none.
    if ! has "$name"; then
        unset "$name"
        continue
    fi
    case $name in
    AGENTCHAT_KEYS | AGENTCHAT_INSTRUCTIONS) broken=false ;;
    *) if [[ ${!name} == *[[:cntrl:]\"]* ]]; then broken=true; else broken=false; fi ;;
    esac
    # Values are not shown: some are secrets.
    if $broken || ! [[ ${!name} =~ ^($form)$ ]]; then problem "$name must be: $words"; fi
    defines+=(-D "$name")
done <"$here/variables"

case ${AGENTCHAT_SIGN_IN:-} in
'') problem "AGENTCHAT_SIGN_IN is not set: keys, openid or anonymous" ;;
keys)
    defines+=(-D SIGN_IN_KEYS)
    if has AGENTCHAT_KEYS && has AGENTCHAT_KEYS_FILE; then
        problem "AGENTCHAT_KEYS and AGENTCHAT_KEYS_FILE are set: one of them has the keys"
    elif has AGENTCHAT_KEYS_FILE; then
        [ -r "$AGENTCHAT_KEYS_FILE" ] || problem "AGENTCHAT_KEYS_FILE names a file that the user $(id -u) cannot read"
    elif ! has AGENTCHAT_KEYS; then
        problem "AGENTCHAT_SIGN_IN is keys, and neither AGENTCHAT_KEYS nor AGENTCHAT_KEYS_FILE is set"
    fi
    ;;
openid)
    defines+=(-D SIGN_IN_OPENID)
    for name in OPENID_ISSUER OPENID_JWKS OPENID_AUDIENCE; do
        has $name || problem "AGENTCHAT_SIGN_IN is openid, and $name is not set"
    done
    if ! has OPENID_SCOPE; then
        export OPENID_SCOPE=Chat
        defines+=(-D OPENID_SCOPE)
    fi
    ;;
anonymous) defines+=(-D SIGN_IN_ANONYMOUS) ;;
esac

if has AGENTCHAT_MODEL_ENDPOINT; then
    defines+=(-D MODEL_COMPATIBLE)
    export AGENTCHAT_MODEL_NAME=${AGENTCHAT_MODEL_NAME:-default}
elif has AZURE_OPENAI_ENDPOINT; then
    defines+=(-D MODEL_AZURE)
    has AZURE_OPENAI_DEPLOYMENT_NAME || problem "AZURE_OPENAI_ENDPOINT is set, and AZURE_OPENAI_DEPLOYMENT_NAME is not"
    export AZURE_OPENAI_API_VERSION=${AZURE_OPENAI_API_VERSION:-v1}
elif has OPENAI_API_KEY; then
    defines+=(-D MODEL_OPENAI)
    export OPENAI_MODEL=${OPENAI_MODEL:-gpt-4o-mini}
elif [ "${AGENTCHAT_DEMO:-}" = on ]; then
    defines+=(-D MODEL_DEMO)
else
    problem "there is no model: set AGENTCHAT_MODEL_ENDPOINT, AZURE_OPENAI_ENDPOINT, OPENAI_API_KEY, or AGENTCHAT_DEMO=on for a" \
        "demonstration without one"
fi

if [ "${AGENTCHAT_TELEMETRY_IDENTITY:-}" = on ]; then
    defines+=(-D TELEMETRY_IDENTITY)
    has APPLICATIONINSIGHTS_CONNECTION_STRING ||
        problem "AGENTCHAT_TELEMETRY_IDENTITY is on, and APPLICATIONINSIGHTS_CONNECTION_STRING is not set"
fi
if has AGENTCHAT_CONF_DIR; then
    compgen -G "$AGENTCHAT_CONF_DIR/*.conf" >/dev/null || problem "AGENTCHAT_CONF_DIR names a directory without a file *.conf"
fi
export PORT=${PORT:-8080} AGENTCHAT_SERVER_NAME=${AGENTCHAT_SERVER_NAME:-localhost}
[ "$(id -u)" != 0 ] || problem "the image runs as a user that is not root, such as 33"
if ! mkdir -p "$run/htdocs" 2>/dev/null || ! [ -w "$run" ]; then problem "${run%/*} cannot be written: mount a tmpfs there"; fi

# ---- standard output is a stream of JSON objects ----
say() { echo "entrypoint: $*" >&2; }
if [ $# = 0 ]; then
    exec 3>&1
    exec > >(exec 3>&1- >&3; exec perl "$here/json-log.pl") 2>&1 3>&-
    logger=$!
fi
finish() {
    if [ -n "${logger:-}" ]; then
        exec >&- 2>&-
        wait "$logger" || true
    fi
    exit "$1"
}

# Names that look like one of ours; Kubernetes makes some for a service called agentchat.
for name in $(compgen -e AGENTCHAT_); do
    case $known$name in *" $name "*) continue ;; esac
    case $name in
    AGENTCHAT_SERVICE_* | AGENTCHAT_PORT | AGENTCHAT_PORT_*) ;;
    *) say "$name is not a variable of this image; the configuration does not use it unless a file in AGENTCHAT_CONF_DIR does" ;;
    esac
done
if [ ${#problems[@]} -gt 0 ]; then
    for text in "${problems[@]}"; do say "$text"; done
    finish 2
fi

# ---- files ----
umask 077
rm -f "$run/httpd.pid"
export HERE=$here RUN=$run KEYS=${AGENTCHAT_KEYS_FILE:-$run/keys} INSTRUCTIONS=$run/instructions
if has AGENTCHAT_KEYS; then printf '%s\n' "$AGENTCHAT_KEYS" >"$run/keys"; fi
case ${AGENTCHAT_INSTRUCTIONS:-} in
file:*) INSTRUCTIONS=${AGENTCHAT_INSTRUCTIONS#file:} ;;
*) printf '%s\n' "${AGENTCHAT_INSTRUCTIONS:-You are a helpful assistant.}" >"$run/instructions" ;;
esac
unset AGENTCHAT_KEYS

httpd=$(PATH=$PATH:/usr/sbin command -v apache2 || PATH=$PATH:/usr/sbin command -v httpd)
start=("$httpd" -f "$here/httpd.conf" "${defines[@]}")
if [ $# -gt 0 ]; then exec "${start[@]}" -t; fi

# ---- the server ----
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true
# A process group of its own: a terminal's signals come to this script only, and a terminal whose size changes sends SIGWINCH.
set -m
"${start[@]}" -DFOREGROUND &
pid=$!
set +m

lives() { kill -0 "$pid" 2>/dev/null; }
# Until httpd has begun, SIGWINCH means nothing to it.
catches_winch() {
    local name value
    while read -r name value; do
        [ "$name" != SigCgt: ] || return $((16#$value >> 27 & 1 ^ 1))
    done <"/proc/$pid/status"
    return 1
}
drain() {
    # A second SIGWINCH would end the streams.
    trap '' TERM INT
    until catches_winch 2>/dev/null || ! lives; do sleep 0.05; done
    kill -WINCH "$pid" 2>/dev/null || true
}
trap drain TERM INT
trap 'kill -TERM "$pid" 2>/dev/null || true' QUIT
trap 'kill -USR1 "$pid" 2>/dev/null || true' HUP

# A signal ends a wait early.
while lives; do wait "$pid" || true; done
status=0
wait "$pid" || status=$?
finish "$status"
