"""The five registries, as web servers that know each other's names: their real files of 2018-10-13, as of today.

python -m tests.e2e.registries SITE CERTIFICATE ADDRESS     serve SITE/HOST/PATH, and say on stdout what is asked
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import lzma
import ssl
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from fwfeed.config.schema import REGISTRY_URLS

DATA = Path(__file__).parents[1] / "data" / "rir-2018-10-13"

# So that the documentation addresses abroad are somewhere.
ABROAD = (
    b"apnic||ipv4|203.0.113.0|256||reserved|\n",
    b"apnic|AU|ipv4|203.0.113.0|256|20110414|assigned|A9113FEF\n",
)

Spans = list[tuple[int, int]]


@dataclass
class Registries:
    """What they publish, by registry."""

    site: Path
    files: dict[str, bytes]
    serial: int = 0

    @classmethod
    def of_today(cls, site: Path, day: date) -> Registries:
        """Publish the real files, as if they were of a day."""
        made = cls(site, {})
        for registry in REGISTRY_URLS:
            raw = lzma.decompress((DATA / f"delegated-{registry}-extended-latest.xz").read_bytes())
            made.files[registry] = raw.replace(*ABROAD)
        made.publish(day)
        return made

    def change(self, registry: str, line: Callable[[bytes], bytes]) -> None:
        """Change each line of a registry's file; how many there are must stay."""
        self.files[registry] = b"".join(line(each) for each in self.files[registry].splitlines(keepends=True))

    def publish(self, day: date) -> None:
        """Put out the files and their checksums, with a new serial and a day in their headers."""
        self.serial += 1
        for registry, url in REGISTRY_URLS.items():
            place = urlsplit(url)
            file = self.site / str(place.hostname) / place.path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            raw = _dated(self.files[registry], day, self.serial)
            for path, text in ((file, raw), (file.with_name(f"{file.name}.md5"), _checksum(file.name, raw))):
                scratch = path.with_name("new")
                scratch.write_bytes(text)
                scratch.rename(path)

    def delegated(self, country: str, version: int) -> Spans:
        """Return what is delegated to a country, first and last addresses, worked out in the plainest way."""
        found: Spans = []
        for fields in self._records():
            if fields[1:3] == [country, f"ipv{version}"] and fields[6] in {"allocated", "assigned"}:
                first, size = ip_address(fields[3]), int(fields[4])
                found.append((int(first), int(first) + (size if version == 4 else 2 ** (128 - size)) - 1))
        return found

    def lines(self, registry: str) -> list[bytes]:
        """Return the lines of a registry's file."""
        return self.files[registry].splitlines(keepends=True)

    def _records(self) -> Iterator[list[str]]:
        for raw in self.files.values():
            for line in raw.decode("ascii", "replace").splitlines():
                fields = line.split("|")
                if len(fields) >= 7 and fields[0] in REGISTRY_URLS:
                    yield fields


def spans_of(networks: Iterable[str]) -> Spans:
    """Return first and last address of each network."""
    read = [ip_network(each) for each in networks]
    return [(int(net.network_address), int(net.broadcast_address)) for net in read]


def names() -> list[str]:
    """Return the registries' host names."""
    return [str(urlsplit(url).hostname) for url in REGISTRY_URLS.values()]


def _dated(raw: bytes, day: date, serial: int) -> bytes:
    lines = raw.splitlines(keepends=True)
    at = next(index for index, line in enumerate(lines) if not line.startswith(b"#"))
    version, registry, _serial, records, start, _end, offset = lines[at].rstrip(b"\n").split(b"|")
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
    number = f"{moment.timestamp() + serial:.0f}".encode()
    lines[at] = b"|".join([version, registry, number, records, start, f"{day:%Y%m%d}".encode(), offset]) + b"\n"
    return b"".join(lines)


def _checksum(name: str, raw: bytes) -> bytes:
    return f"{hashlib.md5(raw, usedforsecurity=False).hexdigest()}  {name}\n".encode()


class _Handler(http.server.SimpleHTTPRequestHandler):
    def translate_path(self, path: str) -> str:
        host = (self.headers.get("Host") or "").partition(":")[0].replace("/", "")
        return super().translate_path(f"/{host}{path}")

    def log_message(self, text: str, *arguments: object) -> None:
        print(self.headers.get("Host") if hasattr(self, "headers") else "-", text % arguments, flush=True)


def _serve(site: str, certificate: str, address: str) -> None:
    server = http.server.ThreadingHTTPServer((address, 443), functools.partial(_Handler, directory=site))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
