"""The candidate as a text file: what crosses from the unprivileged half of fwfeed to the privileged one.

One JSON file, so that one rename replaces all of it. `load` trusts nothing: whoever wrote the file had less
rights than who reads it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any

from fwfeed.compile import PREFIX_CAP, configured
from fwfeed.config import REGISTRY_URLS
from fwfeed.config.texts import feed_name
from fwfeed.errors import FwfeedError
from fwfeed.model import Candidate, Part, Recipe, Source
from fwfeed.prefixes import Family, Prefix, cover, format_prefix, merge, parse_prefix, spans
from fwfeed.remark import Remark, RemarkKind

_FORMAT = 2
# What makes values out of few bytes: `[],` would take thirty times its size in memory. A candidate has some for each
# country and term, and but a comma for each prefix.
_OPENINGS = 20_000
_COMMAS = 2 * PREFIX_CAP + 10 * _OPENINGS
_REASON_LENGTH = 300
_REMARKS = 20
_REMARK_LENGTH = 500
_MOST = 1 << 128  # the addresses of IPv6; whatever is counted is less


def dump(candidate: Candidate) -> bytes:
    """Write a candidate; equal candidates give equal bytes."""
    document = {
        "format": _FORMAT,
        "compiled": candidate.compiled.astimezone(UTC).isoformat(timespec="seconds"),
        "recipe": recipe_to_json(candidate.recipe),
        "sources": [
            each if not source.remarks else {**each, "remarks": remarks_to_json(source.remarks)}
            for source, each in zip(candidate.sources, sources_to_json(candidate.sources), strict=True)
        ],
        "parts": [
            {
                "source": part.source,
                "term": part.term,
                "excluded": part.excluded,
                "ip": part.family.value,
                "prefixes": part.prefixes,
                "addresses": part.addresses,
            }
            for part in candidate.parts
        ],
        **{_key(family): [format_prefix(prefix, family) for prefix in candidate.prefixes(family)] for family in Family},
    }
    return (json.dumps(document, indent=1) + "\n").encode()


def digest(candidate: Candidate) -> str:
    """Return what the sets of a candidate are known by, however and whenever they were compiled."""
    texts = (format_prefix(prefix, family) for family in Family for prefix in candidate.prefixes(family))
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def load(raw: bytes, *, file: str) -> Candidate:
    """Read a candidate. Raises FwfeedError, naming `file`, for anything that `dump` would not have written."""
    try:
        document = json.loads(_bounded(raw))
        if document["format"] != _FORMAT:
            raise ValueError(f"format {document['format']!r} is not {_FORMAT}")
        candidate = Candidate(
            compiled=datetime.fromisoformat(_text(document["compiled"])),
            recipe=recipe_from_json(document["recipe"]),
            sources=sources_from_json(document["sources"]),
            parts=tuple(_part(part) for part in document["parts"]),
            ipv4=_prefixes(document.pop("ipv4"), Family.IPV4),
            ipv6=_prefixes(document.pop("ipv6"), Family.IPV6),
        )
        if candidate.compiled.tzinfo is None:
            raise ValueError("the time of compilation has no zone")
        _require_names(candidate)
        _require_terms(candidate.recipe)
        if dump(candidate) != raw:
            raise ValueError("it has more or other values than fwfeed writes")
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)[:_REASON_LENGTH]
        raise FwfeedError(f"{file}: not a candidate: {reason}", "remove it and run: fwfeed fetch") from None
    return candidate


def recipe_to_json(recipe: Recipe) -> dict[str, list[str]]:
    """Write a recipe as a JSON object."""
    return {
        "registries": list(recipe.registries),
        "countries": list(recipe.countries),
        "feeds": list(recipe.feeds),
        "include": list(recipe.include),
        "exclude": list(recipe.exclude),
    }


def recipe_from_json(value: Any) -> Recipe:
    """Read a recipe from a JSON object. Raises ValueError, TypeError or KeyError."""
    names = ("registries", "countries", "feeds", "include", "exclude")
    return Recipe(**{name: tuple(_text(element) for element in value[name]) for name in names})


def sources_to_json(sources: Iterable[Source]) -> list[dict[str, Any]]:
    """Write sources as a JSON array, without what was remarked on their files."""
    return [
        {
            "name": source.name,
            "url": source.url,
            "serial": source.serial,
            "end_date": source.end_date.isoformat(),
            "sha256": source.sha256,
            "records": source.records,
            "taken": source.taken,
        }
        for source in sources
    ]


def remarks_to_json(remarks: Iterable[Remark]) -> list[dict[str, str]]:
    """Write what was remarked on a source's file as a JSON array."""
    return [{"kind": remark.kind, "text": remark.text} for remark in remarks]


def sources_from_json(values: Any) -> tuple[Source, ...]:
    """Read sources from a JSON array. Raises ValueError, TypeError or KeyError."""
    return tuple(_source(value) for value in values)


def _key(family: Family) -> str:
    return f"ipv{family.value}"


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise TypeError(f"{value!r} is not printable text")
    return value


def _bounded(raw: bytes) -> str:
    """Return a candidate's text, which takes no more memory to read than the largest that fwfeed writes."""
    if raw.count(b"[") + raw.count(b"{") > _OPENINGS or raw.count(b",") > _COMMAS:
        raise ValueError("it has more values than fwfeed writes")
    return raw.decode("ascii")


def _require_names(candidate: Candidate) -> None:
    """Raise ValueError for names that no configuration can have: some are names of files and folders."""
    recipe = candidate.recipe
    for name in recipe.registries:
        if name not in REGISTRY_URLS:
            raise ValueError(f"{name!r} is not a registry")
    for name in recipe.feed_names:
        feed_name(name)
    for country in recipe.countries:
        if not re.fullmatch(r"[A-Z]{2}", country):
            raise ValueError(f"{country!r} is not a country code")
    names = [source.name for source in candidate.sources]
    if sorted(names) != sorted({*recipe.registries, *recipe.feed_names}):
        raise ValueError("its sources are not the registries and feeds of its recipe")


def _require_terms(recipe: Recipe) -> None:
    """Raise ValueError for a term that names nothing."""
    for term in (*recipe.include, *recipe.exclude):
        if term not in recipe.feed_names:
            for family in Family:
                configured(term, family)


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _MOST:
        raise TypeError(f"{value!r} is not a count")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _remark(value: Any) -> Remark:
    text = _text(value["text"])
    if len(text) > _REMARK_LENGTH:
        raise ValueError(f"a remark of {len(text):,} characters")
    return Remark(kind=RemarkKind(value["kind"]), text=text)


def _remarks(values: Any) -> tuple[Remark, ...]:
    if len(values) > _REMARKS:
        raise ValueError(f"{len(values):,} remarks on one source")
    return tuple(map(_remark, values))


def _source(value: Any) -> Source:
    return Source(
        name=_text(value["name"]),
        url=_text(value["url"]),
        serial=None if value["serial"] is None else _number(value["serial"]),
        end_date=date.fromisoformat(_text(value["end_date"])),
        sha256=_text(value["sha256"]),
        records=_number(value["records"]),
        taken=_number(value["taken"]),
        remarks=_remarks(value.get("remarks", [])),  # older candidates have none
    )


def _part(value: Any) -> Part:
    return Part(
        source=_text(value["source"]),
        term=_text(value["term"]),
        excluded=_flag(value["excluded"]),
        family=Family(value["ip"]),
        prefixes=_number(value["prefixes"]),
        addresses=_number(value["addresses"]),
    )


def _prefixes(values: Any, family: Family) -> tuple[Prefix, ...]:
    if len(values) > PREFIX_CAP:
        raise ValueError(f"it has more than {PREFIX_CAP:,} IPv{family.value} prefixes")
    prefixes = tuple(parse_prefix(str(value), family) for value in values)
    if list(prefixes) != cover(merge(spans(prefixes, family)), family):
        raise ValueError(f"the IPv{family.value} prefixes are not a minimal cover in ascending order")
    return prefixes
