"""Where it is recorded what addresses the hosts that this one needs had when their names were last resolved.

The half without root writes it, as the other has no network; so what it says is read as what a stranger wrote.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from ipaddress import ip_address
from pathlib import Path

from fwfeed.errors import FwfeedError
from fwfeed.store import files

NAME = "hosts.json"

_CAP = 1 << 17
_HOSTS_CAP = 128
_ADDRESSES_CAP = 16
_NAME_CAP = 254

Addresses = Mapping[str, tuple[str, ...]]
"""The addresses of each host, the newest first."""


def load(folder: Path) -> Addresses:
    """Return what is recorded in a folder of candidates. Raises FwfeedError where it is damaged."""
    path = folder / NAME
    raw = files.read_untrusted(path, _CAP)
    if raw is None:
        return {}
    try:
        document = json.loads(raw)
        if not isinstance(document, dict) or len(document) > _HOSTS_CAP:
            raise TypeError
        return {_name(name): _addresses(listed) for name, listed in document.items()}
    except (ValueError, TypeError, RecursionError):
        raise FwfeedError(f"{path}: not a record of addresses", "remove it and run: fwfeed fetch") from None


def record(folder: Path, wanted: Collection[str], found: Mapping[str, Collection[str]]) -> bool:
    """Record what addresses were found of the hosts that are wanted, and say whether that was anything new.

    What was known before stays known: a host with many addresses shows other ones each time. Nothing is written while
    no address and no host is new, and none of the hosts has left. Raises FwfeedError.
    """
    try:
        before = load(folder)
    except FwfeedError:  # damaged: it is about to be replaced
        before = {}
    after = {}
    for name in list(dict.fromkeys(wanted))[:_HOSTS_CAP]:
        known = before.get(name, ())
        new = [address for address in sorted(found.get(name, ())) if address not in known]
        if listed := (*new, *known)[:_ADDRESSES_CAP]:
            after[name] = listed
    if after == before:
        return False
    files.replace(folder / NAME, (json.dumps(after, indent=1, sort_keys=True) + "\n").encode())
    return True


def _name(name: str) -> str:
    if not name.isprintable() or len(name) > _NAME_CAP:
        raise ValueError
    return name


def _addresses(listed: object) -> tuple[str, ...]:
    if not isinstance(listed, list) or len(listed) > _ADDRESSES_CAP:
        raise TypeError
    if any(not isinstance(each, str) or str(ip_address(each)) != each for each in listed):
        raise ValueError
    return tuple(listed)
