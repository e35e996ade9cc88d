#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A step of Containerfile: prints the list of what the image contains (SBOM), in the form of CycloneDX 1.5.
set -eu
. /etc/os-release
version=$(cat "$(dirname "$0")/../version")
cat <<END
{
  "bomFormat": "CycloneDX",
  "specVersion": "1.5",
  "version": 1,
  "metadata": {
    "component": {"bom-ref": "image", "type": "container", "name": "mod-agentchat", "version": "$version"}
  },
  "components": [
    {"bom-ref": "system", "type": "operating-system", "name": "$ID", "version": "$VERSION_ID"},
END
dpkg-query -W -f='${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\t${source:Package}\n' | LC_ALL=C sort |
    awk -F '\t' -v codename="$VERSION_CODENAME" '$1 == "installed" {
        version = $3
        gsub(/%/, "%25", version); gsub(/\+/, "%2B", version); gsub(/:/, "%3A", version)
        purl = "pkg:deb/debian/" $2 "@" version "?arch=" $4 "&distro=" codename
        gsub(/\+/, "%2B", purl)
        printf "    {\"bom-ref\": \"%s\", \"type\": \"library\", \"name\": \"%s\", \"version\": \"%s\", \"purl\": \"%s\"},\n", purl, $2, $3, purl
    }'
cat <<END
    {
      "bom-ref": "pkg:generic/mod_agentchat@$version", "type": "application", "name": "mod_agentchat", "version": "$version",
      "purl": "pkg:generic/mod_agentchat@$version", "licenses": [{"license": {"id": "Apache-2.0"}}]
    }
  ]
}
END
