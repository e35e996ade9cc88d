#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The two commands of README.md on a machine that has nothing yet: a Debian of debootstrap's (minbase, git, make, ca-certificates), with a
# clone of the last commit in it. `make run` has to answer the curl that it prints, `make check` to pass, and nothing of the machine may be
# switched on by them. Root only. Its mounts and processes are in namespaces of their own, and end with it.
#
#   tests/fresh.sh bookworm|trixie [COMMAND]    COMMAND, in the clone, takes the place of all that
#
# FRESH_DIR (build/fresh) keeps debootstrap's result and what apt and npm fetched for the next time; the machine made of it stays to be
# looked at, and is made again each time. What a COMMAND writes to /root/out is there for the next one, too. Mirrors, proxies and certificates are those of this machine.
set -euo pipefail

fail() { echo "fresh: $*" >&2; exit 1; }

# ---- inside of it ----
# What it prints at its start is what people paste.
try_run() {
    # A shell without a terminal starts what is in the background deaf to SIGINT.
    env --default-signal=INT,QUIT make run >/tmp/run.log 2>&1 &
    local make=$! tries
    for ((tries = 0; tries < 3000; tries++)); do
        if grep -q 'Ctrl-C stops it' /tmp/run.log || ! kill -0 "$make" 2>/dev/null; then break; fi
        sleep 0.2
    done
    tail -n 25 /tmp/run.log
    grep -q 'Ctrl-C stops it' /tmp/run.log || fail "make run did not start a server"
    sed -n '/^ *curl -N/,/^$/p' /tmp/run.log >/tmp/try.sh
    bash -e /tmp/try.sh >/tmp/answer.txt || fail "the curl that make run prints fails"
    grep -q '"type":"done"' /tmp/answer.txt || fail "the curl that make run prints has no answer: $(cat /tmp/answer.txt)"
    kill -INT "$make"
    wait "$make" || true
    if (exec 3<>/dev/tcp/127.0.0.1/8080) 2>/dev/null; then fail "make run continues after a signal"; fi
    echo "fresh: make run answered and stopped"
}

# Units and start scripts that are switched on, but for those that come with libraries (pdftotext brings gpg-agent) and the system itself.
nothing_is_enabled() {
    local link package bad=0
    for link in /etc/apache2/*-enabled/* /etc/systemd/system/*.wants/* /etc/systemd/user/*.wants/* /etc/rc?.d/S*; do
        [ -e "$link" ] || [ -L "$link" ] || continue
        # dpkg may know it by the name that it had before /lib became a link.
        package=$(readlink -f "$link")
        package=$(dpkg -S "$package" "${package#/usr}" 2>/dev/null | head -n 1 | cut -d: -f1 || true)
        case $package in
        systemd* | libpam-systemd | dbus* | udev | util-linux* | e2fsprogs | man-db | x11-common | dpkg | apt | procps | kmod | libc-bin | p11-kit* | dconf* | at-spi2* | gpg | gpg-agent | dirmngr) ;;
        *) echo "fresh: $link is switched on, of ${package:-no package}"; bad=1 ;;
        esac
    done
    [ "$bad" = 0 ] || fail "the two commands changed the machine"
    echo "fresh: nothing is switched on"
}

if [ "${1:-}" = inside ]; then
    cd "$(dirname "$0")/.."
    shift
    if [ $# -gt 0 ]; then exec bash -c "$*"; fi
    try_run
    status=0
    make check || status=$?
    nothing_is_enabled
    exit "$status"
fi

# ---- outside ----
[ $# -ge 1 ] || fail "usage: $0 bookworm|trixie [COMMAND]"
system=$1
shift
[ "$(id -u)" = 0 ] || fail "mounts need root"
command -v debootstrap >/dev/null || fail "there is no debootstrap: apt-get install debootstrap"
top=$(cd "$(dirname "$0")/.." && pwd)
dir=${FRESH_DIR:-$top/build/fresh}
root=$dir/$system
mkdir -p "$dir/apt-$system" "$dir/npm" "$dir/out-$system"

# The machine's own sources with the other name; without them debootstrap's own.
host=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
sources=()
for file in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
    if [ -n "$host" ] && grep -qsw "$host" "$file"; then sources+=("$file"); fi
done
mirror=$(cat "${sources[@]}" /dev/null | sed -nE 's/^(URIs: *|deb +(\[[^]]*\] *)?)([^ ]+).*/\3/p' | head -n 1)

base=$dir/$system.tar
if [ ! -e "$base" ]; then
    rm -rf "$root"
    debootstrap --variant=minbase --include=git,make,ca-certificates "$system" "$root" ${mirror:+"$mirror"} >"$dir/$system.log" 2>&1 ||
        { tail -n 5 "$dir/$system.log" >&2; fail "debootstrap has failed: $dir/$system.log"; }
    tar -C "$root" --one-file-system -cf "$base.part" .
    mv "$base.part" "$base"
fi
rm -rf --one-file-system "$root"
mkdir -p "$root"
tar -C "$root" -xf "$base"

for file in "${sources[@]}"; do
    rm -f "$root/etc/apt/sources.list"
    sed "s/\b$host\b/$system/g" "$file" >"$root${file}"
done
for file in /etc/apt/apt.conf /etc/apt/apt.conf.d/*; do
    # Those of packages come with them.
    if grep -qsE '^ *Acquire::' "$file" && ! dpkg -S "$file" >/dev/null 2>&1; then cp "$file" "$root$file"; fi
done
for file in /etc/resolv.conf /etc/hosts /etc/npmrc; do
    if [ -e "$file" ]; then cp -L "$file" "$root$file"; fi
done
# One certificate a file: what the machine trusts, the fresh one does.
awk -v to="$root/usr/local/share/ca-certificates/host" '/BEGIN CERT/ { n++ } n { print >(to "-" n ".crt") }' \
    /etc/ssl/certs/ca-certificates.crt
git -C "$top" bundle create -q "$root/root/clone.bundle" HEAD

keep=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM="${TERM:-dumb}" LANG=C.UTF-8
      npm_config_cafile=/etc/ssl/certs/ca-certificates.crt NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt)
for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY JOBS V; do
    if [ -n "${!name:-}" ]; then keep+=("$name=${!name}"); fi
done
if command -v npm >/dev/null; then keep+=("npm_config_registry=$(npm config get registry 2>/dev/null)"); fi

export root dir system
# shellcheck disable=SC2016
exec unshare --mount --propagation private --pid --fork --kill-child env -i "${keep[@]}" root="$root" dir="$dir" system="$system" \
    bash -euc '
    mount -t proc proc "$root/proc"
    mount -t sysfs -o ro sysfs "$root/sys"
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    for node in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "$root/dev/${node%:*}" c 1 "${node#*:}"; done
    mknod -m 666 "$root/dev/tty" c 5 0
    mkdir "$root/dev/pts" "$root/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
    mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    for n in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${n%:*}" "$root/dev/${n#*:}"; done
    mkdir -p "$root/root/.npm"
    mount --bind "$dir/apt-$system" "$root/var/cache/apt/archives"
    mount --bind "$dir/npm" "$root/root/.npm"
    mkdir -p "$root/root/out"
    mount --bind "$dir/out-$system" "$root/root/out"
    # What is kept for the next time, apt would remove.
    echo "Binary::apt::APT::Keep-Downloaded-Packages \"true\"; APT::Keep-Downloaded-Packages \"true\";" >"$root/etc/apt/apt.conf.d/99keep"
    rm -f "$root/etc/apt/apt.conf.d/docker-clean"
    cd "$root"
    unset root dir system
    exec chroot . bash -euc "cd /root && update-ca-certificates >/dev/null 2>&1
        git clone -q clone.bundle mod_agentchat && exec mod_agentchat/tests/fresh.sh inside \"\$@\"" inside "$@"' inside "$@"
