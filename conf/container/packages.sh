#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A step of Containerfile: installs Debian packages, of today or of SNAPSHOT, and removes what differs from one build to the next.
set -eu

sources=/etc/apt/sources.list.d/snapshot.sources
if [ -n "${SNAPSHOT:-}" ]; then
    . /etc/os-release
    mkdir /tmp/sources
    mv /etc/apt/sources.list.d/* /tmp/sources/
    [ ! -e /etc/apt/sources.list ] || mv /etc/apt/sources.list /tmp/
    # Packages are signed: the time of a snapshot is what needs no check.
    for archive in debian debian-security; do
        suites="$VERSION_CODENAME $VERSION_CODENAME-updates"
        [ $archive = debian ] || suites=$VERSION_CODENAME-security
        printf 'Types: deb\nURIs: http://snapshot.debian.org/archive/%s/%s\nSuites: %s\nComponents: main\n' "$archive" "$SNAPSHOT" "$suites"
        printf 'Check-Valid-Until: no\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n'
    done >"$sources"
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends "$@"

if [ -n "${SNAPSHOT:-}" ]; then
    rm "$sources"
    mv /tmp/sources/* /etc/apt/sources.list.d/
    rmdir /tmp/sources
    [ ! -e /tmp/sources.list ] || mv /tmp/sources.list /etc/apt/
fi
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/debconf/*-old /var/lib/dpkg/*-old /var/cache/ldconfig/aux-cache \
    /var/log/apt /var/log/dpkg.log /var/log/alternatives.log /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow-
# Licences stay; manuals and translations have no readers in a container.
find /usr/share/doc -type f ! -name copyright -delete
find /usr/share/doc -depth -type d -empty -delete
rm -rf /usr/share/man/* /usr/share/info/* /usr/share/locale/* /usr/share/lintian
