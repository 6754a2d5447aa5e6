"""The configuration: TOML text in, one frozen Config out, or every mistake at once.

Every key has a default, so an empty text is a good configuration. Reading files is the caller's business.
`schema` has the values, `table` the collecting of problems, `texts` the form of each kind of text.
"""

from __future__ import annotations

import re
import tomllib
from types import MappingProxyType

from fwfeed.config import texts as as_
from fwfeed.config.schema import (
    FOREIGN_ZONE,
    REGISTRY_URLS,
    Checksum,
    Config,
    GatesConfig,
    Inbound,
    InboundConfig,
    Outbound,
    OutboundConfig,
    PathsConfig,
    SetConfig,
    SourcesConfig,
)
from fwfeed.config.table import Table
from fwfeed.errors import ConfigError

__all__ = [
    "FOREIGN_ZONE",
    "REGISTRY_URLS",
    "Checksum",
    "Config",
    "GatesConfig",
    "Inbound",
    "InboundConfig",
    "Outbound",
    "OutboundConfig",
    "PathsConfig",
    "SetConfig",
    "SourcesConfig",
    "parse",
]

# firewalld's own zones and our other one: the zone of a set of such a name would take its place.
_TAKEN_ZONES = frozenset(
    [FOREIGN_ZONE, "block", "dmz", "drop", "external", "home", "internal", "nm-shared", "public", "trusted", "work"]
)
_ZONE_NAME_LENGTH = 17


def parse(text: str, *, file: str) -> Config:
    """Read a configuration.

    `file` is what messages call it. Raises ConfigError with all problems: a TOML error with its line, or each
    unknown key and bad value as `file:line: key: what is wrong`.
    """
    try:
        top = Table("", tomllib.loads(text), [])
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and where numbers or nesting have their limits
        raise ConfigError([f"{file}: not valid TOML: {error}"]) from None
    config = Config(
        set=_read_set(top.table("set")),
        sources=_read_sources(top.table("sources")),
        outbound=_read_outbound(top.table("outbound")),
        inbound=_read_inbound(top.table("inbound")),
        gates=_read_gates(top.table("gates")),
        paths=_read_paths(top.table("paths")),
    )
    if config.inbound.action is Inbound.RESTRICT:
        name = config.set.name
        if name.lower() in _TAKEN_ZONES or len(name) > _ZONE_NAME_LENGTH:
            reason = "there is one of that name, or it is longer than 17 characters"
            top.blame("set.name", f'{name!r} cannot be a zone, as inbound.action = "restrict" needs: {reason}')
    top.finish()
    if top.problems:
        placed = sorted(((_line_of(text, key), key, message) for key, message in top.problems), key=lambda p: p[0])
        raise ConfigError([f"{file}{f':{line}' if line else ''}: {key}: {message}" for line, key, message in placed])
    return config


def _read_set(table: Table) -> SetConfig:
    default = SetConfig()
    problems = len(table.problems)
    result = SetConfig(
        name=table.text("name", default.name, as_.set_name),
        countries=table.texts("countries", default.countries, as_.country),
        include=table.texts("include", default.include, as_.term),
        exclude=table.texts("exclude", default.exclude, as_.term),
    )
    if not result.countries and not result.include and len(table.problems) == problems:
        table.blame("countries", "names nobody, and include is empty: the set would be empty")
    return result


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
        mirrors=table.texts("mirrors", default.mirrors, as_.url),
        checksum=table.choice("checksum", default.checksum),
        max_age=table.text("max_age", default.max_age, as_.age),
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
    *tables, name = re.sub(r"\[\d+\]$", "", key).split(".")
    wanted, current = ".".join(tables), ""
    for number, line in enumerate(text.split("\n"), 1):
        if header := re.match(r"\s*\[\[?\s*([^\[\]]+?)\s*\]", line):
            current = header[1]
            if current == key:
                return number
        elif current == wanted and re.match(rf"\s*[\"']?{re.escape(name)}[\"']?\s*=", line):
            return number
    return 0
