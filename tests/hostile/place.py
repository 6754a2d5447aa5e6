"""A host that fetches from the server of this folder: five registries, a configuration, and what must not move."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from fwfeed.fetch import file_name
from tests.hostile.server import Answer, Server, whole
from tests.unit.builders import FWFEED, GERMANY, JAPAN, Ended, delegated, run, snapshot, to_toml

RECORDS: Mapping[str, Sequence[str]] = {
    "afrinic": ("ZA|ipv4|198.18.0.0|256|20100101|allocated",),
    "apnic": JAPAN,
    "arin": ("US|ipv4|198.18.1.0|256|20100101|allocated",),
    "lacnic": ("BR|ipv4|198.18.2.0|256|20100101|allocated",),
    "ripencc": GERMANY,
}
AUSTRALIA = "AU|ipv4|198.19.0.0|256|20240101|allocated"
THE_SET = ["198.51.100.0/24", "2001:db8:1::/48"]

Kept = dict[str, tuple[bytes | None, int]]


def today(days: int = 0) -> date:
    """Return a day relative to this one."""
    return datetime.now(UTC).date() + timedelta(days=days)


def newer(registry: str = "apnic", *more: str, serial: int = 2, end: date | None = None) -> bytes:
    """Return the good file that would be accepted if nothing was in its way."""
    return delegated(registry, [*RECORDS[registry], AUSTRALIA, *more], serial=serial, end=end)


def checksum(raw: bytes, name: str = "delegated-apnic-extended-latest") -> bytes:
    """Return the .md5 of a file."""
    return f"{hashlib.md5(raw).hexdigest()}  {name}\n".encode()


@dataclass(frozen=True)
class Place:
    """Folders below one root, and a server whose own folder has the registries' files."""

    root: Path
    server: Server
    urls: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.root / "fwfeed.toml"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def site(self) -> Path:
        return self.root / "site"

    def path(self, registry: str = "apnic") -> str:
        """Return at which path of the server a registry's file is."""
        return f"/{file_name(registry)}"

    def url(self, registry: str = "apnic") -> str:
        """Return a registry's URL."""
        return self.urls.get(registry, f"{self.server.url}{self.path(registry)}")

    def publish(self, registry: str, raw: bytes, folder: str = "") -> None:
        """Have the server serve a good file."""
        path = self.site / folder / file_name(registry)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
        path.with_name(f"{path.name}.md5").write_bytes(checksum(raw, path.name))

    def answer(self, raw: bytes, *, registry: str = "apnic") -> None:
        """Have the server send a file with its true .md5, whatever is asked."""
        self.say(whole(raw), whole(checksum(raw)), registry=registry)

    def say(self, *file_and_checksum: Answer, registry: str = "apnic") -> None:
        """Have the server answer so for a registry's file and, if that is given, for its .md5."""
        for suffix, answer in zip(("", ".md5"), file_and_checksum, strict=False):
            self.server.answers[f"{self.path(registry)}{suffix}"] = [answer]

    def configure(self, *, registries: Sequence[str] = tuple(RECORDS), **sources: Any) -> None:
        """Write the configuration; `sources` is what [sources] has beside the URLs, `feed` the feeds."""
        feeds = sources.pop("feed", "")
        given = {"include": [name for name, _ in feeds]} if feeds else {"include": []}
        table = {
            "set": given,
            "paths": {name: str(self.root / name) for name in ("cache", "state", "run", "firewalld", "templates")},
            "sources": {
                "registries": list(registries),
                "deadline": "20s",
                "retries": 0,
                **sources,
                **{registry: {"url": self.url(registry)} for registry in registries},
            },
        }
        self.config.write_text(to_toml(table) + "".join(text for _, text in feeds))

    def accept(self) -> None:
        """Fetch for the first time, which goes well."""
        ended = self.run("fetch")
        assert (ended.code, ended.err) == (0, "")
        assert self.listed() == THE_SET
        self.server.forget()

    def run(self, *arguments: str) -> Ended:
        """Run a command in this process."""
        return run("--config", self.config, *arguments)

    def listed(self) -> list[str]:
        """Return what `fwfeed list` prints."""
        return self.run("list").out.splitlines()

    def kept(self) -> Kept:
        """Return all files that a refused fetch must leave alone: all but the lock and the record of refusals."""
        free = ("lock", "refusals.json")
        everything = snapshot(self.cache, self.state, folders=False)
        return {path: what for path, what in everything.items() if Path(path).name not in free}

    def moving(self) -> tuple[Kept, list[str]]:
        """Return all that a refused fetch must leave as it is."""
        return self.kept(), self.listed()

    def assert_unmoved(self, before: tuple[Kept, list[str]]) -> None:
        """Assert that all is as it was, and that no temporary file is left."""
        assert self.moving() == before
        assert not [path for path in self.root.rglob("*") if path.name.endswith((".fwfeed-new", ".fwfeed-old"))]

    def assert_refused(self, ended: Ended, told: str, before: tuple[Kept, list[str]], code: int = 3) -> None:
        """Assert that a fetch ended so, said why and what to do, that nothing moved, and that `status` tells of it."""
        assert "Traceback" not in ended.err
        assert told in ended.err
        assert "way out: " in ended.err
        assert all(line.isprintable() for line in ended.err.split("\n"))
        assert max(map(len, ended.err.split("\n"))) < 1500
        assert ended.code == code, ended.err
        self.assert_unmoved(before)
        if code == 3:
            status = self.run("status")
            assert status.code == 0
            assert re.search(r"^  WARNING: (\S+:|the refresh is) refused since ", status.out, re.MULTILINE)
            assert re.sub(r"^[a-z-]+: ", "", told) in status.out

    def assert_stopped(self, ended: Ended, told: str, before: tuple[Kept, list[str]]) -> None:
        """Assert that a fetch ended for a reason that is not the sources', and that nothing moved."""
        assert "Traceback" not in ended.err
        assert told in ended.err
        assert ended.code == 1
        self.assert_unmoved(before)


@dataclass(frozen=True)
class Measured:
    """How a process ended, the processor's time it took, and its largest resident set."""

    ended: Ended
    seconds: float
    mebibytes: float


# A child's largest resident set begins with that of the process which starts it, so a small one does.
_STARTER = """
import os, sys
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
print(usage.ru_maxrss, usage.ru_utime + usage.ru_stime, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status) % 256)
"""


def environment() -> dict[str, str]:
    """Return the environment as it is now, without Python's own switches."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def measure(place: Place, *arguments: str) -> Measured:
    """Run the installed command in a process of its own; how long it may take, the test's time-out says."""
    command = [sys.executable, "-I", "-S", "-c", _STARTER, str(FWFEED), "--config", str(place.config), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    *lines, usage = done.stderr.splitlines()
    kibibytes, seconds = usage.split()
    ended = Ended(done.returncode, done.stdout, "".join(f"{line}\n" for line in lines))
    return Measured(ended, float(seconds), int(kibibytes) / 1024)


@contextmanager
def started(place: Place, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start the installed command, and see that it has ended."""
    command = [str(FWFEED), "--config", str(place.config), *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        try:
            yield process
        finally:
            process.kill()
