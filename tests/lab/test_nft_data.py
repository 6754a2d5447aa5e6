"""tests/data/nft is what firewalld makes of the rules of today, each version its own.

FWFEED_WRITE_GOLDEN=1 .venv/bin/python -m pytest tests/lab/test_nft_data.py
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

import pytest

from tests.lab.world import World
from tests.unit.builders import CHECKOUT

pytestmark = pytest.mark.lab

# The chains that fwfeed's rules are in, and those that lead there.
KEPT = re.compile(r"filter_(PREROUTING|INPUT|FORWARD|OUTPUT)(_|$)|filter_.*(log-outbound|fwfeed-)")


def test_what_the_unit_tests_take_for_firewallds_own_words_is_what_it_says(lab: World) -> None:
    path = CHECKOUT / f"tests/data/nft/firewalld-{lab.firewalld.version}.json"
    if not path.exists():
        return  # forky's moves on, and the unit tests do not
    # test_nftrules.CONFIG
    lab.configure(
        outbound='action = "reject"',
        inbound='action = "restrict"',
        apply='always_allow = ["203.0.113.9", "2001:db8:2::9"]',
    )
    updated = lab.fwfeed("update")
    assert updated.returncode == 0, updated.stderr
    listing = lab.run("host", "nft", "--json", "list", "table", "inet", "firewalld").stdout
    listing = listing.replace(f"-{lab.tag}", "")  # of the names of devices
    # a code of ICMPv6 has a number since nft 1.1, and had the name that it has for one type of message
    listing = re.sub(r'("field": "code"\}\}, "right": )0\b', r'\1"no-route"', listing)
    entries = [entry for entry in json.loads(listing)["nftables"] if kept(entry)]
    if os.environ.get("FWFEED_WRITE_GOLDEN") == "1":
        path.write_text('{"nftables": [\n' + ",\n".join(map(json.dumps, entries)) + "\n]}\n", encoding="utf-8")
    golden = json.loads(path.read_text(encoding="utf-8"))["nftables"]
    assert [plain(entry) for entry in entries] == [plain(entry) for entry in golden]


def kept(entry: dict[str, Any]) -> bool:
    chain = entry.get("chain", {}).get("name") or entry.get("rule", {}).get("chain")
    return "metainfo" in entry or (chain is not None and KEPT.match(chain) is not None)


def plain(entry: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is of one run or one nft."""
    return {
        kind: {} if kind == "metainfo" else {key: value for key, value in content.items() if key != "handle"}
        for kind, content in entry.items()
    }
