"""delegations.sqlite: every delegation that is put in is found by every address it holds, and by no other."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from fwfeed.delegation import Delegation, Delegations
from fwfeed.model import Snapshot, Source
from fwfeed.prefixes import Family
from fwfeed.store import delegations


@pytest.mark.parametrize("number", [0, 1, 39, 40, 41, 80, 1001])
def test_every_number_of_delegations_can_be_put_in(number: int, tmp_path: Path) -> None:
    rows = {
        family: [
            Delegation(base + at * 8, base + at * 8 + 3, "JP", "apnic", ("allocated", "assigned")[at % 2], f"{at:08}")
            for at in reversed(range(number))
        ]
        for family, base in ((Family.IPV4, 0xC6120000), (Family.IPV6, 0x20010DB8 << 96))
    }
    packed = {family: Delegations.of(family, "apnic", rows[family]) for family in Family}
    end = date(2018, 10, 12)
    snapshot = Snapshot(
        registry="apnic",
        serial=1,
        end_date=end,
        records=2 * number,
        ipv4=packed[Family.IPV4],
        ipv6=packed[Family.IPV6],
    )
    source = Source(
        name="apnic",
        url="https://example.net/",
        serial=1,
        end_date=end,
        sha256="0" * 64,
        records=2 * number,
        taken=0,
    )
    path = tmp_path / "delegations.sqlite"
    with delegations.building(path) as database:
        database.add(7, snapshot, source)
    for family in Family:
        for row in rows[family]:
            assert delegations.lookup(path, row.first, family) == [row]
            assert delegations.lookup(path, row.last, family) == [row]
            assert delegations.lookup(path, row.last + 1, family) == []
