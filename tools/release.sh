#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# make release TAG=v0.2.0: the files of a version that are published, made from its tag alone. The same tag and the same versions of the
# tools give the same bytes.
#
#   tools/release.sh TAG DIR [PART...]    without a PART: all of them
#
#   source  mod_agentchat-VERSION.tar.gz, and what it contains and needs (SBOM, CycloneDX): mod_agentchat-VERSION.cdx.json
#   deb     Debian's packages, for the Debian or Ubuntu that this is, and their source
#   rpm     the source package; on Fedora, RHEL and their kin also the packages
#   image   the container image, and what it contains
#
# SHA256SUMS has the sums of all files. Tests do not run here: docs/internals/release.md has the steps before and after.
set -euo pipefail

fail() { echo "release: $*" >&2; exit 1; }
[ $# -ge 2 ] || fail "usage: $0 TAG DIR [source|deb|rpm|image]..."
tag=$1 dir=$2
shift 2
[ $# -gt 0 ] || set -- source deb rpm image
cd "$(dirname "$0")/.."
git rev-parse -q --verify "refs/tags/$tag" >/dev/null || fail "there is no tag $tag"
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
[ -z "$(ls -A "$dir")" ] || fail "$dir is not empty"

# Source packages for rpm have the name of the folder in them.
work=${TMPDIR:-/tmp}/release-of-mod_agentchat-$tag
mkdir -m 700 "$work" || fail "remove it, unless a release is being made there"
trap 'rm -rf "$work"' EXIT
tree=$work/mod_agentchat
git -c advice.detachedHead=false clone -q --shared --branch "$tag" . "$tree"
version=$(python3 "$tree/tests/guards/set_version.py")
[ "$tag" = "v$version" ] || fail "$tag has the version $version"
name=mod_agentchat-$version
SOURCE_DATE_EPOCH=$(git -C "$tree" log -1 --format=%ct)
export SOURCE_DATE_EPOCH

build() { env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u BUILD make -C "$tree" "$@" >"$work/log" 2>&1 || { tail -n 30 "$work/log" >&2; fail "failed: make $*"; }; }

make_source() {
    git -C "$tree" archive --format=tar --prefix="$name/" HEAD | gzip -9n >"$dir/$name.tar.gz"
    python3 "$tree/tools/sbom.py" "$dir/$name.tar.gz" >"$dir/$name.cdx.json"
}

make_deb() {
    build deb DEB_FLAGS=-Pnocheck
    cp "$tree"/build/deb/*.deb "$tree"/build/deb/*.dsc "$tree"/build/deb/*.tar.xz "$dir/"
}

# Packages that are built on a Debian need its libraries, and are no use elsewhere.
make_rpm() {
    if command -v dnf >/dev/null; then build rpm RPM_FLAGS=--nocheck; else build rpm RPM_FLAGS='-bs --nodeps'; fi
    find "$tree/build/rpm" -name '*.rpm' -exec cp -t "$dir" {} +
}

make_image() {
    build image
    cp "$tree/build/image/mod-agentchat-$version.tar" "$dir/mod-agentchat-$version-image.tar"
    cp "$tree/build/image/sbom.cdx.json" "$dir/mod-agentchat-$version-image.cdx.json"
}

for part in "$@"; do
    case $part in
    source | deb | rpm | image) "make_$part" ;;
    *) fail "there is no part $part" ;;
    esac
done
(cd "$dir" && LC_ALL=C find . -type f ! -name SHA256SUMS -printf '%P\n' | LC_ALL=C sort | xargs sha256sum >SHA256SUMS && cat SHA256SUMS)
