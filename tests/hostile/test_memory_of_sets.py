"""The largest set that is allowed, in the largest files, after another of its size: what a refresh can cost at most."""

from __future__ import annotations

from fwfeed.compile import PREFIX_CAP
from tests.hostile.place import RECORDS, Place, measure
from tests.unit.builders import delegated


def test_the_largest_set_after_another_of_its_size_fits_into_200_mib(place: Place) -> None:
    share = (PREFIX_CAP - 1000) // 5
    for serial in (1, 2):
        for k, registry in enumerate(RECORDS):
            lines = [
                f"JP|ipv4|{10 + 4 * k}.{i * 2 >> 16 & 255}.{i * 2 >> 8 & 255}.{i * 2 & 255}|1|20240101|assigned"
                for i in range(share)
            ]
            lines += [f"JP|ipv6|fd0{k}:{i >> 15:x}:{(i & 32767) * 2:x}::|48|20240101|assigned" for i in range(share)]
            lines += [f"ZZ|ipv6|fc0{k}:{i >> 15:x}:{(i & 32767) * 2:x}::|48|20240101|assigned" for i in range(520_000)]
            place.publish(registry, delegated(registry, lines, serial=serial))
        measured = measure(place, "fetch")
        assert measured.ended.code == 0, measured.ended.err
        assert measured.mebibytes <= 200
