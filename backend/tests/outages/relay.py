"""Stands between a client and a server on loopback, and falls ill when told: the server behind it stays well."""

import socket
import threading
from contextlib import suppress
from typing import Literal, Self

Mode = Literal["well", "hanging", "failing", "refusing"]
INTERNAL_ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
CHUNK = 2**16


class Relay:
    """`well` passes everything on. Changing the mode cuts what is open, as a restart of the server would.

    `hanging` takes connections and never answers, `failing` answers every request with 500, `refusing` closes at once.
    """

    def __init__(self, host: str, port: int) -> None:
        self._behind, self._mode = (host, port), "well"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.port: int = self._listener.getsockname()[1]
        self.taken = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.become("refusing")

    def become(self, mode: Mode) -> None:
        with self._lock:
            self._mode = mode
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._open = set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.taken += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            match self._keep(client):
                case "well":
                    with socket.create_connection(self._behind) as server:
                        self._keep(server)
                        threading.Thread(target=_copy, args=(server, client), daemon=True).start()
                        _copy(client, server)
                case "hanging":
                    while client.recv(CHUNK):
                        pass
                case "failing":
                    client.recv(CHUNK)
                    client.sendall(INTERNAL_ERROR)

    def _keep(self, connection: socket.socket) -> str:
        """The mode; the connection is cut when that changes."""
        with self._lock:
            self._open.add(connection)
            return self._mode


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
