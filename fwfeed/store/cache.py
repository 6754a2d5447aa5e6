"""The last accepted file of each registry, under the names the registries give them, and of each feed.

Any static web server over the folder is a mirror for other hosts: mirrors = ["https://host/{registry}"]. Files that
were verified but that a gate holds back wait in .held, in the same order.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from fwfeed.config import REGISTRY_URLS
from fwfeed.errors import FwfeedError
from fwfeed.fetch import Digests, Validators, digest, file_name
from fwfeed.model import Source
from fwfeed.store import files

_META_CAP = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What is known of an accepted file; `source.taken` is 0, as what is taken of it is not the file's."""

    source: Source
    validators: Validators


@dataclass(frozen=True, slots=True)
class Cache:
    """The cache folder."""

    root: Path

    @property
    def held(self) -> Cache:
        """The files that wait to be let through."""
        return Cache(self.root / ".held")

    def path(self, name: str) -> Path:
        """Return where the file of a registry or feed is kept."""
        return self.root / name / (file_name(name) if name in REGISTRY_URLS else name)

    def accepted(self, name: str) -> Accepted | None:
        """Return what is known of the accepted file of a registry or feed, None where it is not there unharmed."""
        path = self.path(name)
        try:
            meta = files.read_untrusted(self._meta(name), _META_CAP)
            found = None if meta is None else _load(name, meta)
        except (FwfeedError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None  # and the next refresh that accepts the file mends it
        if found is None or not path.is_file():
            return None
        with files.explained("read", path), path.open("rb") as file:
            return found if digest(file).sha256 == found.source.sha256 else None

    def has(self, source: Source) -> bool:
        """Return whether the file that a candidate's source speaks of is there unharmed."""
        accepted = self.accepted(source.name)
        return accepted is not None and accepted.source.sha256 == source.sha256

    def stage(self, staging: files.Staging, scratch: Path, digests: Digests, accepted: Accepted, now: datetime) -> None:
        """Have a verified file take its place, with its .md5 and what is known of it."""
        name = accepted.source.name
        path = self.path(name)
        staging.assign(scratch, path)
        if name in REGISTRY_URLS:
            staging.write(path.with_name(f"{path.name}.md5"), f"{digests.md5}  {path.name}\n".encode())
        staging.write(self._meta(name), _dump(accepted, now))

    def keep_only(self, names: Collection[str]) -> None:
        """Remove the files of all others."""
        with files.explained("read", self.root):
            others = (
                [folder for folder in self.root.iterdir() if folder.name not in names] if self.root.exists() else []
            )
        for folder in others:
            files.remove_tree(folder)

    def _meta(self, name: str) -> Path:
        return self.root / name / "meta.json"


def _dump(accepted: Accepted, now: datetime) -> bytes:
    source, validators = accepted.source, accepted.validators
    document = {
        "url": source.url,
        "sha256": source.sha256,
        "serial": source.serial,
        "end_date": source.end_date.isoformat(),
        "records": source.records,
        "etag": validators.etag,
        "last_modified": validators.last_modified,
        "accepted": now.astimezone(UTC).isoformat(timespec="seconds"),
    }
    return (json.dumps(document, indent=1) + "\n").encode()


def _load(name: str, raw: bytes) -> Accepted:
    document = json.loads(raw)
    texts = {key: document[key] for key in ("url", "sha256", "end_date", "etag", "last_modified")}
    serial, records = document["serial"], document["records"]
    if not all(isinstance(text, str) and text.isascii() and text.isprintable() for text in texts.values()):
        raise TypeError("it has other values where texts should be")
    if type(records) is not int or type(serial) not in (int, type(None)):
        raise TypeError("it has other values where numbers should be")
    source = Source(
        name=name,
        url=texts["url"],
        serial=serial,
        end_date=date.fromisoformat(texts["end_date"]),
        sha256=texts["sha256"],
        records=records,
        taken=0,
    )
    return Accepted(source=source, validators=Validators(etag=texts["etag"], last_modified=texts["last_modified"]))
