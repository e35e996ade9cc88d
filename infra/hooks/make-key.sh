#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Before `azd provision`: makes the first API key, unless there are keys or users sign in elsewhere. The environment of azd
# on this computer keeps the key (AGENTCHAT_KEY); Azure gets a line with its hash (AGENTCHAT_KEYS).
set -eu
[ "${AGENTCHAT_SIGN_IN:-keys}" = keys ] || exit 0
[ -z "${AGENTCHAT_KEYS:-}" ] || exit 0
command -v openssl >/dev/null || { echo "make-key: openssl is missing" >&2; exit 1; }
key="ack_first_$(openssl rand -hex 32)"
hash=$(printf %s "$key" | openssl dgst -sha256 -r | cut -d ' ' -f 1)
azd env set AGENTCHAT_KEY "$key"
azd env set AGENTCHAT_KEYS "id=first key=sha256:$hash owner=first roles=admin"
echo "The first API key is AGENTCHAT_KEY of this environment: azd env get-value AGENTCHAT_KEY"
