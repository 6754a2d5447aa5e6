"""Time for one transfer: when it is over, or the transfer is called off, the connections made for it are cut.

Timeouts of a socket are for a single read: a server that sends a byte now and then never meets one. So whoever opens
a connection shows its socket here.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from threading import Event, Lock, Timer
from typing import Self


class Deadline:
    """Used as a context manager; `cut` may be called from any thread, at any time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = 0.0
        self._over = Event()
        self._lock = Lock()
        self._sockets: list[socket.socket] = []
        self._timer = Timer(seconds, self.cut)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._end = time.monotonic() + self.seconds
        self._timer.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._timer.cancel()
        with self._lock:
            for each in self._sockets:
                each.close()
            self._sockets.clear()

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return self._over.is_set()

    @property
    def left(self) -> float:
        """The seconds that are left."""
        return 0.0 if self.over else max(0.0, self._end - time.monotonic())

    def connect(self, host: str, port: int, longest: float) -> socket.socket:
        """Open a connection within `longest` seconds, and watch it from before it is there. Raises OSError."""
        fault = OSError(f"{host} has no address")
        try:
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise OSError(f"{host}: {error.strerror}") from error
        for family, kind, protocol, _name, address in addresses:
            connection = socket.socket(family, kind, protocol)
            self.watch(connection)
            connection.settimeout(longest)
            try:
                if self.over:
                    raise TimeoutError
                connection.connect(address)
            except TimeoutError:
                connection.close()
                fault = OSError(f"{host} does not answer within {longest:g} s")
            except OSError as error:
                connection.close()
                fault = error
            else:
                return connection
        raise fault

    def watch(self, connection: socket.socket) -> None:
        """Have this connection cut too. What is kept is a duplicate, as TLS takes the socket's own descriptor away."""
        with self._lock:
            self._sockets.append(connection.dup())
            if self.over:
                self._shut_down()

    def cut(self) -> None:
        """End the time now."""
        with self._lock:
            self._over.set()
            self._shut_down()

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the end."""
        self._over.wait(min(seconds, self.left))

    def _shut_down(self) -> None:
        for each in self._sockets:
            with suppress(OSError):  # closed by the other side already
                each.shutdown(socket.SHUT_RDWR)
