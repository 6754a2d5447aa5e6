"""A web server's first nights with fwfeed, told in order: each test goes on from where the one before it left off."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from pathlib import Path

from fwfeed.feeds.special import special_purpose
from fwfeed.prefixes import Family, cover, format_prefix
from tests.e2e.machine import ABROAD, ABROAD6, DOMESTIC, DOMESTIC6, Machine, show, tell
from tests.e2e.registries import Registries
from tests.rpm.packages import Packages, build

README = (Path(__file__).parents[2] / "README.md").read_text()
UNITS = ("fwfeed-refresh.service", "fwfeed-apply.service")

# Documentation addresses are special-purpose ones: for the story these are abroad.
FOREIGN = ("203.0.113.0/24", "2001:db8:2::/48")


def test_an_administrator_installs_it_and_sees_the_first_line(web: Machine, registries: Registries) -> None:
    tell("The first evening, by the README")
    steps = _steps("Install it")
    assert steps[0].startswith("dnf install") and "journalctl" in steps[-1]
    web.type(steps[0].replace("dnf", "dnf -y"))
    _configure(web, "#exclude = []", f"exclude = {json.dumps(FOREIGN)}")
    for step in steps[1:-1]:
        web.type(step)
    assert web.connect(DOMESTIC) and web.connect(ABROAD)
    said = web.type(steps[-1])
    assert f"OUTBOUND_FOREIGN IN= OUT=eth0 SRC=198.51.100.1 DST={ABROAD}" in said
    assert f"DST={DOMESTIC} " not in said
    _assert_kernel_is(web, registries)


def _steps(section: str) -> list[str]:
    """Return what README says to type in a section."""
    text = README.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return [line.strip().removeprefix("$ ").removeprefix("sudo ") for line in re.findall(r"^    (\$ .*)$", text, re.M)]


def _configure(web: Machine, old: str, new: str) -> None:
    """Change a line of the configuration."""
    file = web.path("/etc/fwfeed/fwfeed.toml")
    text = file.read_text()
    assert f"{old}\n" in text
    file.write_text(text.replace(f"{old}\n", f"{new}\n"))
    show(f"(in /etc/fwfeed/fwfeed.toml: {new})\n")


def _assert_kernel_is(web: Machine, registries: Registries) -> None:
    """Compare the kernel's sets with what the plainest reading of the registries' files gives."""
    for family, delegated in zip(Family, registries.delegated("JP"), strict=True):
        special = [format_prefix(each, family) for each in cover(special_purpose(family), family)]
        wanted = list(collapse_addresses([*delegated, *map(_network, special)]))  # type: ignore[type-var]
        for foreign in FOREIGN:
            hole = _network(foreign)
            if hole.version == family.value:
                wanted = [part for each in wanted for part in _without(each, hole)]
        assert _kernel(web, family) == list(collapse_addresses(wanted)), family  # type: ignore[type-var]


def _kernel(web: Machine, family: Family) -> list[IPv4Network | IPv6Network]:
    name = "JP" if family is Family.IPV4 else "JP6"
    listed = json.loads(web.ask(f"nft -j list set inet firewalld {name}"))
    elements = next(each["set"]["elem"] for each in listed["nftables"] if "set" in each)
    nets = [_network(each if isinstance(each, str) else "{addr}/{len}".format(**each["prefix"])) for each in elements]
    return list(collapse_addresses(nets))  # type: ignore[type-var]


def _network(text: str) -> IPv4Network | IPv6Network:
    return IPv6Network(text) if ":" in text else IPv4Network(text)


def _without(net: IPv4Network | IPv6Network, hole: IPv4Network | IPv6Network) -> list[IPv4Network | IPv6Network]:
    if not net.overlaps(hole):
        return [net]
    return list(net.address_exclude(hole))  # type: ignore[arg-type]
