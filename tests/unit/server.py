"""A real web server on the loopback that answers what a test tells it to; the fixtures for it are in conftest."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import trustme


def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@dataclass(frozen=True)
class Answer:
    """What a server says to one request; `length` False: it does not tell how much comes."""

    body: bytes = b""
    status: int = 200
    location: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    length: bool = True


@dataclass
class Server:
    """A web server on the loopback; `answers` has those of each path in order, the last one for good."""

    url: str = ""
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)

    def answer(self, path: str, headers: Mapping[str, str]) -> Answer:
        self.asked.append(path)
        self.headers.append(headers)
        answers = self.answers.get(path, [Answer(b"not here", 404)])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def publish(self, raw: bytes, *checksums: bytes) -> str:
        """Publish a file and, in this order, what its .md5 says each time it is asked for."""
        self.answers["/f"] = [Answer(raw)]
        self.answers["/f.md5"] = [Answer(checksum) for checksum in checksums]
        return f"{self.url}/f"


@contextmanager
def serving(context: ssl.SSLContext | None) -> Iterator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = server.answer(self.path, dict(self.headers.items()))
            (self.send_response_only if "Date" in answer.headers else self.send_response)(answer.status)
            if answer.location:
                self.send_header("Location", answer.location)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.length:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_arguments: object) -> None:
            pass

    class Listener(ThreadingHTTPServer):
        def handle_error(self, *_arguments: object) -> None:
            pass  # a client that hangs up at the cap is what is tested

    with Listener(("127.0.0.1", 0), Handler) as listener:
        if context is not None:
            listener.socket = context.wrap_socket(listener.socket, server_side=True)
        server.url = f"{'http' if context is None else 'https'}://127.0.0.1:{listener.server_port}"
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown()
            thread.join()
