# SPDX-License-Identifier: Apache-2.0
"""A scripted service that knows its own OpenAPI document: it finds the operation of each request, takes the values out of path,
query, headers, cookies and body by the styles of the document, and checks them with its schemas."""
import email
import email.policy
import json
import re
import threading
from pathlib import Path
from urllib.parse import parse_qsl, unquote

import jsonschema
import yaml

from client import WAIT
from model_server import Reply
from scripted_server import ScriptedServer

EXCERPTS = Path(__file__).resolve().parents[1] / "openapi"


def excerpt(name):
    return json.loads((EXCERPTS / f"{name}.json").read_text())


class Request:
    def __init__(self, method, target, headers, body):
        self.method, self.body = method, body
        self.headers = {name: value.encode("latin-1").decode() for name, value in headers.items()}
        self.path, _, self.query = target.partition("?")
        self.operation, self.values, self.problems = None, {}, []

    json = property(lambda self: json.loads(self.body))


class OpenApiService(ScriptedServer):
    def __init__(self, document):
        self.document = document
        self._lock = threading.Condition()
        self.requests, self.answer = [], None
        self.version = document.get("openapi", "3.0.0")
        super().__init__()

    def last(self):
        with self._lock:
            assert self._lock.wait_for(lambda: self.requests, WAIT), "no request came"
            return self.requests[-1]

    def file(self, folder):
        """The document as a YAML file, with this service as its server."""
        path = Path(folder) / "service.yaml"
        paths = {name: {key: value for key, value in item.items() if key != "servers"}
                 for name, item in self.document["paths"].items()}
        path.write_text(yaml.dump(self.document | {"servers": [{"url": self.url}], "paths": paths}, allow_unicode=True,
                                  sort_keys=False))
        return path

    def _respond(self, connection, method, target, headers, body):
        request = Request(method, target, headers, body)
        answer = self.answer(request) if self.answer else None
        if answer is None:
            self._check(request)
            answer = Reply(400, {"problems": request.problems}) if request.problems else Reply(200, {"fine": request.operation})
        with self._lock:
            self.requests.append(request)
            self._lock.notify_all()
        head = f"HTTP/1.1 {answer.status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        connection.sendall(head.encode() + f"Content-Length: {len(answer.body)}\r\n\r\n".encode() + answer.body)
        return True

    # ---- the document ----
    def follow(self, value):
        while isinstance(value, dict) and "$ref" in value:
            found = self.document
            for name in value["$ref"][2:].split("/"):
                found = found[name.replace("~1", "/").replace("~0", "~")]
            value = found
        return value

    def _schema(self, value):
        """With the nulls of OpenAPI 3.0, and the document for its references."""
        if isinstance(value, list):
            return [self._schema(item) for item in value]
        if not isinstance(value, dict):
            return value
        made = {name: self._schema(member) for name, member in value.items()}
        return {"anyOf": [made, {"type": "null"}]} if value.get("nullable") is True else made

    def _validate(self, request, where, value, schema):
        kind = jsonschema.Draft4Validator if self.version.startswith("3.0") else jsonschema.Draft202012Validator
        whole = {"components": self._schema(self.document.get("components", {})), "allOf": [self._schema(schema)]}
        request.problems += [f"{where}{error.json_path[1:]}: {error.message}" for error in kind(whole).iter_errors(value)]

    def _find(self, request):
        for path, item in self.document["paths"].items():
            form = "".join(part if i % 2 == 0 else f"(?P<p{i}>[^/]+)" for i, part in
                           enumerate(re.split(r"\{([^}]*)\}", re.sub(r"[.*+?()^$|]", r"\\\g<0>", path))))
            names = re.findall(r"\{([^}]*)\}", path)
            match = re.fullmatch(form, request.path)
            if match and request.method.lower() in item:
                return path, item, item[request.method.lower()], dict(zip(names, match.groups()))
        return None, None, None, None

    # ---- values ----
    def _typed(self, text, schema):
        schema = self.follow(schema or {})
        for part in schema.get("allOf", []) + schema.get("anyOf", []) + schema.get("oneOf", []):
            schema = {**self.follow(part), **schema}
        kinds = schema.get("type", "string")
        for kind in kinds if isinstance(kinds, list) else [kinds]:
            if kind == "object":
                return json.loads(text)
            if kind in ("integer", "number"):
                return json.loads(text) if re.fullmatch(r"-?[0-9.e+-]+", text) else text
            if kind == "boolean":
                return {"true": True, "false": False}.get(text, text)
        return text

    def _whole(self, schema):
        schema = self.follow(schema or {})
        kinds = schema.get("type", "")
        return kinds if isinstance(kinds, list) else [kinds], schema

    def _read(self, parameter, pairs, single):
        """pairs: of a query or the cookies; single: the text of a path or a header."""
        where, name = parameter["in"], parameter["name"]
        kinds, schema = self._whole(parameter.get("schema"))
        explode = parameter.get("explode", where in ("query", "cookie"))
        if parameter.get("style") == "deepObject":
            return {re.fullmatch(re.escape(name) + r"\[(.*)\]", key)[1]: value for key, value in pairs
                    if key.startswith(name + "[")} or None
        if where in ("query", "cookie"):
            found = [value for key, value in pairs if key == name]
            if not found:
                return None
            if "array" in kinds:
                separator = {"spaceDelimited": " ", "pipeDelimited": "|"}.get(parameter.get("style"), ",")
                return [self._typed(text, schema.get("items")) for text in
                        (found if explode else found[0].split(separator))]
            assert len(found) == 1, f"{name} comes {len(found)} times"
            return self._typed(found[0], schema)
        if single is None:
            return None
        text = unquote(single) if where == "path" else single
        if "array" in kinds:
            return [self._typed(unquote(part), schema.get("items")) for part in single.split(",")]
        return self._typed(text, schema)

    def _check(self, request):
        path, item, operation, places = self._find(request)
        if operation is None:
            request.problems.append(f"no operation {request.method} {request.path}")
            return
        request.operation = operation.get("operationId", f"{request.method} {path}")
        query = parse_qsl(request.query, keep_blank_values=True, strict_parsing=bool(request.query))
        cookies = [tuple(part.split("=", 1)) for part in request.headers.get("cookie", "").split("; ") if part]
        own = {(p["name"], p["in"]): p for p in map(self.follow, item.get("parameters", []) + operation.get("parameters", []))}
        for (name, where), parameter in own.items():
            single = places.get(name) if where == "path" else request.headers.get(name.lower()) if where == "header" else None
            value = self._read(parameter, cookies if where == "cookie" else query, single)
            if value is None:
                if parameter.get("required") or where == "path":
                    request.problems.append(f"{where} {name} is missing")
                continue
            request.values[name] = value
            self._validate(request, f"{where} {name}", value, parameter.get("schema", {}))
        known = {name for name, where in own if where == "query"}
        keys = {scheme["name"] for scheme in self.document.get("components", {}).get("securitySchemes", {}).values()
                if scheme.get("in") == "query"}
        request.problems += [f"unknown {key} in the query" for key, _ in query if key.split("[")[0] not in known | keys]
        self._check_body(request, self.follow(operation.get("requestBody")))

    def _check_body(self, request, expected):
        kind = request.headers.get("content-type", "").split(";")[0]
        if not expected or not request.body:
            if expected and expected.get("required"):
                request.problems.append("there is no body")
            if request.body and not expected:
                request.problems.append("there is a body")
            return
        media = next((value for name, value in expected["content"].items() if name.split(";")[0] == kind), None)
        if media is None:
            request.problems.append(f"the body is {kind}")
            return
        schema = self.follow(media.get("schema", {}))
        if kind.endswith("json"):
            request.values["body"] = request.json
        elif kind == "application/x-www-form-urlencoded":
            request.values["body"] = self._form(parse_qsl(request.body.decode(), strict_parsing=True), schema, media)
        else:
            request.values["body"] = self._multipart(request, schema)
        self._validate(request, "body", request.values["body"], media.get("schema", {}))

    def _form(self, pairs, schema, media):
        made = {}
        for name, member in schema.get("properties", {}).items():
            encoding = media.get("encoding", {}).get(name, {})
            value = self._read({"name": name, "in": "query", "schema": member, **encoding}, pairs, None)
            if value is not None:
                made[name] = value
        return made

    def _multipart(self, request, schema):
        head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
        made = {}
        for part in email.message_from_bytes(head + request.body, policy=email.policy.HTTP).iter_parts():
            name = part.get_param("name", header="content-disposition")
            text = part.get_payload(decode=True).decode()
            kinds, member = self._whole(schema.get("properties", {}).get(name))
            if "array" in kinds:
                made.setdefault(name, []).append(self._typed(text, member.get("items")))
            else:
                made[name] = json.loads(text) if part.get_content_type() == "application/json" else self._typed(text, member)
        return made


# ---- arguments of a model ----
PLAIN = "a b/c?d=e&f#g+ü%"
FORMATS = {"date-time": "2026-01-02T03:04:05Z", "date": "2026-01-02", "uuid": "00000000-0000-4000-8000-000000000001",
           "uri": "https://example.com/x?y=1&z=2", "email": "a@example.com", "snowflake": "1234"}
PATTERNS = {r"^(0|[1-9][0-9]*)$": "42", r"^(?!.*__.*)\w+$": "x"}


def sample(schema, depth=0):
    """A value that the schema of a tool allows, with characters that have a meaning in URLs."""
    for word in ("anyOf", "oneOf", "allOf"):
        if word in schema and "type" not in schema:
            return sample(schema[word][0], depth)
    choice = [value for value in schema.get("enum", []) if value is not None]
    if "const" in schema or choice:
        return schema.get("const", choice[0] if choice else None)
    kinds = schema.get("type", "string")
    kind = next(one for one in (kinds if isinstance(kinds, list) else [kinds]) if one != "null")
    if kind == "object":
        wanted = set(schema.get("required", [])) | (set(schema.get("properties", {})) if depth == 0 else set())
        return {name: sample(schema["properties"][name], depth + 1) for name in schema.get("properties", {}) if name in wanted}
    if kind == "array":
        return [sample(schema.get("items", {}), depth + 1) for _ in range(max(1, schema.get("minItems", 0)))]
    if kind in ("integer", "number"):
        return max(schema.get("minimum", 1), 1)
    if kind == "boolean":
        return True
    sid = re.fullmatch(r"\^\(?(\w+)(\|\w+)*\)?\[0-9a-fA-F\]\{32\}\$", schema.get("pattern", ""))
    if sid:
        return sid[1] + 32 * "a"
    if "format" in schema or "pattern" in schema:
        return FORMATS.get(schema.get("format"), PATTERNS.get(schema.get("pattern"), "1234"))
    return (PLAIN * 4)[:max(schema.get("minLength", 0), min(len(PLAIN), schema.get("maxLength", 99)))]
