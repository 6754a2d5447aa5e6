"""A web server on the loopback that keeps to HTTP as far as its script says: real sockets, real TLS, real bytes.

Each connection has a thread. What is asked for is answered by the `Answer` of its path; one that is not named there
is served from a folder, as a good server would. An answer has the connection in its hands, and may send what it likes.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from types import TracebackType
from typing import Self

_HEAD_CAP = 1 << 16


class HungUp(Exception):
    """The connection is over, from either side."""


@dataclass(frozen=True)
class Request:
    """What was asked for; the names of headers are in small letters."""

    method: str
    path: str
    headers: Mapping[str, str]

    @property
    def conditions(self) -> dict[str, str]:
        """The headers that ask for the file only if it is another one."""
        return {name: self.headers[name] for name in ("if-none-match", "if-modified-since") if name in self.headers}


class Talk:
    """One connection, as an answer has it in its hands."""

    def __init__(self, raw: socket.socket) -> None:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = raw
        self._spare = raw.dup()  # TLS takes the descriptor of the other one away
        self.over = threading.Event()

    def secure(self, context: ssl.SSLContext) -> None:
        """Go over to TLS."""
        with _hanging_up():
            self.connection = context.wrap_socket(self.connection, server_side=True)

    def receive(self, length: int = 1 << 16) -> bytes:
        """Return what comes next, at least a byte."""
        with _hanging_up():
            raw = self.connection.recv(length)
        if not raw:
            raise HungUp
        return raw

    def send(self, *pieces: bytes) -> None:
        """Send all of it."""
        with _hanging_up():
            for piece in pieces:
                self.connection.sendall(piece)

    def drip(self, raw: Iterable[int], pause: float = 0.05) -> None:
        """Send one byte at a time."""
        for byte in raw:
            self.send(bytes([byte]))
            if self.over.wait(pause):
                raise HungUp

    def stall(self) -> None:
        """Say nothing more, until the other side has had enough."""
        while True:
            self.receive()

    def close(self) -> None:
        """End the connection as TCP has it, without a word of TLS."""
        self.cut()
        raise HungUp

    def reset(self) -> None:
        """Have the kernel send a reset."""
        for each in (self.connection, self._spare):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.close()
        raise HungUp

    def cut(self) -> None:
        """End the connection from another thread."""
        self.over.set()
        with suppress(OSError):
            self._spare.shutdown(socket.SHUT_RDWR)

    def clear(self) -> None:
        """Give the descriptors back."""
        for each in (self.connection, self._spare):
            with suppress(OSError):
                each.close()


Answer = Callable[[Talk, Request], None]


class Server:
    """Used as a context manager. `context` None: plain HTTP. `greet` has the connection instead of TLS and HTTP."""

    def __init__(
        self, context: ssl.SSLContext | None, *, greet: Callable[[Talk], None] | None = None, name: str = "127.0.0.1"
    ) -> None:
        self.answers: dict[str, list[Answer]] = {}
        """What is said at each path, in turn; the last one for good."""
        self.folder: Path | None = None
        self.validators = frozenset({"ETag", "Last-Modified"})
        """With which of them the files of the folder are served."""
        self.requests: list[Request] = []
        self.connections = 0
        self._context = context
        self._greet = greet
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'http' if context is None and greet is None else 'https'}://{name}:{self.port}"
        self._lock = threading.Lock()
        self._talks: dict[Talk, threading.Thread] = {}
        self._accepting = threading.Thread(target=self._accept)

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        with self._lock:
            running = dict(self._talks)
        for talk, thread in running.items():
            talk.cut()
            thread.join()

    def asked(self, path: str) -> list[Request]:
        """Return the requests for a path."""
        return [request for request in self.requests if request.path == path]

    def forget(self) -> None:
        """Begin to count anew."""
        self.requests.clear()
        self.connections = 0

    def _accept(self) -> None:
        while True:
            try:
                raw, _address = self._listener.accept()
            except OSError:
                return
            talk = Talk(raw)
            thread = threading.Thread(target=self._serve, args=(talk,))
            with self._lock:
                self.connections += 1
                self._talks[talk] = thread
            thread.start()

    def _serve(self, talk: Talk) -> None:
        try:
            if self._greet is not None:
                self._greet(talk)
                return
            if self._context is not None:
                talk.secure(self._context)
            while True:
                request = _read_request(talk)
                with self._lock:
                    self.requests.append(request)
                    answers = self.answers.get(request.path, [self.from_folder])
                    answer = answers.pop(0) if len(answers) > 1 else answers[0]
                answer(talk, request)
        except HungUp:
            pass
        finally:
            talk.clear()
            with self._lock:
                self._talks.pop(talk, None)

    def from_folder(self, talk: Talk, request: Request) -> None:
        """Answer as a good server does that has the folder."""
        path = None if self.folder is None else self.folder / request.path.lstrip("/")
        if path is None or not path.is_file():
            talk.send(head("404 Not Found", length=4), b"none")
            return
        raw = path.read_bytes()
        mine = {
            "ETag": f'"{hashlib.sha256(raw).hexdigest()[:16]}"',
            "Last-Modified": formatdate(path.stat().st_mtime, usegmt=True),
        }
        mine = {name: value for name, value in mine.items() if name in self.validators}
        asked = request.conditions
        # RFC 9110, 13.2.2: the date counts only where there is no entity tag
        if "if-none-match" in asked:
            same = asked["if-none-match"] == mine.get("ETag")
        else:
            same = asked.get("if-modified-since", "") == mine.get("Last-Modified")
        if same:
            talk.send(head("304 Not Modified", **mine))
        else:
            talk.send(head(length=len(raw), **mine), raw)


def head(status: str = "200 OK", *, length: int | str | None = None, **headers: str) -> bytes:
    """Return a status line and headers; an underscore in a name stands for a hyphen."""
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1")


def whole(body: bytes, status: str = "200 OK", **headers: str) -> Answer:
    """Answer as a good server does."""
    return lambda talk, _request: talk.send(head(status, length=len(body), **headers), body)


def says(*pieces: bytes) -> Answer:
    """Send these bytes, and hang up."""

    def answer(talk: Talk, _request: Request) -> None:
        talk.send(*pieces)
        talk.close()

    return answer


def chunk(raw: bytes) -> bytes:
    """Return a chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(raw), raw)


def context_of(certificate: Callable[[ssl.SSLContext], None]) -> ssl.SSLContext:
    """Return the context of a server that shows a certificate (trustme's `configure_cert`)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate(context)
    return context


@contextmanager
def unanswering() -> Iterator[int]:
    """Yield a port where nobody takes connections: the kernel drops what does not fit into the backlog."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port: int = listener.getsockname()[1]
        for _ in range(4):
            one = stack.enter_context(socket.socket())
            one.settimeout(0)
            one.connect_ex(("127.0.0.1", port))
        yield port


def _read_request(talk: Talk) -> Request:
    raw = b""
    while b"\r\n\r\n" not in raw:
        raw += talk.receive()
        if len(raw) > _HEAD_CAP:
            raise HungUp
    first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, path, _version = first.split(" ")
    pairs = (line.split(": ", 1) for line in lines)
    return Request(method, path, {name.lower(): value for name, value in pairs})


@contextmanager
def _hanging_up() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: cut in the middle of the handshake
        raise HungUp from error
