# SPDX-License-Identifier: Apache-2.0
"""A scripted Azure for the Azure CLI: sign-in and the resource manager. This server is also the CLI's proxy: it
answers at the addresses that the CLI has built in, and forwards nothing."""
import base64
import json
import ssl
import subprocess
import threading
import time
from urllib.parse import parse_qsl, unquote, urlsplit

from azure_manager import HOST, PRINCIPAL, TENANT, Failure, Manager
from scripted_server import ScriptedServer

HOSTS = ("login.microsoftonline.com", HOST)
TOKEN = "a-token-of-the-scripted-tenant"


def base64url(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


class Azure(ScriptedServer):
    def __init__(self, directory):
        self.certificate, private = directory / "azure.crt", directory / "azure.key"
        names = ",".join(f"DNS:{host}" for host in HOSTS)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", private, "-out", self.certificate, "-days",
                        "2", "-subj", "/CN=azure", "-addext", f"subjectAltName={names}"], check=True, capture_output=True)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(self.certificate, private)
        self.lock = threading.Lock()
        self.manager = Manager()
        self._nonce, self._redirect = None, None
        super().__init__()

    def _respond(self, connection, method, target, headers, body):
        if method == "CONNECT":
            return self._tunnel(connection, target.partition(":")[0])
        connection.sendall(self._answer(method, target, headers, body))
        return True

    def _tunnel(self, connection, host):
        if host not in HOSTS:
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return False
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with self._tls.wrap_socket(connection, server_side=True) as secure, secure.makefile("rb") as stream:
            while self._exchange(secure, stream):
                pass
        return False

    def _answer(self, method, target, headers, body):
        url = urlsplit(target)
        query = dict(parse_qsl(url.query))
        more = {}
        with self.lock:
            try:
                if headers["host"] == HOSTS[0]:
                    status, answer, more = self.sign_in(method, url.path, query, dict(parse_qsl(body.decode())))
                else:
                    if headers.get("authorization") != f"Bearer {TOKEN}":
                        raise Failure(401, "AuthenticationFailed")
                    if "api-version" not in query:
                        raise Failure(400, "MissingApiVersionParameter")
                    status, answer, more = self.manager.answer(method, unquote(url.path), query, json.loads(body) if body else None)
            except Failure as failure:
                status, answer = failure.status, {"error": {"code": failure.code, "message": str(failure) or failure.code}}
        data = b"" if answer is None or method == "HEAD" else json.dumps(answer).encode()
        fields = {"Content-Type": "application/json", "Content-Length": str(len(data)), **more}
        return f"HTTP/1.1 {status} .\r\n".encode() + "".join(f"{k}: {v}\r\n" for k, v in fields.items()).encode() + b"\r\n" + data

    def sign_in(self, method, path, query, form):
        root = f"https://{HOSTS[0]}/{path.split('/')[1]}"
        if path.endswith("/openid-configuration"):
            return 200, {"issuer": f"{root}/v2.0", "authorization_endpoint": f"{root}/oauth2/v2.0/authorize",
                         "token_endpoint": f"{root}/oauth2/v2.0/token",
                         "device_authorization_endpoint": f"{root}/oauth2/v2.0/devicecode"}, {}
        if path == "/common/discovery/instance":
            return 200, {"tenant_discovery_endpoint": f"{root}/v2.0/.well-known/openid-configuration", "metadata": [
                {"preferred_network": HOSTS[0], "preferred_cache": HOSTS[0], "aliases": [HOSTS[0]]}]}, {}
        if path.endswith("/oauth2/v2.0/authorize"):
            self._nonce, self._redirect = query.get("nonce"), query["redirect_uri"]
            return 302, None, {"Location": f"{self._redirect}?code=a-code&state={query['state']}"}
        if path.endswith("/oauth2/v2.0/token") and method == "POST":
            right = {"authorization_code": form.get("code") == "a-code" and form.get("redirect_uri") == self._redirect,
                     "refresh_token": form.get("refresh_token") == "to-refresh"}.get(form.get("grant_type"))
            if not right:
                return 400, {"error": "invalid_grant"}, {}
            now = int(time.time())
            claims = {"aud": form["client_id"], "iss": f"{root}/v2.0", "iat": now, "exp": now + 3600, "nonce": self._nonce, "tid": TENANT,
                      "sub": "ann", "oid": PRINCIPAL, "preferred_username": "ann@example.org"}
            return 200, {"token_type": "Bearer", "expires_in": 3600, "access_token": TOKEN, "refresh_token": "to-refresh",
                         "scope": form["scope"], "id_token": f"{base64url({'alg': 'none'})}.{base64url(claims)}.",
                         "client_info": base64url({"uid": PRINCIPAL, "utid": TENANT})}, {}
        return 404, {"error": "not_found"}, {}
