#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `make image`: builds the container image of the working folder with buildah or Docker. Into DIR go the image as an OCI archive and
# the list of its contents.
#
#   conf/container/image.sh DIR VERSION
#   BASE=, SNAPSHOT=      as in Containerfile
#   SOURCE_DATE_EPOCH=    the time of all files; by default that of the last commit
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=$1
name=mod-agentchat:$2
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
archive=$dir/mod-agentchat-$2.tar
rm -rf "$archive" "$dir/oci"
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGES)}
arguments=()
for variable in BASE SNAPSHOT; do
    if [ -n "${!variable:-}" ]; then arguments+=(--build-arg "$variable=${!variable}"); fi
done

sbom=/usr/share/agentchat/sbom.cdx.json
if command -v buildah >/dev/null; then
    buildah build --format oci --timestamp "$epoch" "${arguments[@]}" -t "$name" -t mod-agentchat -f Containerfile .
    buildah push -q "$name" "oci:$dir/oci:$name"
    container=$(buildah from --pull-never "$name")
    buildah run "$container" -- cat $sbom >"$dir/sbom.cdx.json"
    buildah rm "$container" >/dev/null
elif command -v docker >/dev/null; then
    # The times of all files need a builder that can export this form: docker buildx create --use.
    SOURCE_DATE_EPOCH=$epoch docker buildx build "${arguments[@]}" -t "$name" -t mod-agentchat -f Containerfile \
        --output "type=oci,dest=$dir/oci,tar=false,rewrite-timestamp=true" --load .
    docker run --rm --entrypoint cat "$name" $sbom >"$dir/sbom.cdx.json"
else
    echo 'image: neither buildah nor docker is here' >&2
    exit 1
fi
tar --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX -C "$dir/oci" -cf "$archive" .
rm -rf "$dir/oci"
(cd "$dir" && sha256sum "${archive##*/}" sbom.cdx.json | tee SHA256SUMS)
