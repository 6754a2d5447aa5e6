"""Replay a folder of one registry's files night by night through the real refresh, and say how each night ended.

    .venv/bin/python -m tests.bench.nights FOLDER --registry afrinic --country ZA

A file is named by the day on which it was published, YYYY-MM-DD or YYYY-MM-DD-NUMBER; its .md5, where there is one,
has .md5 behind that. On a day without a file what was published last is asked for again, as on a real night.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from fwfeed.config import REGISTRY_URLS, Config, parse
from fwfeed.errors import FeedRefused
from fwfeed.fetch import file_name
from fwfeed.refresh import Refreshed, refresh

_NAME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:-[0-9]+)?")
_HOUR = 21  # of UTC, when all registries have published the file of the day


@dataclass(slots=True)
class Replay:
    """How the nights ended: each night's `outcome`, what was said, and how long no news came in."""

    outcomes: Counter[str] = field(default_factory=Counter)
    said: list[str] = field(default_factory=list)
    remarked: int = 0
    longest: timedelta = timedelta(0)
    _last: datetime | None = None

    def add(self, now: datetime, outcome: str, said: Sequence[str]) -> None:
        """Take how one night ended."""
        self.outcomes[outcome] += 1
        self.said += [f"{now:%Y-%m-%d} {outcome}: {line}" for line in said]
        if outcome == "accepted":
            self._last = now
        elif self._last is not None:
            self.longest = max(self.longest, now - self._last)


def nights(folder: Path) -> Iterator[tuple[date, Path | None]]:
    """Yield each day from the first to the last file's, and the files of that day, None where it has none."""
    files: dict[date, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if found := _NAME.fullmatch(path.name):
            files.setdefault(date.fromisoformat(found[1]), []).append(path)
    for number in range((max(files) - min(files)).days + 1):
        day = min(files) + timedelta(days=number)
        yield from ((day, path) for path in files.get(day, [None]))


def configured(root: Path, registry: str, country: str) -> Config:
    """Return the configuration of a host that asks one registry alone, in folders below a root."""
    paths = "".join(f'{name} = "{root / name}"\n' for name in ("cache", "state", "run", "firewalld"))
    url = (root / "published" / file_name(registry)).as_uri()
    text = f"""
[set]
countries = ["{country}"]
[sources]
registries = ["{registry}"]
checksum = "optional"
[sources.{registry}]
url = "{url}"
[outbound]
action = "off"  # else names are looked up
[paths]
{paths}"""
    return parse(text, file="nights.toml")


def replay(folder: Path, registry: str, country: str, root: Path) -> Replay:
    """Have every night of a folder happen, in a new and empty folder."""
    config = configured(root, registry, country)
    published = root / "published" / file_name(registry)
    published.parent.mkdir(parents=True)
    done = Replay()
    for day, path in nights(folder):
        if path is not None:
            published.write_bytes(path.read_bytes())
            md5, place = path.with_name(f"{path.name}.md5"), published.with_name(f"{published.name}.md5")
            place.write_bytes(md5.read_bytes()) if md5.exists() else place.unlink(missing_ok=True)
        now = datetime(day.year, day.month, day.day, _HOUR, tzinfo=UTC)
        try:
            refreshed = refresh(config, now=now, tell=lambda _line: None)
        except FeedRefused as refusal:
            done.add(now, "refused whole", [refusal.message])
            continue
        outcome, said = _outcome(refreshed, hashlib.sha256(published.read_bytes()).hexdigest())
        done.add(now, outcome if path is not None else f"no file, {outcome}", said)
        done.said += [f"{now:%Y-%m-%d} remark: {remark}" for remark in refreshed.remarks]
        done.remarked += bool(refreshed.remarks)
    return done


def _outcome(refreshed: Refreshed, sha256: str) -> tuple[str, Sequence[str]]:
    if refreshed.stale or refreshed.warnings:
        return "refused", (*refreshed.stale, *refreshed.warnings)
    if refreshed.verdicts:
        return "held", [verdict.reason for verdict in refreshed.verdicts]
    if refreshed.candidate is None or [source.sha256 for source in refreshed.candidate.sources] != [sha256]:
        raise AssertionError("neither refused nor held, and not what was published")
    return ("accepted" if refreshed.changed else "same"), ()


def main() -> None:
    """Replay, and print what was said and how many nights ended how."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--registry", choices=sorted(REGISTRY_URLS), required=True)
    parser.add_argument("--country", required=True)
    arguments = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as root:
        done = replay(arguments.folder, arguments.registry, arguments.country, Path(root))
    sys.stdout.write("".join(f"{line}\n" for line in done.said))
    print(f"{done.outcomes.total():,} nights in {time.monotonic() - begun:,.0f} s")
    for outcome, number in done.outcomes.most_common():
        print(f"{number:>6,}  {outcome}")
    print(f"{done.remarked:>6,}  of these with remarks; at most {done.longest.days} days without a new file")


if __name__ == "__main__":
    main()
