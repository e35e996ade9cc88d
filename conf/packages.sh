#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs the missing packages to build and run (packages.sh run), to build, run and test (packages.sh check), or what the tests of hours
# need, too (packages.sh long).
set -euo pipefail

usage() { echo "usage: $0 run|check|long" >&2; exit 2; }
[ $# = 1 ] || usage

# No package starts or enables anything: on Debian apache2-bin is the server without its system service, and nothing in /etc is used.
# Of packages that would, only the libraries are installed; tests unpack the rest below the build folder (tests/httpd/peers.py).
debian_run=(apache2-bin apache2-dev libcurl4-openssl-dev libjansson-dev libssl-dev libsqlite3-dev libhiredis-dev libyaml-dev zlib1g-dev gcc libc6-dev make
            ca-certificates curl)
debian_check=(libcmocka-dev python3 python3-pytest python3-pytest-xdist python3-requests python3-yaml python3-jsonschema chromium
              valgrind sqlite3 openssl rpm rpmlint libcjose0 redis-tools libtool
              apache2-utils protobuf-compiler poppler-utils)
debian_long=(dpkg-dev debhelper elfutils clang libclang-rt-dev strace debootstrap buildah bubblewrap)
fedora_run=(httpd httpd-devel libcurl-devel jansson-devel openssl-devel sqlite-devel hiredis-devel libyaml-devel zlib-devel gcc make
            redhat-rpm-config ca-certificates curl)
fedora_check=(libcmocka-devel python3 python3-pytest python3-pytest-xdist python3-requests python3-pyyaml python3-jsonschema
              chromium valgrind sqlite openssl mod_ssl mod_http2 rpm-build rpmlint systemd-rpm-macros mod_auth_openidc redis libtool
              protobuf-compiler poppler-utils)
fedora_long=(clang compiler-rt strace debootstrap buildah bubblewrap)

case $1 in
run) why="to build and run mod_agentchat" ;;
check | long) why="to build, run and test mod_agentchat" ;;
*) usage ;;
esac

# Other versions format a few lines differently; Debian 13 has only those, and the tests of the form are skipped there.
if grep -qsx 'VERSION_CODENAME=bookworm' /etc/os-release; then debian_check+=(clang-format-15); fi

# Other projects' programs that the tests talk with; any installation of them is accepted.
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    debian_check+=(nodejs npm)
    fedora_check+=(nodejs npm)
fi

missing=()
if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
    wanted=("${debian_run[@]}")
    [ "$1" = run ] || wanted+=("${debian_check[@]}")
    [ "$1" != long ] || wanted+=("${debian_long[@]}")
    # One call: unknown names go to stderr and count as missing.
    installed=" $(dpkg-query -W -f='${db:Status-Status}:${Package} ' "${wanted[@]}" 2>/dev/null || true)"
    for name in "${wanted[@]}"; do
        [[ $installed == *" installed:$name "* ]] || missing+=("$name")
    done
    update=(apt-get update -q)
    install=(env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends)
elif command -v rpm >/dev/null && command -v dnf >/dev/null; then
    wanted=("${fedora_run[@]}")
    [ "$1" = run ] || wanted+=("${fedora_check[@]}")
    [ "$1" != long ] || wanted+=("${fedora_long[@]}")
    for name in "${wanted[@]}"; do
        rpm -q --whatprovides "$name" >/dev/null 2>&1 || missing+=("$name")
    done
    update=()
    install=(dnf install -y --setopt=install_weak_deps=False)
    # Some -devel packages of RHEL and its rebuilds are in a repository that is off by default.
    if dnf repolist --all 2>/dev/null | grep -q '^crb '; then install+=(--enablerepo=crb); fi
else
    echo "packages: neither apt nor dnf is here; install by hand what Debian calls: ${debian_run[*]}" >&2
    exit 0
fi
[ ${#missing[@]} -gt 0 ] || exit 0

echo "packages: installing ${missing[*]}, $why"
sudo=()
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "packages: this needs root, and there is no sudo; as root run: ${install[*]} ${missing[*]}" >&2
        exit 1
    fi
    sudo=(sudo)
fi
if [ ${#update[@]} -gt 0 ]; then "${sudo[@]}" "${update[@]}"; fi
"${sudo[@]}" "${install[@]}" "${missing[@]}"
