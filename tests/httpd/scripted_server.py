# SPDX-License-Identifier: Apache-2.0
"""What the scripted servers share: HTTP/1.1 on a port that the kernel chooses, a thread for each connection, requests read whole."""
import socket
import struct
import threading
import time

LOOK = 0.1              # seconds between two looks at the clock


def reset_at_close(connection):
    """The other side sees a reset when it is closed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Stalls:
    """When this process stood still: a thread that only sleeps came late, by more than a second."""

    def __init__(self):
        self.found = []                 # [[monotonic time of its begin, seconds]]
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        while True:
            began = time.monotonic()
            time.sleep(LOOK)
            late = time.monotonic() - began - LOOK
            if late > 1:
                self.found.append([began, round(late, 1)])


class ScriptedServer:
    """A subclass answers in _respond(connection, method, target, headers, body), and returns whether the connection
    stays open. It calls __init__() last: requests arrive from then on."""

    def __init__(self):
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.n_connections = 0
        self.on_request = None          # called for each request: whether it is dropped instead of carried out
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self._socket.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.n_connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = connection.makefile("rb")
        try:
            while self._exchange(connection, stream):
                pass
        except (OSError, ValueError):
            pass
        finally:
            stream.close()
            connection.close()

    def _exchange(self, connection, stream):
        method, target, headers = self._head(stream)
        if not method:
            return False
        body = self._body(stream, headers)
        return body is not None and self._respond(connection, method, target, headers, body)

    @staticmethod
    def _head(stream):
        """(method, target, headers); without a method: no further request comes."""
        line, headers = stream.readline().decode("latin-1").split(), {}
        if len(line) < 3:
            return None, None, headers
        while (text := stream.readline().decode("latin-1").strip()):
            name, _, value = text.partition(":")
            headers[name.strip().lower()] = value.strip()
        return line[0], line[1], headers

    def _body(self, stream, headers):
        """None: the request is dropped."""
        body = stream.read(int(headers.get("content-length", 0)))
        return None if self.on_request and self.on_request() else body
