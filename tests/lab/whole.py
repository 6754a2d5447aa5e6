"""Two states that an apply goes between, and the proof that everything is in one of them, whole."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from ipaddress import IPv4Network, collapse_addresses
from typing import Any

from tests.lab.world import World

BUS_NAME = "org.fedoraproject.FirewallD1"
OLD = {"198.51.100.0/24"}
NEW = OLD | {"192.0.2.0/28", "192.0.2.32/28", "192.0.2.64/28"}

MORE = tuple(f"apnic|JP|ipv4|192.0.2.{first}|16|20110811|assigned|A3" for first in (0, 32, 64))


def have_old_and_prepare_new(lab: World, kind: str) -> None:
    """Install the old state, and have the next apply install the new one: by `entries` alone, or by other `rules`."""
    done = lab.fwfeed("update")
    assert done.returncode == 0, done.stderr
    prepare_new(lab, kind)


def prepare_new(lab: World, kind: str) -> None:
    lab.publish(*MORE)
    if kind == "rules":
        lab.configure(outbound='prefix = "ABROAD "', inbound='action = "restrict"')
    done = lab.fwfeed("fetch")
    assert done.returncode == 0, done.stderr


def table_handle(lab: World) -> str:
    """Return the handle of firewalld's table: a reload makes a new one."""
    listing = lab.run("host", "nft", "--handle", "list", "table", "inet", "firewalld").stdout
    return listing.splitlines()[0].rpartition("handle ")[2]


def status(lab: World) -> dict[str, Any]:
    """Return what `fwfeed status` says of what is installed."""
    done = lab.fwfeed("status", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert isinstance(document["installed"], dict), done.stdout
    return {**document["installed"], **{key: document[key] for key in ("waits_until", "held_back")}}


def files_are(lab: World) -> str:
    """Say which of the two states the files are in, `old` or `new`; what is neither is an error."""
    entries = set(re.findall(r"<entry>(.*?)</entry>", (lab.etc / "ipsets/JP.xml").read_text()))
    assert entries in (OLD, NEW), entries
    _rules(lab, may_be_new=entries == NEW)
    assert not list(lab.etc.rglob(".*fwfeed*"))
    return "old" if entries == OLD else "new"


def whole(lab: World) -> str:
    """Assert that files, firewalld's runtime and kernel are one state, with nothing under way, and say which."""
    found = files_are(lab)
    rules = _rules(lab, may_be_new=found == "new")
    entries = OLD if found == "old" else NEW
    assert addresses(lab.kernel_set("JP")) == addresses(entries)
    assert addresses(runtime_entries(lab)) == addresses(entries)
    logging = log_rules(lab)
    assert max(logging.values()) == 1, logging
    assert any('log prefix "ABROAD "' in rule for _chain, rule in logging) is rules
    assert any('log prefix "OUTBOUND_FOREIGN "' in rule for _chain, rule in logging) is not rules
    assert lab.ask(f"{BUS_NAME}.getDefaultZone") == ("log-outbound" if rules else "public")
    installed = status(lab)
    assert installed["problems"] == []
    assert installed["proved"] is True
    assert installed["waits_until"] is None
    assert not (lab.folder / "state/journal").exists()
    return found


def runtime_entries(lab: World) -> list[str]:
    """Return what firewalld says is in the set: by its bus, as firewall-cmd takes a while to start."""
    opening, *entries, closing = lab.ask(f"{BUS_NAME}.ipset.getEntries", "string:JP").split()[1:]
    assert (opening, closing) == ("[", "]")
    return entries


def addresses(entries: Iterable[str]) -> list[IPv4Network]:
    """Return what entries hold, however they are cut."""
    return list(collapse_addresses(map(IPv4Network, entries)))


def log_rules(lab: World) -> Counter[tuple[str, str]]:
    """Return how often each chain has each rule that logs, as nft prints it: not by fwfeed's own reading."""
    chain, found = "", Counter[tuple[str, str]]()
    for line in lab.run("host", "nft", "list", "ruleset").stdout.splitlines():
        if line.strip().startswith("chain "):
            chain = line.split()[1]
        elif "log prefix" in line:
            found[chain, line.strip()] += 1
    return found


def _rules(lab: World, *, may_be_new: bool) -> bool:
    """Return whether the files' rules are the new ones; what is neither, or should not be, is an error."""
    policy = (lab.etc / "policies/fwfeed-outbound.xml").read_text()
    conf = (lab.etc / "firewalld.conf").read_text()
    zone = (lab.etc / "zones/log-outbound.xml").exists()
    rules = ("ABROAD" in policy, "DefaultZone=log-outbound" in conf, zone)
    assert rules in ({(True, True, True), (False, False, False)} if may_be_new else {(False, False, False)}), rules
    return rules[0]
