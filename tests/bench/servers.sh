# SPDX-License-Identifier: Apache-2.0
# The servers that run.sh measures. For each NAME: path and body say how it is asked, start_NAME becomes the server (exec) with
# PORT, SIM, FRONT, DIR, THREADS and MODULES set, missing_NAME prints what it lacks on this machine.
# shellcheck shell=bash disable=SC2034

chat=/api/agents/assistant/chat v1=/api/v1/chat/completions responses=/api/v1/responses ui=/api/ui/chat
completions=/v1/chat/completions
declare -A path body scenarios_of

fill_in() { # template, result
    sed "s|@PORT@|$PORT|g; s|@SIM@|$SIM|g; s|@FRONT@|$FRONT|g; s|@DIR@|$DIR|g; s|@FILES@|$(ulimit -n)|g" "$1" > "$2"
}
httpd_binary() {
    command -v apache2 || command -v httpd
}
lacks() { # program or file, package
    command -v "$1" > /dev/null || [ -e "$1" ] || echo "$1 is missing; install $2"
}

# nginx, the cheapest event-driven proxy: passes the bytes on
path[nginx]=$completions body[nginx]=openai
missing_nginx() { lacks nginx nginx-light; }
start_nginx() {
    fill_in "$here/nginx.conf" "$DIR/nginx.conf"
    exec nginx -e stderr -c "$DIR/nginx.conf"
}

# httpd's mod_proxy_http: passes the bytes on, a thread for each stream
path[apache-proxy]=$completions body[apache-proxy]=openai
missing_apache-proxy() {
    [ -n "$(httpd_binary)" ] || echo "httpd is missing; install apache2"
    lacks "$MODULES/mod_proxy_http.so" "apache2 (mod_proxy_http)"
}
start_apache-proxy() {
    exec "$(httpd_binary)" -f "$here/apache-proxy.conf" -DFOREGROUND
}

# ours
path[module]=$chat body[module]=chat
missing_module() {
    [ -n "$(httpd_binary)" ] || echo "httpd is missing; install apache2"
    lacks "$MODULE" "it with 'make module'"
}
start_module() {
    export STORE="sqlite:$DIR/state/bench.db sync=full"
    cp "$MODULE" "$DIR/mod_agentchat.so"
    exec "$(httpd_binary)" -f "$here/module.conf" -DFOREGROUND
}

# ours, by the protocols of other clients: what each costs beside the native one. Chat completions without a thread are not
# stored, the others are.
path[module-completions]=$v1 body[module-completions]=openai scenarios_of[module-completions]="c100 c1000 max"
missing_module-completions() { missing_module; }
start_module-completions() { start_module; }
path[module-threads]=$v1 body[module-threads]=openai-thread scenarios_of[module-threads]="c100 c1000 max"
missing_module-threads() { missing_module; }
start_module-threads() { start_module; }
path[module-responses]=$responses body[module-responses]=responses scenarios_of[module-responses]="c100 c1000 max"
missing_module-responses() { missing_module; }
start_module-responses() { start_module; }
path[module-ui]=$ui body[module-ui]=ui scenarios_of[module-ui]="c100 c1000 max"
missing_module-ui() { missing_module; }
start_module-ui() { start_module; }

# ours, with a model behind the Responses API
path[module-model-responses]=/api/agents/responding/chat body[module-model-responses]=chat
scenarios_of[module-model-responses]="c100 c1000 max"
missing_module-model-responses() { missing_module; }
start_module-model-responses() { start_module; }

# ours, without event logs: what the logs cost
path[module-nolog]=$chat body[module-nolog]=chat scenarios_of[module-nolog]="c100 c1000"
missing_module-nolog() { missing_module; }
start_module-nolog() {
    export STORE="sqlite:$DIR/state/bench.db sync=full"
    cp "$MODULE" "$DIR/mod_agentchat.so"
    exec "$(httpd_binary)" -f "$here/module.conf" -DNOLOG -DFOREGROUND
}

# ours, with everything exported to a collector that answers; with a tenth of the traces, to one that never does
path[module-traced]=$chat body[module-traced]=chat scenarios_of[module-traced]="c100 c1000 turn"
missing_module-traced() { missing_module; }
start_module-traced() {
    export SAMPLER=always_on
    start_traced
}
path[module-hung]=$chat body[module-hung]=chat scenarios_of[module-hung]="c100 c1000 turn"
missing_module-hung() { missing_module; }
start_module-hung() {
    export SAMPLER=traceidratio=0.1
    start_traced
}
start_traced() {
    export STORE="sqlite:$DIR/state/bench.db sync=full"
    cp "$MODULE" "$DIR/mod_agentchat.so"
    exec "$(httpd_binary)" -f "$here/module.conf" -DTRACED -DFOREGROUND
}

# ours, with HTTP/2 and TLS to the model
path[module-h2]=$chat body[module-h2]=chat scenarios_of[module-h2]=c10k-h2
missing_module-h2() {
    missing_module
    lacks nginx nginx-light
    lacks openssl openssl
}
start_module-h2() {
    export STORE="sqlite:$DIR/state/bench.db sync=full"
    cp "$MODULE" "$DIR/mod_agentchat.so"
    exec "$(httpd_binary)" -f "$here/module.conf" -DHTTP2 -DFOREGROUND
}

# no server: the load client on the simulator itself, which shows the limits of the rig
path[direct]=$completions body[direct]=openai
missing_direct() { :; }
