# SPDX-License-Identifier: Apache-2.0
"""A small chat server between the load client and the model simulator, for the rig's self-test: threads, and answers as
native events. usage: relay.py PORT MODEL_PORT"""
import http.client
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, MODEL_PORT = int(sys.argv[1]), int(sys.argv[2])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def body(self):
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def reply(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        known = self.path.removeprefix("/api/threads/") in self.server.threads
        self.reply(200 if known else 404, {})

    def do_POST(self):
        body = self.body()
        if self.path == "/api/threads":
            self.server.threads.add(name := f"thread_{len(self.server.threads) + 1}")
            self.reply(201, {"id": name})
        elif body.get("thread_id", "thread_1") not in self.server.threads:
            self.reply(404, {})
        else:
            self.stream(body["message"])

    def event(self, kind, **members):
        text = f"event: {kind}\ndata: {json.dumps({'type': kind, **members}, separators=(',', ':'))}\n\n".encode()
        self.wfile.write(f"{len(text):x}\r\n".encode() + text + b"\r\n")

    def stream(self, message):
        model = http.client.HTTPConnection("127.0.0.1", MODEL_PORT)
        model.request("POST", "/v1/chat/completions", json.dumps(
            {"model": "m", "stream": True, "messages": [{"role": "user", "content": message}]}))
        answer = model.getresponse()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if answer.status != 200:
            self.event("error", code="model_failed")
        else:
            for line in answer:
                if line.startswith(b"data: {"):
                    for choice in json.loads(line[6:])["choices"]:
                        if text := choice["delta"].get("content"):
                            self.event("token", content=text)
            self.event("done")
        self.wfile.write(b"0\r\n\r\n")
        model.close()


server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
server.daemon_threads = True
server.threads = set()
server.serve_forever()
