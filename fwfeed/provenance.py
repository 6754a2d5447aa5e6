"""From an address in the set back to what put it there: the feed, its file, the line, or a term of the configuration.

Files are looked into as they were accepted, in the cache; that they are the ones the candidate was made of is checked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from fwfeed import delegated, feeds
from fwfeed.compile import configured, recipe
from fwfeed.config import Config
from fwfeed.errors import ConfigError, FwfeedError, printable
from fwfeed.fetch import REGISTRY_CAP, origins
from fwfeed.model import Candidate, Origin, Source, Trace
from fwfeed.prefixes import Family, Range, merge, subtract
from fwfeed.store import candidates, files
from fwfeed.store.cache import Cache

_BLOCK = 1 << 20
_TEXT_LENGTH = 200
_DELEGATED = frozenset({"allocated", "assigned"})


def trace(config: Config, asked: Sequence[str]) -> list[Trace]:
    """Return why each address or prefix is in the set or not. Raises ConfigError naming each that is none."""
    import netaddr

    networks, problems = [], []
    for text in asked:
        try:
            networks.append(netaddr.IPNetwork(text))
        except (netaddr.AddrFormatError, ValueError):
            problems.append(f"{text!r} is neither an IP address nor a prefix")
    if problems:
        raise ConfigError(problems, "give addresses or prefixes, like 192.0.2.1 or 2001:db8::/32")
    candidate = candidates.load(Path(config.paths.state))
    traces = []
    for text, network in zip(asked, networks, strict=True):
        family, span = Family(network.version), (network.first, network.last)
        found = sorted(_origins(config, candidate, family, span), key=lambda each: each.excluded)
        traces.append(
            Trace(
                asked=text,
                ipset=config.set.ipset(family),
                inside=not subtract([span], merge(candidate.ranges(family))),
                origins=tuple(found),
            )
        )
    return traces


def _origins(config: Config, candidate: Candidate, family: Family, span: Range) -> Iterator[Origin]:
    recipe = candidate.recipe
    sources = {source.name: source for source in candidate.sources}
    for registry in recipe.registries:
        yield from _records(config, sources[registry], recipe.countries, family, span)
    for excluded, terms in ((False, recipe.include), (True, recipe.exclude)):
        for term in terms:
            if term in sources:
                yield from _entries(config, candidate, sources[term], family, span, excluded=excluded)
            elif any(_overlap(each, span) for each in configured(term, family)):
                yield Origin(source="", term=term, excluded=excluded, place="", serial=None, url="", text="")


def _records(config: Config, source: Source, countries: Sequence[str], family: Family, span: Range) -> Iterator[Origin]:
    path = Cache(Path(config.paths.cache)).path(source.name)
    first, last = span
    raw = _accepted(path, source)
    blocks = (raw[start : start + _BLOCK] for start in range(0, len(raw), _BLOCK))
    for line, text in delegated.find_lines(blocks, family=family, first=first, last=last):
        fields = text.split("|")
        if fields[1] in countries and fields[6] in _DELEGATED:
            yield Origin(
                source=source.name,
                term=fields[1],
                excluded=False,
                place=f"{path}:{line}",
                serial=source.serial,
                url=source.url,
                text=text,
            )


def _entries(
    config: Config, candidate: Candidate, source: Source, family: Family, span: Range, *, excluded: bool
) -> Iterator[Origin]:
    path = Cache(Path(config.paths.cache)).path(source.name)
    raw = _accepted(path, source)
    feed = next((feed for feed in config.feeds if feed.name == source.name), None)
    if feed is None or feed.description not in candidate.recipe.feeds:
        message = f"feed {source.name} is no longer in the configuration as it was when the candidate was compiled"
        raise FwfeedError(message, candidates.way_to_fetch(Path(config.paths.state), recipe(config)))
    lines = raw.split(b"\n")
    origin = origins(raw, source.url)
    for entry in feeds.parse(raw, feed=feed, file=str(path)).listed(family):
        if _overlap(entry[:2], span):
            file, line = origin(entry.line)
            place = f"{source.url.rstrip('/')}/{file}" if file else str(path)
            text = lines[entry.line - 1].decode(errors="replace").strip()[:_TEXT_LENGTH] if entry.line else ""
            yield Origin(
                source=source.name,
                term=source.name,
                excluded=excluded,
                place=printable(f"{place}:{line}" if line else place),
                serial=source.serial,
                url=source.url,
                text=printable(text),
            )


def _accepted(path: Path, source: Source) -> bytes:
    raw = files.read_untrusted(path, REGISTRY_CAP)
    if raw is None or hashlib.sha256(raw).hexdigest() != source.sha256:
        raise FwfeedError(f"{path} is not the file that the candidate was made of", "run: fwfeed fetch")
    return raw


def _overlap(one: Range, other: Range) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]
