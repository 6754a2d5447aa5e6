"""The configuration: TOML text in, one frozen Config out, or every mistake at once.

Every key has a default, so an empty text is a good configuration. Reading files is the caller's business.
`schema` has the values, `table` the collecting of problems, `texts` the form of each kind of text.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections import Counter
from dataclasses import replace
from types import MappingProxyType

from fwfeed.config import texts as as_
from fwfeed.config.schema import (
    FOREIGN_ZONE,
    REGISTRY_URLS,
    ApplyConfig,
    Checksum,
    Config,
    DaemonConfig,
    GatesConfig,
    Inbound,
    InboundConfig,
    Outbound,
    OutboundConfig,
    PathsConfig,
    SetConfig,
    SourcesConfig,
    WatchConfig,
)
from fwfeed.config.table import Table
from fwfeed.errors import ConfigError
from fwfeed.feeds import Feed, Format
from fwfeed.prefixes import Family

__all__ = [
    "FOREIGN_ZONE",
    "REGISTRY_URLS",
    "ApplyConfig",
    "Checksum",
    "Config",
    "DaemonConfig",
    "GatesConfig",
    "Inbound",
    "InboundConfig",
    "Outbound",
    "OutboundConfig",
    "PathsConfig",
    "SetConfig",
    "SourcesConfig",
    "WatchConfig",
    "parse",
]

_SET_NAME_LENGTH = 32  # firewalld's own limit
_AROUND_NAMES = r"[\"' ]"


def parse(text: str, *, file: str) -> Config:
    """Read a configuration.

    `file` is what messages call it. Raises ConfigError with all problems: a TOML error with its line, or each
    unknown key and bad value as `file:line: key: what is wrong`.
    """
    try:
        top = Table("", tomllib.loads(text), [])
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and where numbers or nesting have their limits
        raise ConfigError([f"{file}: not valid TOML: {error}"]) from None
    feeds = _read_feeds(top.tables("feed"))
    _read_feeds([top.model("feed")])
    chosen = _read_set(top.table("set"), feeds)
    config = Config(
        set=chosen,
        sources=_read_sources(top.table("sources")),
        feeds=tuple(_with_countries(feed, chosen) for feed in feeds),
        outbound=_read_outbound(top.table("outbound")),
        inbound=_read_inbound(top.table("inbound")),
        gates=_read_gates(top.table("gates")),
        apply=_read_apply(top.table("apply")),
        daemon=_read_daemon(top.table("daemon")),
        watch=_read_watch(top.table("watch")),
        paths=_read_paths(top.table("paths")),
        digest=hashlib.sha256(text.encode()).hexdigest(),
    )
    known = not any(key.startswith(("set.countries", "feed[")) for key, _message in top.problems)
    for index, feed in enumerate(config.feeds):
        if feed.format is Format.GEOFEED and not feed.countries and known:
            top.blame(f"feed[{index}].countries", "is missing, and set.countries has none to take in its place")
    longest = config.set.passing(Family.IPV6)
    if config.outbound.action.refuses and len(longest) > _SET_NAME_LENGTH:
        room = _SET_NAME_LENGTH - (len(longest) - len(config.set.name))
        reason = f'outbound.action = "{config.outbound.action}" may need a set {longest!r}'
        top.blame("set.name", f"{config.set.name!r} is longer than {room} characters, and {reason}")
    hints = top.finish()
    if top.problems:
        placed = sorted(((_line_of(text, key), key, message) for key, message in top.problems), key=lambda p: p[0])
        lines = [f"{file}{f':{line}' if line else ''}: {key}: {message}" for line, key, message in placed]
        raise ConfigError(lines, "; ".join(hints))
    return config


def _read_set(table: Table, feeds: list[Feed]) -> SetConfig:
    default = SetConfig()
    problems = len(table.problems)
    names = [feed.name for feed in feeds]

    def term(text: str) -> str:
        return as_.term(text, names)

    result = SetConfig(
        name=table.text("name", "", as_.set_name),
        countries=table.texts("countries", default.countries, as_.country),
        include=table.texts("include", default.include, term),
        exclude=table.texts("exclude", default.exclude, term),
    )
    if not result.countries and not result.include and len(table.problems) == problems:
        table.blame("countries", "names nobody, and include is empty: the set would be empty")
    if not result.name and len(table.problems) == problems:
        if len(result.countries) == 1:
            result = replace(result, name=result.countries[0])
        else:
            whose = f"of several countries ({', '.join(result.countries)})" if result.countries else "of no country"
            table.blame(
                "name",
                f'is missing: a set {whose} needs a name of its own, as in name = "HOME" (it was "JP" until now)',
            )
    if len(table.problems) == problems:
        for index, name in enumerate(names):
            if name and name not in (*result.include, *result.exclude):
                table.problems.append((f"feed[{index}].name", f"neither set.include nor set.exclude names {name!r}"))
    return result


_FILTERS = {"regions": Format.AWS, "services": Format.AWS, "scopes": Format.GCP, "countries": Format.GEOFEED}

_UNDATED = frozenset({Format.PLAIN, Format.GEOFEED})


def _read_feeds(tables: list[Table]) -> list[Feed]:
    feeds: list[Feed] = []
    for table in tables:
        table.require("name", "url")
        kind = table.choice("format", Format.PLAIN)
        feed = Feed(
            name=table.text("name", "", as_.feed_name),
            url=table.text("url", "", as_.url),
            format=kind,
            regions=table.texts("regions", (), as_.word),
            services=table.texts("services", (), as_.word),
            scopes=table.texts("scopes", (), as_.word),
            countries=table.texts("countries", (), as_.country),
            max_age=table.text("max_age", None, as_.age),
        )
        for key, owner in _FILTERS.items():
            if getattr(feed, key) and kind is not owner:
                table.blame(key, f'is a filter of format "{owner}", and this feed is "{kind}"')
        if feed.max_age is not None and kind in _UNDATED:
            table.blame("max_age", f'a "{kind}" file does not say of what day it is')
        if feed.name and any(feed.name == other.name for other in feeds):
            table.blame("name", f"{feed.name!r} is there twice")
        feeds.append(feed)
    return feeds


def _with_countries(feed: Feed, chosen: SetConfig) -> Feed:
    """Ask a geofeed that names no countries for those of the set."""
    if feed.format is Format.GEOFEED and not feed.countries:
        return replace(feed, countries=chosen.countries)
    return feed


def _read_sources(table: Table) -> SourcesConfig:
    default = SourcesConfig()
    urls = dict(REGISTRY_URLS)
    problems = len(table.problems)
    registries = table.texts("registries", default.registries, as_.registry)
    if not registries and len(table.problems) == problems:
        table.blame("registries", f"is empty; known are {', '.join(REGISTRY_URLS)}")
    for registry in REGISTRY_URLS:
        urls[registry] = table.table(registry).text("url", urls[registry], as_.url)
    return SourcesConfig(
        registries=registries,
        mirrors=table.texts("mirrors", default.mirrors, as_.mirror),
        checksum=table.choice("checksum", default.checksum),
        max_age=table.text("max_age", default.max_age, as_.age),
        deadline=table.text("deadline", default.deadline, as_.duration),
        retries=table.number("retries", default.retries, as_.retries),
        urls=MappingProxyType(urls),
    )


def _read_outbound(table: Table) -> OutboundConfig:
    default = OutboundConfig()
    return OutboundConfig(
        action=table.choice("action", default.action),
        prefix=table.text("prefix", default.prefix, as_.log_prefix),
        limit=table.text("limit", default.limit, as_.limit),
        forwarded=table.flag("forwarded", default=default.forwarded),
    )


def _read_inbound(table: Table) -> InboundConfig:
    default = InboundConfig()
    return InboundConfig(
        action=table.choice("action", default.action),
        prefix=table.text("prefix", default.prefix, as_.log_prefix),
        limit=table.text("limit", default.limit, as_.limit),
        services=table.texts("services", default.services, as_.service),
        foreign_services=table.texts("foreign_services", default.foreign_services, as_.service),
    )


def _read_gates(table: Table) -> GatesConfig:
    default = GatesConfig()
    return GatesConfig(
        max_shrink=table.text("max_shrink", default.max_shrink, as_.percentage),
        max_growth=table.text("max_growth", default.max_growth, as_.percentage),
        max_space=table.text("max_space", default.max_space, as_.percentage),
    )


def _read_apply(table: Table) -> ApplyConfig:
    default = ApplyConfig()
    return ApplyConfig(
        confirm=table.text("confirm", default.confirm, as_.waiting_time),
        keep=table.number("keep", default.keep, as_.keep),
        always_allow=table.texts("always_allow", default.always_allow, as_.cidr),
    )


def _read_daemon(table: Table) -> DaemonConfig:
    default = DaemonConfig()
    return DaemonConfig(
        at=table.text("at", default.at, as_.time_of_day),
        spread=table.text("spread", default.spread, as_.spread),
    )


def _read_watch(table: Table) -> WatchConfig:
    default = WatchConfig()
    return WatchConfig(
        group=table.number_or_off("group", default.group, as_.nflog_group),
        keep=table.text("keep", default.keep, as_.keeping_time),
    )


def _read_paths(table: Table) -> PathsConfig:
    default = PathsConfig()
    return PathsConfig(
        cache=table.text("cache", default.cache, as_.path),
        state=table.text("state", default.state, as_.path),
        run=table.text("run", default.run, as_.path),
        firewalld=table.text("firewalld", default.firewalld, as_.path),
        templates=table.text("templates", default.templates, as_.path),
    )


def _line_of(text: str, key: str) -> int:
    """Return the line of a key in TOML text as far as its lines tell; 0 for a key written in another way."""
    plain = re.sub(r"\[\d+\]$", "", key)
    wanted, current = plain.rpartition(".")[0], ""
    arrays: Counter[str] = Counter()
    table = 0  # for a key that should be there and is not
    for number, line in enumerate(text.split("\n"), 1):
        if header := re.match(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]", line):
            current = header[2]
            if header[1] == "[[":
                current = f"{header[2]}[{arrays[header[2]]}]"
                arrays[header[2]] += 1
            if key in (current, header[2]):
                return number
            table = number if current == wanted else table
        elif found := re.match(r"\s*([A-Za-z0-9_\"'. -]+?)\s*=", line):
            written = f"{current}.{re.sub(_AROUND_NAMES, '', found[1])}".removeprefix(".")
            if written == plain:
                return number
            if plain.startswith(f"{written}.") or (written.startswith(f"{wanted}.") and not table):
                table = number  # a table on one line, or keys with dots
    return table
