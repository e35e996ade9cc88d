#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds releases of httpd from source, for `make older-httpd`: event, worker and prefork, with mod_ssl, mod_http2 and the modules that
# the tests of delivery load. Prints the prefix of each; one that is there already is not built again.
#
#   tests/older_httpd.sh VERSION...
#
# OLDER_DIR (build/older) gets sources, builds and prefixes. HTTPD_SOURCES: a folder with httpd-VERSION.tar.gz, .tar.bz2 or
# httpd-VERSION/, or a clone of httpd's repository with its tags; without it the releases come from https://archive.apache.org.
# Needs what the module's build needs, and libpcre2-dev, libpcre3-dev (httpd before 2.4.53), libnghttp2-dev, libssl-dev, zlib1g-dev;
# from a clone also autoconf, automake and libtool.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
dir=${OLDER_DIR:-$top/build/older}
jobs=${JOBS:-$(nproc)}
modules='ssl http2 deflate filter substitute ratelimit reqtimeout expires env setenvif headers mime dir alias rewrite unixd log_config logio
         authn_core authz_core authz_host authz_user auth_basic authn_file proxy proxy_http status unique_id socache_shmcb'

fail() { echo "older_httpd: $*" >&2; exit 1; }

# The unpacked source of a version in the folder $2.
unpack() {
    local version=$1 to=$2 archive from=${HTTPD_SOURCES:-}
    if [ -z "$from" ]; then
        from=$dir/sources
        mkdir -p "$from"
        archive=httpd-$version.tar.gz
        if [ ! -e "$from/$archive" ]; then
            curl -fsSL -o "$from/$archive.part" "https://archive.apache.org/dist/httpd/$archive" || fail "$archive cannot be downloaded"
            mv "$from/$archive.part" "$from/$archive"
        fi
    fi
    mkdir -p "$to"
    if git -C "$from" rev-parse -q --verify "refs/tags/$version" >/dev/null 2>&1; then
        git -C "$from" archive "$version" | tar -C "$to" -x
    elif [ -d "$from/httpd-$version" ]; then
        cp -a "$from/httpd-$version/." "$to"
    else
        archive=$(ls "$from/httpd-$version".tar.* 2>/dev/null | head -n 1)
        [ -n "$archive" ] || fail "$from has no httpd $version"
        tar -C "$to" --strip-components=1 -xf "$archive"
    fi
}

build() {
    local version=$1 prefix=$2 source=$dir/source-$1
    rm -rf "$source" "$prefix"
    unpack "$version" "$source"
    cd "$source"
    [ -e configure ] || ./buildconf --with-apr="$(command -v apr-1-config)" # a clone has none
    ./configure --prefix="$prefix" --with-apr="$(command -v apr-1-config)" --with-apr-util="$(command -v apu-1-config)" \
        --enable-mpms-shared='event worker prefork' --enable-modules=none --enable-mods-shared="$(echo $modules)"
    make -j"$jobs"
    make install
}

[ $# -gt 0 ] || fail "usage: $0 VERSION..."
mkdir -p "$dir"
for version in "$@"; do
    prefix=$dir/httpd-$version
    if [ ! -x "$prefix/bin/apxs" ]; then
        (build "$version" "$prefix") >"$dir/$version.log" 2>&1 || { tail -n 15 "$dir/$version.log" >&2; fail "httpd $version: see $dir/$version.log"; }
        rm -rf "$dir/source-$version"
    fi
    echo "$prefix"
done
