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
libraries=(libapr1-dev libaprutil1-dev libcurl4-openssl-dev libjansson-dev libssl-dev libsqlite3-dev libhiredis-dev zlib1g-dev libcmocka-dev)
apt-get -qy install --no-install-recommends make python3 "gcc-$triplet" qemu-user-static "${libraries[@]/%/:$arch}" >/dev/null

# apache2-dev wants the libraries of this machine's own architecture, too; its headers are enough.
mkdir -p "$build/apache2"
(cd "$build/apache2" && apt-get -q download "apache2-dev:$arch" >/dev/null && dpkg -x apache2-dev_*.deb .)

flags=(CC=$triplet-gcc AR=$triplet-ar BUILD="$build" WERROR=-Werror
       APXS_FLAGS="-DLINUX -D_REENTRANT -D_GNU_SOURCE -D_LARGEFILE64_SOURCE -I$build/apache2/usr/include/apache2 -I/usr/include/apr-1.0")
make --no-print-directory -j"${JOBS:-$(nproc)}" "${flags[@]}" module tools unit-programs

# qemu-user shows a process another /proc/self/stat than other processes see of it, and no mutex of a killed process becomes free. Tests
# of these programs may fail, if they are these.
some='test_(cache_memory|cosmos_leases|cosmos_processes|cosmos_store|limit_table|sqlite_processes)'
may_fail='test_(a_child_that_dies_under_the_shared_lock|a_key_is_free_after_a_refusal|a_key_that_leads_to_no_run|a_lease_is_renewed|'
may_fail+='a_process_killed_under_the_lock|a_run_is_checked_now|a_stopped_holder_is_not_waited_for|'
may_fail+='a_turn_that_was_opened_and_not_found_again|a_turn_that_was_opened_without_an_answer|an_outage_ends_no_leases|cancel_from_another_machine|'
may_fail+='killed_writers_harm_no_other_process|one_of_many_gets_the_key|run_of_a_dead_process|run_of_another_process_lives_as_long_as_it)'

names=$(basename -s .c tests/unit/test_*.c)
programs=$(grep -vxE "$some" <<<"$names" | sed "s,^,$build/unit/,")
make --no-print-directory "${flags[@]}" RUNNER="$runner" UNIT_BIN="${programs//$'\n'/ }" unit

bad=0 passed=0
for name in $(grep -xE "$some" <<<"$names"); do
    said=$("$runner" "$build/unit/$name" 2>&1) || true
    passed=$((passed + $(grep -acE '^\[       OK \] ' <<<"$said" || true)))
    if ! grep -aqE '^\[==========\] [0-9]+ test\(s\) run' <<<"$said" ||
        sed -n 's/^\[  FAILED  \] \(test_\)/\1/p' <<<"$said" | grep -avxE "$may_fail"; then
        echo "$said"
        echo "cross: $name fails on $arch" >&2
        bad=1
    fi
done
[ "$bad" = 0 ]
echo "cross: well on $arch; of $(grep -cxE "$some" <<<"$names") further programs $passed tests passed"
