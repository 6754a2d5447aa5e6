"""What a registry delegated: one record as a tuple, hundreds of thousands of them in columns, and a whole file."""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache, partial
from itertools import chain, compress, islice, pairwise, repeat
from operator import itemgetter, lt
from typing import NamedTuple, Self

from fwfeed.prefixes import Family, Range
from fwfeed.remark import Remark


class Delegation(NamedTuple):
    """One allocated or assigned address record: a range, who registered it where, and since when.

    `country` is as published (ISO 3166-1 alpha-2, or EU, AP, ZZ, or empty), `date` is YYYYMMDD or empty.
    """

    first: int
    last: int
    country: str
    registry: str
    status: str
    date: str


class Overlap(NamedTuple):
    """Delegations of which each shares an address with another of them: the range of all, and their rows."""

    first: int
    last: int
    rows: list[int]


_STATUSES = ("allocated", "assigned")
_NO_DATE = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Delegations:
    """The delegations of one registry in one family, in the order in which they were added.

    They are held in columns, at 15 bytes (IPv4) or 39 bytes (IPv6) each, whatever their file says: as tuples of
    objects the 600,000 that a file may have would take more memory than the whole process may.
    """

    family: Family
    registry: str
    _firsts: bytearray = field(default_factory=bytearray, init=False, repr=False)
    _lasts: bytearray = field(default_factory=bytearray, init=False, repr=False)
    _countries: array[int] = field(default_factory=lambda: array("H"), init=False, repr=False)
    _statuses: bytearray = field(default_factory=bytearray, init=False, repr=False)
    _dates: array[int] = field(default_factory=lambda: array("I"), init=False, repr=False)

    @classmethod
    def of(cls, family: Family, registry: str, rows: Iterable[Delegation]) -> Self:
        """Return the given delegations, all of this registry and family."""
        made = cls(family, registry)
        if columns := list(zip(*rows, strict=True)):
            firsts, lasts, countries, _registries, statuses, dates = columns
            made.extend(firsts, lasts, countries, statuses, dates)
        return made

    def extend(
        self,
        firsts: Sequence[int],
        lasts: Sequence[int],
        countries: Sequence[str],
        statuses: Sequence[str],
        dates: Sequence[str],
    ) -> None:
        """Add delegations, given by columns of one length; country, status and date as `Delegation` has them."""
        self._firsts.extend(_packed(firsts, self.family))
        self._lasts.extend(_packed(lasts, self.family))
        codes = {country: _country_code(country) for country in set(countries)}
        self._countries.extend(map(codes.__getitem__, countries))
        self._statuses.extend(map(_STATUSES.index, statuses))
        days = {date: int(date) if date else _NO_DATE for date in set(dates)}
        self._dates.extend(map(days.__getitem__, dates))

    def __len__(self) -> int:
        return len(self._dates)

    def __iter__(self) -> Iterator[Delegation]:
        firsts, lasts, countries, statuses, dates = self.columns()
        rows = zip(firsts, lasts, countries, repeat(self.registry), statuses, dates, strict=False)
        return map(partial(tuple.__new__, Delegation), rows)  # Delegation._make() in a third of its time

    def columns(self) -> tuple[Iterator[int], Iterator[int], Iterator[str], Iterator[str], Iterator[str]]:
        """Return what `extend` was given, column by column."""
        countries = map(_country_text, self._countries)
        return *self._ends(), countries, map(_STATUSES.__getitem__, self._statuses), map(_date_text, self._dates)

    def ranges_in(self, countries: Iterable[str]) -> Iterator[tuple[str, Range]]:
        """Yield what is delegated to the countries: the country, and the range."""
        wanted = {_country_code(country): country for country in countries}
        for row in [row for row, code in enumerate(self._countries) if code in wanted]:
            yield wanted[self._countries[row]], self._range(row)

    def overlaps(self) -> list[Overlap]:
        """Return the groups of delegations that share addresses, in the order of the addresses."""
        if not (spans := self._shared()):
            return []
        found = [Overlap(*span, []) for span in spans]
        starts = [first for first, _last in spans]
        for row, first in enumerate(self._ends()[0]):
            at = bisect_right(starts, first) - 1
            if at >= 0 and first <= spans[at][1]:
                found[at].rows.append(row)
        return found

    def conflict(self, overlap: Overlap) -> tuple[Delegation, Delegation] | None:
        """Return the two lowest delegations of an overlap that share an address and differ in their country."""
        if len({self._countries[row] for row in overlap.rows}) == 1:
            return None
        reaching, *others = sorted(overlap.rows, key=self._range)
        for row in others:
            # all before this one have one country, and one of them reaches into it: the one that reaches furthest
            if self._countries[row] != self._countries[reaching]:
                return self._delegation(reaching), self._delegation(row)
            if self._range(row)[1] > self._range(reaching)[1]:
                reaching = row
        raise AssertionError("two countries, and no overlap of them")

    def unite(self, overlaps: Iterable[Overlap]) -> None:
        """Make each overlap one delegation: the largest of its rows, of these the first, with the range of all."""
        keep = bytearray(b"\1") * len(self)
        size = self.family.bits // 8
        for first, last, rows in overlaps:
            largest = max(rows, key=lambda row: (self._range(row)[1] - self._range(row)[0], -row))
            for row in rows:
                keep[row] = row == largest
            place = slice(largest * size, (largest + 1) * size)
            self._firsts[place], self._lasts[place] = first.to_bytes(size, "big"), last.to_bytes(size, "big")
        for column in (self._firsts, self._lasts):
            column[:] = b"".join(compress(map(itemgetter(0), struct.iter_unpack(f"{size}s", bytes(column))), keep))
        for numbers in (self._countries, self._dates):
            numbers[:] = array(numbers.typecode, compress(numbers, keep))
        self._statuses[:] = bytes(compress(self._statuses, keep))

    def _shared(self) -> list[Range]:
        """Return the range of each overlap, ascending."""
        firsts, lasts = self._ends()
        next(firsts, None)
        if all(map(lt, lasts, firsts)):
            return []
        # Ranges are disjoint exactly when their ends, each sorted by itself, still take turns: it spares sorting pairs.
        low, high = map(sorted, self._ends())
        if all(map(lt, high, islice(low, 1, None))):
            return []
        breaks = [
            at for at, (last, first) in enumerate(zip(high, islice(low, 1, None), strict=False), 1) if last < first
        ]
        return [(low[begin], high[end - 1]) for begin, end in pairwise([0, *breaks, len(low)]) if end - begin > 1]

    def _range(self, row: int) -> Range:
        size = self.family.bits // 8
        first, last = (column[row * size : (row + 1) * size] for column in (self._firsts, self._lasts))
        return int.from_bytes(first), int.from_bytes(last)

    def _delegation(self, row: int) -> Delegation:
        country, status, date = self._countries[row], self._statuses[row], self._dates[row]
        return Delegation(*self._range(row), _country_text(country), self.registry, _STATUSES[status], _date_text(date))

    def _ends(self) -> tuple[Iterator[int], Iterator[int]]:
        return _numbers(self._firsts, self.family), _numbers(self._lasts, self.family)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One registry's delegated file at one serial, verified whole; delegations in file order, `records` its lines."""

    registry: str
    serial: int
    end_date: date
    records: int
    ipv4: Delegations
    ipv6: Delegations
    remarks: tuple[Remark, ...] = ()

    def delegations(self, family: Family) -> Delegations:
        """Return the delegations of one family."""
        return self.ipv4 if family is Family.IPV4 else self.ipv6


def _packed(addresses: Sequence[int], family: Family) -> bytes:
    if family is Family.IPV4:
        return struct.pack(f">{len(addresses)}I", *addresses)
    return b"".join([address.to_bytes(16, "big") for address in addresses])


def _numbers(packed: bytearray, family: Family) -> Iterator[int]:
    if family is Family.IPV4:
        return chain.from_iterable(struct.iter_unpack(">I", packed))
    return map(int.from_bytes, chain.from_iterable(struct.iter_unpack("16s", packed)))


def _country_code(country: str) -> int:
    """Return the two letters as a number of 16 bits; 0 for none."""
    return int.from_bytes(country.encode("ascii"), "big")


@lru_cache(maxsize=1024)
def _country_text(code: int) -> str:
    return code.to_bytes(2, "big").decode("ascii") if code else ""


# Real files have about 17,000 different dates between them; a hostile one has a different one in every record.
@lru_cache(maxsize=1 << 15)
def _date_text(day: int) -> str:
    return "" if day == _NO_DATE else f"{day:08}"
