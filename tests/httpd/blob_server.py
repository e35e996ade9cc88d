# SPDX-License-Identifier: Apache-2.0
"""A scripted Azure Blob Storage: one account with containers in memory, and the sign-in that gives tokens for it. Signatures are checked
from the service's documents ("Authorize with Shared Key", "Create a service SAS", "Create a user delegation SAS"), not from the module."""
import base64
import email.utils
import hashlib
import hmac
import itertools
import json
import re
import ssl
import subprocess
import threading
import time
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

from scripted_server import ScriptedServer, reset_at_close

ACCOUNT = "testaccount"
KEY = base64.b64encode(b"the key of the scripted storage account, of 64 bytes .........").decode()
DELEGATED = base64.b64encode(b"the key that signs links for an identity").decode()
TOKEN = "token-of-the-scripted-tenant"
OID, TID = "11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000"
STANDARD = ("content-encoding", "content-language", "content-length", "content-md5", "content-type", "date", "if-modified-since",
            "if-match", "if-none-match", "if-unmodified-since", "range")


def signature(text, key=KEY):
    return base64.b64encode(hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()).decode()


class Refusal(Exception):
    def __init__(self, status, code):
        super().__init__(code)
        self.status, self.code = status, code


class Blob(ScriptedServer):
    """faults: each {"on": pattern of "METHOD path?query", "times": n, and one of: "status" and "code"; "lost": the request is carried
    out and not answered; "reset": the connection is reset in the middle of the request's body; "cut": of the answer's body this many bytes
    are sent; "gate": it is answered when this event is set}."""

    def __init__(self, directory=None):
        self.lock = threading.Lock()
        self.containers = {"files": {}}         # name: {name of a blob: its members}
        self.blocks = {}                        # (container, blob): {id: bytes}
        self.requests, self.faults, self.skew, self.page, self.age = [], [], 0, 500, 0
        self.token, self.tokens, self.public = TOKEN, 0, True
        self._number = itertools.count(1)
        self._tls, self.certificate = None, None
        if directory:
            self._make_tls(directory)
        super().__init__()
        self.container_url = f"{'https' if directory else 'http'}://127.0.0.1:{self.port}/{ACCOUNT}/files"

    def _make_tls(self, directory):
        self.certificate, private = directory / "blob.crt", directory / "blob.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", private, "-out", self.certificate,
                        "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(self.certificate, private)

    def _serve(self, connection):
        if self._tls:
            try:
                connection = self._tls.wrap_socket(connection, server_side=True)
            except (OSError, ValueError):
                return
        super()._serve(connection)

    # ---- for tests ----
    def fault(self, on, times=1, **how):
        with self.lock:
            self.faults.append({"on": on, "times": times, **how})

    def names(self):
        with self.lock:
            return sorted(self.containers["files"])

    def count(self, pattern):
        with self.lock:
            return sum(bool(re.search(pattern, request)) for request in self.requests)

    # ---- HTTP ----
    def _find_fault(self, what):
        with self.lock:
            for fault in self.faults:
                if fault["times"] > 0 and re.search(fault["on"], what):
                    fault["times"] -= 1
                    return fault
        return {}

    def _exchange(self, connection, stream):
        method, target, headers = self._head(stream)
        if not method:
            return False
        what = f"{method} {target}"
        with self.lock:
            self.requests.append(what)
        fault = self._find_fault(what)
        if "reset" in fault:
            stream.read(1000)
            reset_at_close(connection)
            return False
        body = self._body(stream, headers)
        return body is not None and self._reply(connection, method, target, headers, body, fault)

    def _reply(self, connection, method, target, headers, body, fault):
        if "gate" in fault:
            fault["gate"].wait()
        url = urlsplit(target)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        more, data = {}, b""
        try:
            if "status" in fault:
                raise Refusal(fault["status"], fault["code"])
            with self.lock:
                status, more, data = self._perform(method, url.path, query, headers, body)
        except Refusal as refusal:
            status, more = refusal.status, {"x-ms-error-code": refusal.code, "Content-Type": "application/xml"}
            data = f"<?xml version=\"1.0\"?><Error><Code>{refusal.code}</Code><Message>{refusal.code}</Message></Error>".encode()
        if "lost" in fault:
            reset_at_close(connection)
            return False
        length = len(data)
        data = b"" if method == "HEAD" else data
        fields = {"Content-Length": str(length), "x-ms-request-id": f"request-{next(self._number)}",
                  "Date": email.utils.formatdate(time.time() + self.skew, usegmt=True),
                  "x-ms-version": headers.get("x-ms-version", ""), **more}
        head = f"HTTP/1.1 {status} .\r\n".encode() + "".join(f"{k}: {v}\r\n" for k, v in fields.items()).encode() + b"\r\n"
        if "cut" in fault:
            connection.sendall(head + data[:fault["cut"]])
            return False
        connection.sendall(head + data)
        return True

    # ---- authorization ----
    def _authorize(self, method, path, query, headers):
        if headers.get("x-ms-version") != "2021-12-02":
            raise Refusal(400, "InvalidHeaderValue")
        given = headers.get("authorization", "")
        when = email.utils.parsedate_to_datetime(headers["x-ms-date"]).timestamp()
        if given.startswith("Bearer "):
            if given != f"Bearer {self.token}":
                raise Refusal(401, "InvalidAuthenticationInfo")
            return
        values = ["" if name == "content-length" and headers.get(name) == "0" else headers.get(name, "") for name in STANDARD]
        own = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers) if name.startswith("x-ms-"))
        resource = f"/{ACCOUNT}{path}" + "".join(f"\n{name}:{query[name]}" for name in sorted(query))
        text = "\n".join([method, *values, own + resource])
        if given != f"SharedKey {ACCOUNT}:{signature(text)}" or abs(time.time() + self.skew - when) > 900:
            raise Refusal(403, "AuthenticationFailed")

    def _check_link(self, method, container, name, query):
        """A shared access signature in the URL."""
        resource = f"/blob/{ACCOUNT}/{container}/{name}"
        common = [query.get(n, "") for n in ("sip", "spr", "sv", "sr")] + [""] * 7
        begin = [query["sp"], query.get("st", ""), query["se"], resource]
        if "skoid" in query:
            fields = [query[n] for n in ("skoid", "sktid", "skt", "ske", "sks", "skv")] + [""] * 3
            text, key = "\n".join(begin + fields + common), DELEGATED
        else:
            text, key = "\n".join(begin + [query.get("si", "")] + common), KEY
        until = time.mktime(time.strptime(query["se"], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
        if query["sig"] != signature(text, key) or until < time.time() or method not in ("GET", "HEAD") or query["sp"] != "r":
            raise Refusal(403, "AuthenticationFailed")

    # ---- the service ----
    def _perform(self, method, path, query, headers, body):
        if path.endswith("/oauth2/v2.0/token"):
            self.tokens += 1
            return 200, {"Content-Type": "application/json"}, json.dumps(
                {"access_token": self.token, "token_type": "Bearer", "expires_in": 3600}).encode()
        names = unquote(path).split("/")[2:]
        container, name = names[0], "/".join(names[1:])
        if "sig" in query:
            self._check_link(method, container, name, query)
            query = {}
        else:
            self._authorize(method, unquote(path), query, headers)
        if query.get("comp") == "userdelegationkey":
            return 200, {}, self._delegate(body)
        if container not in self.containers:
            raise Refusal(404, "ContainerNotFound")
        blobs = self.containers[container]
        if not name:
            return (200, {}, self._list(blobs, query)) if query.get("comp") == "list" else (200, {"ETag": '"c"'}, b"")
        if method == "PUT":
            return self._put(container, name, query, headers, body)
        if name not in blobs:
            raise Refusal(404, "BlobNotFound")
        if method == "DELETE":
            del blobs[name]
            return 202, {}, b""
        return self._get(blobs[name], headers)

    def _delegate(self, body):
        start, expiry = (re.search(f"<{n}>(.*)</{n}>", body.decode()).group(1) for n in ("Start", "Expiry"))
        members = {"SignedOid": OID, "SignedTid": TID, "SignedStart": start, "SignedExpiry": expiry, "SignedService": "b",
                   "SignedVersion": "2021-12-02", "Value": DELEGATED}
        return ("<?xml version=\"1.0\"?><UserDelegationKey>" + "".join(f"<{k}>{v}</{k}>" for k, v in members.items()) +
                "</UserDelegationKey>").encode()

    def _put(self, container, name, query, headers, body):
        blobs, key = self.containers[container], (container, name)
        if query.get("comp") == "block":
            self.blocks.setdefault(key, {})[query["blockid"]] = body
            return 201, {}, b""
        if headers.get("if-none-match") == "*" and name in blobs:
            raise Refusal(409, "BlobAlreadyExists")
        if query.get("comp") == "blocklist":
            blocks = self.blocks.pop(key, {})
            try:
                body = b"".join(blocks[id] for id in re.findall("<Latest>(.*?)</Latest>", body.decode()))
            except KeyError:
                raise Refusal(400, "InvalidBlockList") from None
        elif headers.get("x-ms-blob-type") != "BlockBlob":
            raise Refusal(400, "MissingRequiredHeader")
        blobs[name] = {"data": body, "type": headers["x-ms-blob-content-type"], "etag": f'"0x{next(self._number):X}"',
                       "modified": time.time() - self.age, "disposition": headers.get("x-ms-blob-content-disposition"),
                       "meta": {n: v for n, v in headers.items() if n.startswith("x-ms-meta-")}}
        return 201, {"ETag": blobs[name]["etag"]}, b""

    def _get(self, blob, headers):
        data, total = blob["data"], len(blob["data"])
        more = {"ETag": blob["etag"], "Content-Type": blob["type"], **blob["meta"]}
        if headers.get("if-match", blob["etag"]) != blob["etag"]:
            raise Refusal(412, "ConditionNotMet")
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("x-ms-range", ""))
        if not found:
            return 200, more, data
        first, last = int(found[1]), min(int(found[2]), total - 1)
        if first >= total:
            raise Refusal(416, "InvalidRange")
        return 206, {**more, "Content-Range": f"bytes {first}-{last}/{total}"}, data[first:last + 1]

    def _list(self, blobs, query):
        names = sorted(n for n in blobs if n.startswith(query.get("prefix", "")))
        start = int(query.get("marker", "0").removeprefix("m&<"))
        size = min(self.page, int(query.get("maxresults", "5000")))
        rows = "".join(f"<Blob><Name>{escape(n)}</Name><Properties><Creation-Time>x</Creation-Time><Last-Modified>"
                       f"{email.utils.formatdate(blobs[n]['modified'], usegmt=True)}</Last-Modified></Properties></Blob>"
                       for n in names[start:start + size])
        marker = escape(f"m&<{start + size}") if start + size < len(names) else ""
        return (f"<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults><Blobs>{rows}</Blobs>"
                f"<NextMarker>{marker}</NextMarker></EnumerationResults>").encode()
