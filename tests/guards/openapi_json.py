# SPDX-License-Identifier: Apache-2.0
"""An OpenAPI document in YAML, as JSON."""
import json
import sys

import yaml


def convert(text):
    return json.dumps(yaml.safe_load(text), ensure_ascii=False, separators=(",", ":")) + "\n"


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        sys.stdout.write(convert(file.read()))
