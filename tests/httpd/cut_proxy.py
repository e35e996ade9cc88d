# SPDX-License-Identifier: Apache-2.0
"""A proxy between a client and the server that can be cut."""
import socket
import threading


class CutProxy:
    """Forwards bytes to a port of this machine; cut() breaks every connection that is there, new ones get through."""

    def __init__(self, port):
        self._to = port
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._lock = threading.Lock()
        self._pairs = []
        self.taken = 0                  # connections so far
        self.answered = b""             # what has come from the port
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self._socket.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._to))
            with self._lock:
                self._pairs.append((near, far))
                self.taken += 1
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self._forward, args=(a, b), daemon=True).start()

    def _forward(self, source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
                if source.getpeername()[1] == self._to:
                    self.answered += data
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def cut(self):
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for one in [one for pair in pairs for one in pair]:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()
        return len(pairs)

    def stop(self):
        self._socket.close()
        self.cut()


class HoldingProxy(CutProxy):
    """Stops forwarding as soon as reached() is true; the programs at both ends wait at any speed."""

    def __init__(self, port, reached):
        self._reached, self._stopped = reached, threading.Event()
        super().__init__(port)

    def _forward(self, source, sink):
        try:
            while data := source.recv(65536):
                while self._reached():
                    if self._stopped.wait(0.05):
                        return
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def stop(self):
        self._stopped.set()
        super().stop()
