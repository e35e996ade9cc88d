# SPDX-License-Identifier: Apache-2.0
"""An OpenID provider as far as a resource server sees it: keys as a JWKS over TLS, and tokens signed with them."""
import base64
import hashlib
import hmac
import json
import re
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def b64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Key:
    """An RSA key pair, made with openssl."""

    def __init__(self, directory, kid):
        self.kid, self.file = kid, directory / f"{kid}.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.file],
                       check=True, capture_output=True)
        modulus = subprocess.run(["openssl", "rsa", "-in", self.file, "-noout", "-modulus"], check=True, capture_output=True, text=True)
        self.n = bytes.fromhex(re.search(r"Modulus=(\w+)", modulus.stdout)[1])

    @property
    def jwk(self):
        return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid, "n": b64(self.n), "e": "AQAB"}

    def sign(self, text):
        return subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.file], input=text, check=True, capture_output=True).stdout

    def public_pem(self):
        return subprocess.run(["openssl", "rsa", "-in", self.file, "-pubout"], check=True, capture_output=True).stdout


class Issuer:
    def __init__(self, directory):
        self.keys = [Key(directory, "key-1")]
        self.stranger = Key(directory, "key-9")         # whose tokens have no trusted issuer
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.answer(self, {"keys": [key.jwk for key in issuer.keys]})

            def do_POST(self):
                """The token endpoint: a code proves that the user was at the sign-in page."""
                self.rfile.read(int(self.headers["Content-Length"]))
                issuer.answer(self, {"access_token": "of-the-provider", "token_type": "Bearer",
                                     "id_token": issuer.token(aud="CLIENT-ID", nonce=issuer.nonce, **issuer.claims)})

            def log_message(self, *_):
                pass
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.certificate, private = directory / "issuer.crt", directory / "issuer.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", private, "-out", self.certificate, "-days",
                        "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self.certificate, private)
        self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    nonce, claims = None, {}                # what the next ID token has

    @staticmethod
    def answer(handler, document):
        body = json.dumps(document).encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    def token(self, key=None, header=None, **claims):
        now = int(time.time())
        key = key or self.keys[0]
        head = {"alg": "RS256", "typ": "JWT", "kid": key.kid, **(header or {})}
        body = {"iss": self.url, "aud": "agentchat", "sub": "s-ann", "oid": "id-ann", "scp": "User.Read Chat", "iat": now, "nbf": now - 5,
                "exp": now + 600, **claims}
        text = ".".join(b64(json.dumps(part).encode()) for part in (head, {k: v for k, v in body.items() if v is not None}))
        if head["alg"] == "none":
            return text + "."
        if head["alg"] == "HS256":
            return text + "." + b64(hmac.new(key.public_pem(), text.encode(), hashlib.sha256).digest())
        return text + "." + b64(key.sign(text.encode()))
