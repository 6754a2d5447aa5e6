"""What a generation's manifest says, as JSON: written in one form, and read in no other."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from fwfeed.candidate import recipe_from_json, recipe_to_json, sources_from_json, sources_to_json
from fwfeed.model import Generation, Outcome
from fwfeed.prefixes import Family

PATH = re.compile(r"(ipsets|policies|zones)/[A-Za-z0-9_-]+\.xml")
"""What a file of fwfeed's is called below /etc/firewalld."""


def digest(raw: bytes) -> str:
    """Return the digest by which a manifest knows a file."""
    return hashlib.sha256(raw).hexdigest()


def load(number: int, raw: bytes) -> Generation:
    """Read a manifest.

    Raises ValueError, KeyError, TypeError, AttributeError, OverflowError or RecursionError for one that `dump` has not
    written.
    """
    generation = _load(number, json.loads(raw))
    if dump(generation) != raw:
        raise ValueError("it has more or other values than fwfeed writes")
    return generation


def _load(number: int, document: Any) -> Generation:
    paths = dict(document["files"])
    prefixes, addresses = dict(document["prefixes"]), dict(document["addresses"])
    if not all(PATH.fullmatch(path) and re.fullmatch(r"[0-9a-f]{64}", sha256) for path, sha256 in paths.items()):
        raise ValueError("it names files that fwfeed does not write")
    if not all(type(count) is int and count >= 0 for count in (*prefixes.values(), *addresses.values())):
        raise ValueError("it has counts that are none")
    texts = (document["root"], document["reason"], document["config"], document["firewalld"])
    if type(document["restores"]) not in (int, type(None)):
        raise TypeError("it has other values where numbers should be")
    zones = (document["default_zone"], document["replaced_zone"])
    if not all(isinstance(text, str) for text in (*texts, *(zone for zone in zones if zone is not None))):
        raise TypeError("it has other values where texts should be")
    created = datetime.fromisoformat(document["created"])
    if created.tzinfo is None:
        raise ValueError("its time has no zone")
    return Generation(
        number=number,
        root=document["root"],
        created=created,
        outcome=Outcome(document["outcome"]),
        reason=document["reason"],
        restores=document["restores"],
        config=document["config"],
        firewalld=document["firewalld"],
        recipe=recipe_from_json(document["recipe"]),
        sources=sources_from_json(document["sources"]),
        prefixes=MappingProxyType({family: prefixes[str(family.value)] for family in Family}),
        addresses=MappingProxyType({family: addresses[str(family.value)] for family in Family}),
        files=MappingProxyType(paths),
        default_zone=document["default_zone"],
        replaced_zone=document["replaced_zone"],
    )


def dump(generation: Generation) -> bytes:
    """Write a manifest."""
    document = {
        "root": generation.root,
        "created": generation.created.astimezone(UTC).isoformat(timespec="seconds"),
        "outcome": generation.outcome,
        "reason": generation.reason,
        "restores": generation.restores,
        "config": generation.config,
        "firewalld": generation.firewalld,
        "recipe": recipe_to_json(generation.recipe),
        "sources": sources_to_json(generation.sources),
        "prefixes": {str(family.value): generation.prefixes[family] for family in Family},
        "addresses": {str(family.value): generation.addresses[family] for family in Family},
        "files": dict(generation.files),
        "default_zone": generation.default_zone,
        "replaced_zone": generation.replaced_zone,
    }
    return (json.dumps(document, indent=1) + "\n").encode()
