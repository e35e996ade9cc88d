#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The packages of Debian, on machines that have nothing else: tests/fresh.sh makes each of them, and calls this there. make check-packages.
#
#   tests/packages.sh build      builds them twice, compares, looks at them with lintian, and leaves them in /root/out
#   tests/packages.sh install    installs what is in /root/out: to the first answer, with the time; then upgrade, removal, purge, autopkgtest,
#                                and the drop-ins under a systemd of its own
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
out=/root/out
name=libapache2-mod-agentchat
state=/var/lib/agentchat
export DEBIAN_FRONTEND=noninteractive

say() { echo "packages: $*"; }
fail() { say "$*" >&2; tail -n 20 /var/log/apache2/error.log 2>/dev/null >&2 || true; exit 1; }
quietly() { "$@" >/tmp/said 2>&1 || { cat /tmp/said >&2; fail "failed: $*"; }; }
status() { curl -s -o /dev/null -w '%{http_code}' "http://localhost$1"; }
chat() {
    curl -sSN "http://localhost/api/agents/$1/chat" -H 'Content-Type: application/json' -d '{"message": "What is 18% tip on 75 euros?"}'
}

# ---- build ----
build() {
    cd "$top"
    quietly apt-get update -q
    quietly apt-get install -qy --no-install-recommends dpkg-dev lintian
    quietly apt-get build-dep -qy --no-install-recommends -P nocheck ./
    rm -rf "${out:?}"/*
    quietly make deb DEB_FLAGS=-Pnocheck
    find build/deb -maxdepth 1 -type f -exec cp -t "$out" {} +
    # The second time, with the unit tests, all that may differ between two machines does.
    quietly apt-get build-dep -qy --no-install-recommends ./
    cp -a "$top" /tmp/elsewhere
    (cd /tmp/elsewhere && umask 027 && TZ=Asia/Tokyo LC_ALL=C USER=other quietly make deb)
    for file in "$out"/*.deb "$out"/*.dsc "$out"/*.tar.xz; do
        cmp "$file" "/tmp/elsewhere/build/deb/${file##*/}" || fail "the second build is another one"
    done
    quietly make deb DEB_FLAGS=-S DEB_MAINTAINER='A Distributor <packages@example.org>'
    grep -q '^Maintainer: A Distributor <packages@example.org>$' build/deb/*.dsc || fail "DEB_MAINTAINER is not in the package"
    say "built without the unit tests and with them, and the same: $(cd "$out" && echo ./*.deb)"
    lintian --fail-on error,warning --tag-display-limit 0 --allow-root "$out"/*.changes || fail "lintian is not content"
    say "lintian $(dpkg-query -W -f '${Version}' lintian) has nothing to say"
}

# ---- install ----
# A newer version of the package, with another text in a file that an administrator may have changed.
make_newer() {
    local of=/tmp/newer
    dpkg-deb -R "$out/${name}"_*.deb "$of"
    sed -i 's/^Version: .*/&+newer/' "$of/DEBIAN/control"
    echo '# newer' >>"$of/etc/apache2/mods-available/agentchat.conf"
    dpkg-deb -b "$of" /tmp/newer.deb >/dev/null
}

# With the first configuration of README.md.
first_answer() {
    local begin=$EPOCHREALTIME installed answered
    quietly apt-get update -q
    quietly apt-get install -qy "$out/${name}"_*.deb
    installed=$EPOCHREALTIME
    command -v curl >/dev/null || quietly apt-get install -qy --no-install-recommends curl
    [ "$(status /)" = 200 ] || fail "httpd does not serve its own page"
    [ "$(status /api/health)" = 404 ] || fail "the package has configured something"
    local start=$EPOCHREALTIME
    sed '1,/^```apache$/d; /^```$/,$d' "$top/README.md" >/etc/agentchat/conf.d/chat.conf
    quietly a2enmod headers
    quietly apache2ctl configtest
    service apache2 restart >/dev/null
    chat assistant >/tmp/answer || fail "there is no answer"
    answered=$EPOCHREALTIME
    grep -q '"type":"done"' /tmp/answer || fail "the answer has no end: $(cat /tmp/answer)"
    awk -v a="$begin" -v b="$installed" -v c="$start" -v d="$answered" \
        'BEGIN { printf "packages: apt install took %.1f s, restart and answer %.1f s\n", b - a, d - c }'
}

# An answer under way continues while the package is replaced.
upgrade() {
    cat >/etc/agentchat/conf.d/slow.conf <<'END'
<AgentChatModel slow>
    AgentChatProvider demo
    AgentChatEndpoint demo pace=1000
</AgentChatModel>
<AgentChatAgent slow>
    AgentChatModel slow
</AgentChatAgent>
END
    service apache2 restart >/dev/null
    : >/tmp/answer
    chat slow >/tmp/answer &
    local client=$!
    until grep -q '"type":"token"' /tmp/answer; do
        kill -0 "$client" 2>/dev/null || fail "there is no answer"
        sleep 0.1
    done
    quietly apt-get install -qy /tmp/newer.deb
    ! grep -q '"type":"done"' /tmp/answer || fail "the answer had ended before the upgrade"
    wait "$client" || fail "the upgrade cuts off an answer"
    grep -q '"type":"done"' /tmp/answer || fail "the upgrade ends an answer: $(tail -n 3 /tmp/answer)"
    grep -q '^# newer' /etc/apache2/mods-available/agentchat.conf || fail "an unchanged configuration is not upgraded"
    cmp -s /etc/agentchat/page/custom.css /tmp/custom.css || fail "the upgrade changes a file of the administrator's"
    [ "$(status /api/threads)" = 200 ] || fail "no answer after the upgrade"
    a2dismod -q agentchat
    quietly apt-get install -qy --reinstall /tmp/newer.deb
    if a2query -q -m agentchat; then fail "an upgrade enables what an administrator has disabled"; fi
    a2enmod -q agentchat
    say "upgraded"
}

# remove, install, purge: conversations stay in each case.
remove() {
    local threads
    threads=$(curl -sS http://localhost/api/threads | grep -o 'thread_[0-9a-z]*' | sort)
    [ -n "$threads" ] || fail "there are no conversations"
    quietly apt-get remove -qy "$name"
    quietly apache2ctl configtest
    [ "$(status /)" = 200 ] && [ "$(status /api/health)" = 404 ] || fail "the removal leaves something that httpd serves"
    quietly apt-get install -qy /tmp/newer.deb
    [ "$(curl -sS http://localhost/api/threads | grep -o 'thread_[0-9a-z]*' | sort)" = "$threads" ] || fail "conversations are lost"
    quietly apt-get purge -qy "$name"
    grep -q "the conversations in $state stay" /tmp/said || fail "the purge does not say what stays"
    [ -s "$state/agentchat.db" ] && [ -s /etc/agentchat/conf.d/chat.conf ] || fail "the purge deletes what it did not install"
    for path in /etc/apache2/mods-*/agentchat.* /etc/agentchat/page /usr/share/agentchat /usr/bin/agentchat-*; do
        [ ! -e "$path" ] && [ ! -L "$path" ] || fail "the purge leaves $path"
    done
    [ "$(status /)" = 200 ] || fail "httpd does not serve its own page after the purge"
    rm -rf "$state" /etc/agentchat/conf.d/*.conf
    quietly apt-get install -qy /tmp/newer.deb
    quietly apt-get purge -qy "$name"
    [ ! -e "$state" ] && [ ! -e /etc/agentchat ] || fail "the purge leaves empty folders"
    say "removed and purged"
}

install() {
    # What tests/fresh.sh needed may not be what the package relies on.
    cd /tmp
    quietly apt-get purge -qy --autoremove git make
    if (exec 3<>/dev/tcp/127.0.0.1/80) 2>/dev/null; then fail "port 80 is taken by another program of this machine"; fi
    # Without an init system packages start and reload services only if this program allows it.
    printf '#!/bin/sh\nexit 0\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    make_newer
    first_answer
    echo ':root { --accent: #14532d; }' | tee /etc/agentchat/page/custom.css >/tmp/custom.css
    upgrade
    remove
    service apache2 stop >/dev/null
    quietly apt-get install -qy --no-install-recommends autopkgtest
    # Here, and without a container around it: this machine is made again each time.
    quietly autopkgtest --ignore-restrictions=breaks-testbed,isolation-container --no-built-binaries "$out/${name}"_*.deb "$out"/*.dsc -- null
    grep -q '^stream *PASS' /tmp/said || fail "autopkgtest has not run the test"
    say "autopkgtest passes"
}

case ${1:-} in
build | install) "$1" ;;
*) echo "usage: $0 build|install" >&2; exit 2 ;;
esac
