"""One file over HTTP: conditional, bounded in bytes and time, begun again when it failed on its way.

Never more than a chunk is held in memory, whatever the server sends: bodies go to a file, and there is a bound on
headers and on the lines between chunks.
"""

from __future__ import annotations

import http.client
import io
import random
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any, Self
from urllib.parse import urljoin

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from fwfeed import __version__
from fwfeed.errors import FeedRefused, printable
from fwfeed.fetch.deadline import Deadline
from fwfeed.fetch.parts import NETWORK, Arrival, Missing, Sink, Validators
from fwfeed.fetch.proxy import Proxy
from fwfeed.fetch.proxy import find as find_proxy

_REDIRECTS = 5
_CHUNK = 1 << 16
_CONNECT_SECONDS, _READ_SECONDS = 10.0, 30.0
_BACKOFF_SECONDS, _LONGEST_BACKOFF = 1.0, 30.0
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_VALIDATOR_LENGTH = 256
_HEADERS_CAP = 1 << 16


class _Passing(FeedRefused):
    """A fault that may be gone a moment later; `after` is how many seconds the server asks to wait."""

    def __init__(self, message: str, after: float = 0.0, way_out: str = NETWORK) -> None:
        super().__init__(message, way_out)
        self.after = after


class Client:
    """A session with one server, for a file and its .md5. Used as a context manager."""

    def __init__(self, deadline: Deadline, retries: int) -> None:
        self._deadline = deadline
        self._retries = retries
        self._asked = ""
        self._reached = False  # whether what was asked last, or a proxy's way to it, has answered
        self._session = _Session()
        self._session.headers["User-Agent"] = f"fwfeed/{__version__}"
        self._session.headers["Accept-Encoding"] = "identity"
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, _Adapter(deadline, self._reach))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._session.close()

    def _reach(self) -> None:
        self._reached = True

    def get(
        self, url: str, to: Sink, cap: int, known: Validators | None, seen: Callable[[int, int], None]
    ) -> Arrival | None:
        """Write what is at a URL, at most `cap` bytes, to a file; None where it is still what `known` stands for.

        `seen` gets how many bytes are there, of how many (0: not told). Raises Missing or FeedRefused.
        """
        for attempt in range(self._retries + 1):
            to.restart()
            try:
                with self._explained(url):
                    arrival = self._once(url, to, cap, known, seen)
                    if self._deadline.over:  # headers that were cut look like headers that have ended
                        raise TimeoutError
                    return arrival
            except _Passing as fault:
                if self._deadline.over:
                    raise self._late(url) from fault
                backoff = min(_LONGEST_BACKOFF, _BACKOFF_SECONDS * 2**attempt) * random.uniform(0.5, 1)  # noqa: S311 - no secret
                pause = max(fault.after, backoff)
                if attempt == self._retries:
                    tried = f" (tried {attempt + 1} times)" if attempt else ""
                    raise FeedRefused(fault.message + tried, fault.way_out) from fault
                if pause >= self._deadline.left:
                    way_out = "try again later, raise sources.deadline, or name a mirror in [sources] mirrors"
                    if fault.way_out != NETWORK:  # it says more
                        way_out = fault.way_out
                    raise FeedRefused(f"{fault.message}; no time is left to wait {pause:.0f} s", way_out) from fault
                self._deadline.pause(pause)
        raise AssertionError("unreachable: the last attempt returns or raises")

    @contextmanager
    def _explained(self, url: str) -> Iterator[None]:
        try:
            yield
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            if self._deadline.over:
                raise self._late(url) from None
            causes = list(_causes(error))
            if not self._reached and (proxy := find_proxy(self._asked)):
                raise _of_proxy(proxy, causes) from None
            if any(map(_is_of_certificate, causes)):
                way_out = "see that this host's clock is right, and that it trusts the server (REQUESTS_CA_BUNDLE)"
                raise FeedRefused(f"{url}: {_reason(causes)}", self._past_proxy(way_out)) from None
            if any(isinstance(cause, ValueError) for cause in causes):  # a URL, perhaps a redirect's, that is none
                raise FeedRefused(f"{url}: {_reason(causes)}", NETWORK) from None
            raise _Passing(f"{url}: {_reason(causes)}", way_out=self._past_proxy(NETWORK)) from None

    def _late(self, url: str) -> FeedRefused:
        reason = f"not done within {self._deadline.seconds:g} s"
        if not self._reached and (proxy := find_proxy(self._asked)):
            return FeedRefused(f"{proxy}: {reason}", proxy.way_out(reason))
        way_out = "raise sources.deadline, or name a mirror in [sources] mirrors"
        return FeedRefused(f"{url}: {reason}", self._past_proxy(way_out))

    def _past_proxy(self, way_out: str) -> str:
        """Return a way out that names the proxy too, where there is one: it may be what cuts, delays or reads."""
        proxy = find_proxy(self._asked)
        return f"{way_out}; it goes through {proxy}; {proxy.around}" if proxy else way_out

    def _once(
        self, url: str, to: Sink, cap: int, known: Validators | None, seen: Callable[[int, int], None]
    ) -> Arrival | None:
        at = url
        for _ in range(_REDIRECTS + 1):
            self._asked, self._reached = at, False
            if (proxy := find_proxy(at)) and not proxy.place:  # requests fails on it in ways of its own
                raise _of_proxy(proxy, [ValueError()])
            with self._session.get(
                at,
                headers=_conditions(known),
                timeout=(_CONNECT_SECONDS, _READ_SECONDS),
                stream=True,
                allow_redirects=False,  # requests would follow one to http://
            ) as response:
                self._reach()
                if not response.is_redirect:
                    return _receive(response, url, to, cap, known, seen)
                at = urljoin(at, response.headers["Location"])
            if not at.startswith("https://"):
                raise FeedRefused(f"{url}: is redirected to {_plain(at)}, which is not https", NETWORK)
        raise FeedRefused(f"{url}: more than {_REDIRECTS} redirects", NETWORK)


def _receive(
    response: requests.Response,
    url: str,
    to: Sink,
    cap: int,
    known: Validators | None,
    seen: Callable[[int, int], None],
) -> Arrival | None:
    status = response.status_code
    if status == 304 and _conditions(known):
        return None
    if status in (404, 410):
        raise Missing(f"{url}: there is no such file (HTTP {status})", NETWORK)
    if status in _PASSING:
        raise _Passing(f"{url}: HTTP {status} {_plain(response.reason)}", _retry_after(response))
    if status == 304:
        raise FeedRefused(f"{url}: HTTP 304, not modified, to somebody who has no copy yet", NETWORK)
    if status == 407 and (proxy := find_proxy(url)):
        raise _of_proxy(proxy, [OSError(f"HTTP {status} {response.reason}")])
    if status != 200:
        raise FeedRefused(f"{url}: HTTP {status} {_plain(response.reason)}", NETWORK)
    coding = response.headers.get("Content-Encoding", "identity")
    if coding != "identity":
        raise FeedRefused(f"{url}: comes in Content-Encoding {coding!r:.60}, though identity was asked for", NETWORK)
    promised = response.headers.get("Content-Length", "")
    total = int(promised) if promised.isdecimal() and len(promised) < 20 else 0
    size = 0
    while piece := response.raw.read(_CHUNK, decode_content=False):
        size += len(piece)
        if size > cap:
            raise FeedRefused(f"{url}: more than {cap:,} bytes", "this is not the file it should be; check the URL")
        to.write(piece)
        seen(size, total)
    if total and size != total:  # older urllib3 does not tell
        raise OSError(f"the body is cut short: {size:,} of {total:,} bytes came")
    chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
    return Arrival(validators=_validators(response), whole=promised.isdecimal() or chunked)


def _conditions(known: Validators | None) -> dict[str, str]:
    """RFC 9110, 13.1: ask for the file only if it is another one than the known."""
    if known is None:
        return {}
    conditions = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
    return {name: value for name, value in conditions.items() if value}


def _validators(response: requests.Response) -> Validators:
    def header(name: str) -> str:
        text = response.headers.get(name, "")
        return text if len(text) <= _VALIDATOR_LENGTH and text.isascii() and text.isprintable() else ""

    return Validators(etag=header("ETag"), last_modified=header("Last-Modified"))


def _retry_after(response: requests.Response) -> float:
    """Read Retry-After, in either form of RFC 9110, 10.2.3; the date's is told against the server's own clock."""
    text = response.headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text[:9])
    try:
        until, now = (parsedate_to_datetime(each) for each in (text, response.headers.get("Date", "")))
        return max(0.0, (until - now).total_seconds())
    except (TypeError, ValueError, OverflowError):  # the last for an offset that no time zone has
        return 0.0


class _Session(requests.Session):
    """Leaves redirects to us."""

    def get_redirect_target(self, _response: requests.Response) -> None:
        """Know of none: requests would read the whole body of one into memory, though it is not to follow it."""


class _Reader(io.BufferedReader):
    """What comes over a connection, in pieces of a known size; `room` is how many bytes of lines may come, if bounded.

    http.client has a hundred lines of 64 KiB for good, and keeps several copies of each.
    """

    room: int | None = _HEADERS_CAP

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return a line, or at most so much of it."""
        line = super().readline(size)
        if self.room is not None:
            self.room -= len(line)
            if self.room < 0:
                raise ValueError(f"more than {_HEADERS_CAP:,} bytes of headers")
        return line

    def read(self, size: int | None = -1, /) -> bytes:
        """Return at most so much. http.client asks for all there is when the size of a chunk is negative."""
        if size is None or size < 0:
            raise ValueError("the size of a chunk is negative")
        return super().read(size)


class _Response(http.client.HTTPResponse):
    """An answer that is never read into memory as a whole."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fp = self._reader = _Reader(self.fp.detach())

    def begin(self) -> None:
        """Read status and headers."""
        super().begin()
        self._reader.room = None


class _Adapter(HTTPAdapter):
    """Connects as requests does, and shows each socket to the deadline."""

    def __init__(self, deadline: Deadline, reach: Callable[[], None]) -> None:
        self._classes = {
            "http": _watched(HTTPConnectionPool, deadline, reach),
            "https": _watched(HTTPSConnectionPool, deadline, reach),
        }
        super().__init__(max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = self._classes

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = self._classes
        return manager


def _watched(pool: type[HTTPConnectionPool], deadline: Deadline, reach: Callable[[], None]) -> type[HTTPConnectionPool]:
    class Connection(pool.ConnectionCls):  # type: ignore[name-defined, misc]  # a class attribute of each pool
        response_class = _Response

        def _new_conn(self) -> Any:
            connection = deadline.connect(self._dns_host.strip("[]"), self.port, _CONNECT_SECONDS)
            for option in self.socket_options or ():
                connection.setsockopt(*option)
            return connection

        def _tunnel(self) -> None:
            super()._tunnel()
            if deadline.over:  # as in Client.get; and of a connection that was cut, ssl would not close the socket
                raise TimeoutError
            reach()

    return type(pool.__name__, (pool,), {"ConnectionCls": Connection})


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it came from: requests and urllib3 wrap a cause in two or three layers."""
    for _ in range(10):
        if error is None:
            return
        yield error
        inner = getattr(error, "reason", None) or next((a for a in error.args if isinstance(a, BaseException)), None)
        error = inner if isinstance(inner, BaseException) else None


def _is_of_certificate(cause: BaseException) -> bool:
    # urllib3 1.26 has an error of its own for another host's certificate
    return isinstance(cause, ssl.SSLCertVerificationError) or type(cause).__name__ == "CertificateError"


def _reason(causes: list[BaseException]) -> str:
    """Say what a person can act on: the innermost cause."""
    cause = causes[-1]
    text = str(cause) or type(cause).__name__
    if isinstance(cause, http.client.IncompleteRead):
        text = f"the body is cut short: {text}"
    elif isinstance(cause, http.client.BadStatusLine) and not isinstance(cause, ConnectionError):
        text = f"this is not HTTP: {text}"
    elif _is_of_certificate(cause) and "certificate" not in text:
        text = f"the certificate is another host's: {text}"
    elif isinstance(cause, urllib3.exceptions.HTTPError):
        text = text.rpartition(": ")[2]  # before it stands a repr of the connection
    return _plain(text)


def _of_proxy(proxy: Proxy, causes: list[BaseException]) -> FeedRefused:
    """Return what is wrong with a proxy. It says nothing of the URL, so that it is said once for all of them."""
    reason = _reason(causes)
    malformed = any(isinstance(cause, ValueError) for cause in causes)
    if malformed and "SOCKS" not in reason:
        reason = "not of the form http://HOST:PORT"  # the reason can hold the password
    message, way_out = f"{proxy}: {reason}", proxy.way_out(reason)
    refuses = malformed or re.search(r"\b4[0-9][0-9]\b", reason)
    return FeedRefused(message, way_out) if refuses else _Passing(message, way_out=way_out)


def _plain(text: str) -> str:
    return printable(text.strip()[:200])
