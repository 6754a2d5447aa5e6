"""What the tests of this folder are made of: small registries, a folder to work in, candidates, and TOML out of values.

All addresses are documentation or benchmarking ones (RFC 5737, RFC 3849, RFC 2544): 198.51.100.0/24 and
2001:db8:1::/48 play Japan, 203.0.113.0/24 and 2001:db8:2::/48 play Germany.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from fwfeed import cli
from fwfeed.compile import recipe
from fwfeed.config import Config
from fwfeed.fetch import file_name
from fwfeed.model import Candidate, Source
from fwfeed.prefixes import Family, Prefix, parse_prefix
from fwfeed.render import TEMPLATES

CHECKOUT = Path(__file__).parents[2]
FWFEED = Path(sys.executable).with_name("fwfeed")
# Without Python's own switches: PYTHONUNBUFFERED, which CI likes to set, would hide what happens to a full buffer.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

JAPAN = (
    "JP|asn|64496|1|20100101|allocated",
    "JP|ipv4|198.51.100.0|256|20100101|allocated",
    "JP|ipv6|2001:db8:1::|48|20100101|allocated",
)
GERMANY = (
    "DE|ipv4|203.0.113.0|256|20110203|assigned",
    "DE|ipv6|2001:db8:2::|48|20110203|allocated",
    "|ipv4|192.0.2.0|256||available",
)


def delegated(
    registry: str, records: Sequence[str], *, end: date | None = None, promised: int | None = None, serial: int = 1
) -> bytes:
    """Write a registry's delegated file; `promised` makes its header lie about the number of records."""
    last = end or datetime.now(UTC).date()
    header = f"2|{registry}|{serial}|{len(records) if promised is None else promised}|19830101|{last:%Y%m%d}|+0000"
    kinds = [record.split("|")[1] for record in records]
    summaries = [f"{registry}|*|{kind}|*|{kinds.count(kind)}|summary" for kind in dict.fromkeys(kinds)]
    return "".join(f"{line}\n" for line in (header, *summaries, *(f"{registry}|{r}" for r in records))).encode()


def publish(folder: Path, registry: str, raw: bytes, *, suffix: str = "", checksum: bytes | None = None) -> str:
    """Put a file and its .md5 where a mirror would, and return its URL; `checksum` replaces the true one."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{file_name(registry)}{suffix}"
    path.write_bytes(raw)
    true = f"{hashlib.md5(raw).hexdigest()}  {file_name(registry)}\n".encode()
    path.with_name(f"{file_name(registry)}.md5").write_bytes(true if checksum is None else checksum)
    return path.as_uri()


def snapshot(*roots: Path, folders: bool = True) -> dict[str, tuple[bytes | None, int]]:
    """Return every file below the roots: its content and the time of its last change.

    With `folders` these are there too, without content: a temporary file that came and went shows in their times.
    """
    paths = sorted(path for root in roots for path in root.rglob("*"))
    return {
        str(path): (path.read_bytes() if path.is_file() else None, path.stat().st_mtime_ns)
        for path in paths
        if folders or path.is_file()
    }


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        """What was printed, read as JSON."""
        return json.loads(self.out)


def remarks(ended: Ended) -> list[str]:
    """Return what was said beside the result, but for what an ordinary user is told of root's log."""
    return [line for line in ended.err.splitlines() if not line.startswith("without root, ")]


def run(*arguments: str | Path) -> Ended:
    """Run a command in this process, which takes a tenth of the time of another one."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as done:  # argparse: --help and errors of usage
            code = done.code if isinstance(done.code, int) else 1
    return Ended(int(code), out.getvalue(), err.getvalue())


def spawn(*arguments: str | Path) -> Ended:
    """Run the installed command in a process of its own."""
    done = subprocess.run(
        [FWFEED, *arguments], capture_output=True, text=True, timeout=60, check=False, env=ENVIRONMENT
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def _read(terminal: io.FileIO) -> bytes:
    """Read what a terminal shows; the end is an error (EIO), once nobody has its other side open."""
    try:
        return terminal.read(4096) or b""
    except OSError:
        return b""


@dataclass(frozen=True)
class World:
    """Folders to work in below one root, two registries that publish there, and a configuration that names them all."""

    root: Path

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
    def firewalld(self) -> Path:
        return self.root / "firewalld"

    @property
    def templates(self) -> Path:
        return self.root / "templates"

    @property
    def published(self) -> Path:
        return self.root / "published"

    def url(self, registry: str) -> str:
        return (self.published / file_name(registry)).as_uri()

    def publish(self, registry: str, raw: bytes, *, checksum: bytes | None = None) -> None:
        publish(self.published, registry, raw, checksum=checksum)

    def configure(self, *, set_table: str = "include = []", sources: str = "", paths: str = "", more: str = "") -> None:
        """Write the configuration; `paths` names those that are not to be below the root."""
        named = {line.split(" = ")[0] for line in paths.splitlines()}
        folders = [
            f'{name} = "{self.root / name}"'
            for name in ("cache", "state", "run", "firewalld", "templates")
            if name not in named
        ]
        registries = [f'[sources.{name}]\nurl = "{self.url(name)}"' for name in ("apnic", "ripencc")]
        lines = [
            "[set]",
            set_table,
            "[paths]",
            *folders,
            paths,
            "[sources]",
            'registries = ["apnic", "ripencc"]',
            sources,
            *registries,
            more,
        ]
        self.config.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def run(self, *arguments: str | Path) -> Ended:
        return run("--config", self.config, *arguments)

    def spawn(self, *arguments: str | Path) -> Ended:
        return spawn("--config", self.config, *arguments)

    def on_terminal(self, *arguments: str | Path) -> str:
        """Run the installed command with its stdout on a terminal, and return what that shows."""
        ours, theirs = pty.openpty()
        command = [FWFEED, "--config", self.config, *arguments]
        with open(ours, "rb", buffering=0) as terminal:  # noqa: PTH123 - a descriptor
            with subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, env=ENVIRONMENT) as running:
                os.close(theirs)
                shown = b"".join(iter(lambda: _read(terminal), b""))
            assert running.returncode == 0, shown
        return shown.decode().replace("\r\n", "\n")


def world(root: Path) -> World:
    """Make a world whose two registries have published good files."""
    made = World(root)
    made.publish("apnic", delegated("apnic", JAPAN))
    made.publish("ripencc", delegated("ripencc", GERMANY))
    made.configure()
    return made


def prefixes(texts: Sequence[str], family: Family) -> tuple[Prefix, ...]:
    return tuple(parse_prefix(text, family) for text in texts)


def candidate(
    config: Config,
    ipv4: Sequence[str] = ("192.0.2.0/24", "198.51.100.0/25"),
    ipv6: Sequence[str] = ("2001:db8:1::/48", "2001:db8:3::/49"),
) -> Candidate:
    """Return a candidate made by hand for a configuration."""
    wanted = recipe(config)
    return Candidate(
        compiled=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        recipe=wanted,
        sources=tuple(
            Source(
                name=name,
                url=f"https://example.net/{name}",
                serial=1,
                end_date=date(2026, 1, 1),
                sha256="0" * 64,
                records=1,
                taken=1,
            )
            for name in sorted({*wanted.registries, *wanted.feed_names})
        ),
        parts=(),
        ipv4=prefixes(ipv4, Family.IPV4),
        ipv6=prefixes(ipv6, Family.IPV6),
    )


def templates(**overrides: str) -> dict[str, tuple[str, str]]:
    """Return the templates that fwfeed comes with; `ipset`, `policy` and `zone` replace the text of one."""
    loaded = {}
    for name in TEMPLATES:
        path = CHECKOUT / "templates" / name
        kind = name.partition(".")[0]
        own = f"/etc/fwfeed/templates/{name}"
        loaded[name] = (own, overrides[kind]) if kind in overrides else (str(path), path.read_text(encoding="utf-8"))
    return loaded


def shipped(kind: str) -> str:
    """Return the text of a template that fwfeed comes with."""
    return (CHECKOUT / "templates" / f"{kind}.xml.j2").read_text(encoding="utf-8")


def to_toml(table: Mapping[str, object]) -> str:
    """Write nested values as TOML: plain values first, then each table below a header of its own."""
    return "".join(f"{line}\n" for line in _table_lines(table, ()))


def _table_lines(table: Mapping[str, object], path: tuple[str, ...]) -> list[str]:
    lines = [f"{_key(key)} = {_value(value)}" for key, value in table.items() if not isinstance(value, dict)]
    for key, value in table.items():
        if isinstance(value, dict):
            below = (*path, key)
            lines += [f"[{'.'.join(map(_key, below))}]", *_table_lines(value, below)]
    return lines


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _text(key)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_key(key)} = {_value(below)}' for key, below in value.items())}}}"
    return repr(value)  # numbers: Python writes them as TOML does, inf and nan included


def _text(text: str) -> str:
    """Quote a text with TOML's escapes, which are those of JSON but for what lies behind the first plane."""
    return (
        '"'
        + "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
        + '"'
    )
