"""The largest set that is allowed, in the largest files, after another of its size: what a refresh can cost at most."""

from __future__ import annotations

import pytest

from fwfeed.compile import PREFIX_CAP
from tests.hostile.place import RECORDS, Place, measure
from tests.unit.builders import delegated


@pytest.mark.timeout(900)  # beside other tests, on a slow machine
def test_the_largest_set_after_another_of_its_size_fits_into_200_mib(place: Place) -> None:
    place.configure(deadline="10m")
    share = (PREFIX_CAP - 1000) // 5
    files = {}
    for k, registry in enumerate(RECORDS):
        lines = [
            f"JP|ipv4|{10 + 4 * k}.{i * 2 >> 16 & 255}.{i * 2 >> 8 & 255}.{i * 2 & 255}|1|20240101|assigned"
            for i in range(share)
        ]
        lines += [f"JP|ipv6|fd0{k}:{i >> 15:x}:{(i & 32767) * 2:x}::|48|20240101|assigned" for i in range(share)]
        lines += [f"ZZ|ipv6|fc0{k}:{i >> 15:x}:{(i & 32767) * 2:x}::|48|20240101|assigned" for i in range(520_000)]
        files[registry] = delegated(registry, lines, serial=1)
    for serial in (1, 2):
        for registry, raw in files.items():
            place.publish(registry, raw.replace(f"2|{registry}|1|".encode(), f"2|{registry}|{serial}|".encode(), 1))
        measured = measure(place, "fetch")
        assert measured.ended.code == 0, measured.ended.err
        assert "nothing changed" not in measured.ended.err
        assert measured.mebibytes <= 200
