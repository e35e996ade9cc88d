#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds the module, its tools and the unit programs for arm64 with Debian's cross compiler, and runs the unit programs under qemu-user. It
# installs libraries of that architecture, so it changes the system that it runs in; make arm64 runs it in a temporary one: tests/fresh.sh.
#
#   tests/cross.sh
set -euo pipefail

arch=arm64 triplet=aarch64-linux-gnu runner=qemu-aarch64-static
cd "$(dirname "$0")/.."
build=build/$arch

export DEBIAN_FRONTEND=noninteractive
dpkg --add-architecture "$arch"
apt-get -q update >/dev/null
libraries=(libapr1-dev libaprutil1-dev libcurl4-openssl-dev libjansson-dev libssl-dev libsqlite3-dev libhiredis-dev libyaml-dev zlib1g-dev libcmocka-dev)
apt-get -qy install --no-install-recommends make python3 "gcc-$triplet" qemu-user-static "${libraries[@]/%/:$arch}" >/dev/null

# apache2-dev wants the libraries of this machine's own architecture, too; its headers are enough.
mkdir -p "$build/apache2"
(cd "$build/apache2" && apt-get -q download "apache2-dev:$arch" >/dev/null && dpkg -x apache2-dev_*.deb .)

flags=(CC=$triplet-gcc AR=$triplet-ar BUILD="$build" WERROR=-Werror
       APXS_FLAGS="-DLINUX -D_REENTRANT -D_GNU_SOURCE -D_LARGEFILE64_SOURCE -I$build/apache2/usr/include/apache2 -I/usr/include/apr-1.0")
make --no-print-directory -j"${JOBS:-$(nproc)}" "${flags[@]}" module tools unit-programs

# Programs about killed processes: qemu-user shows a process another /proc/self/stat than other processes see of it, and no mutex of a
# killed process becomes free. On a busy machine further tests of theirs come too late.
left_out='test_(cache_memory|cosmos_leases|cosmos_processes|cosmos_store|limit_table|sqlite_processes)'
programs=$(basename -s .c tests/unit/test_*.c | grep -vxE "$left_out" | sed "s,^,$build/unit/,")
make --no-print-directory "${flags[@]}" RUNNER="$runner" UNIT_BIN="${programs//$'\n'/ }" unit
echo "cross: well on $arch, without $left_out"
