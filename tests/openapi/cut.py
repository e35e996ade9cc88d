# SPDX-License-Identifier: Apache-2.0
"""Cuts an excerpt out of an OpenAPI document: the operations that are named, unchanged but for examples, code samples, tags and
the schemas of answers, and everything that they refer to.

    python3 cut.py DOCUMENT ORIGIN LICENSE OPERATION... >excerpt.json"""
import json
import sys

import yaml

METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
DROPPED = ("example", "examples", "tags", "externalDocs", "callbacks")


def clean(value):
    if isinstance(value, list):
        return [clean(item) for item in value]
    if not isinstance(value, dict):
        return value
    made = {}
    for name, member in value.items():
        if name == "properties" and isinstance(member, dict):       # names of members are no keywords
            made[name] = {key: clean(schema) for key, schema in member.items()}
        elif name not in DROPPED and not str(name).startswith("x-"):
            made[str(name)] = clean(member)
    return made


def answers(responses):
    """The media types of the answers that are not errors."""
    return {str(code): {"description": answer.get("description", ""),
                        **({"content": {media: {} for media in answer["content"]}} if "content" in answer else {})}
            for code, answer in responses.items() if str(code)[0] == "2" or str(code) == "default"}


def find(document, reference):
    for name in reference[2:].split("/"):
        document = document[name.replace("~1", "/").replace("~0", "~")]
    return document


def references(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for member in value.values():
            yield from references(member)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def follow(document, made):
    waiting, known = list(references(made)), set()
    while waiting:
        reference = waiting.pop()
        if reference in known or not reference.startswith("#/components/"):
            continue
        known.add(reference)
        kind, name = (part.replace("~1", "/").replace("~0", "~") for part in reference[2:].split("/")[1:3])
        found = clean(document["components"][kind][name])
        made.setdefault("components", {}).setdefault(kind, {})[name] = found
        waiting += references(found)


def schemes_of(document, operations):
    wanted = {name for one in [document, *operations] for way in one.get("security", []) for name in way}
    defined = document.get("components", {}).get("securitySchemes", {})
    return {name: clean(defined[name]) for name in sorted(wanted) if name in defined}


def cut(document, origin, license, names):
    made = {"openapi": document["openapi"], "info": {"title": document["info"]["title"],
                                                     "version": document["info"]["version"]},
            "x-origin": origin, "x-license": license}
    made |= {name: clean(document[name]) for name in ("servers", "security") if name in document}
    made["paths"], operations = {}, []
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method not in METHODS or operation.get("operationId") not in names:
                continue
            kept = clean(operation) | {"responses": answers(
                {code: find(document, answer["$ref"]) if "$ref" in answer else answer
                 for code, answer in operation["responses"].items()})}
            operations.append(kept)
            made["paths"].setdefault(path, {name: clean(item[name]) for name in ("parameters", "servers")
                                            if name in item})[method] = kept
    missing = set(names) - {operation.get("operationId") for operation in operations}
    assert not missing, missing
    schemes = schemes_of(document, operations)
    if schemes:
        made["components"] = {"securitySchemes": schemes}
    follow(document, made)
    return made


def main():
    path, origin, license, *names = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        document = json.load(file) if path.endswith("json") else yaml.load(file, Loader=yaml.CSafeLoader)
    json.dump(cut(document, origin, license, names), sys.stdout, indent=1, ensure_ascii=False)
    print()


if __name__ == "__main__":
    main()
