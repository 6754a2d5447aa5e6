"""Lists as people and providers write them: an address, a CIDR or a range a line, comments after `#` or `;`.

There is no standard; this is what the common lists have in common (Spamhaus DROP, FireHOL, Cloudflare, ipset's own).
"""

from __future__ import annotations

from fwfeed.errors import ParseError
from fwfeed.feeds.ranges import read_range
from fwfeed.feeds.rows import WAY_OUT, rows
from fwfeed.model import Listed, Listing
from fwfeed.prefixes import Family


def parse(raw: bytes, *, file: str) -> Listing:
    """Read a plain list; an empty one is a list too.

    Raises ParseError with the line for what `rows.rows` and `ranges.read_range` refuse.
    """
    entries: dict[Family, list[Listed]] = {family: [] for family in Family}
    for line, text in rows(raw, comments="#;", file=file):
        try:
            family, first, last = read_range(text)
        except ValueError as error:
            raise ParseError(file, line, str(error), WAY_OUT) from None
        entries[family].append(Listed(first, last, line))
    ipv4, ipv6 = entries[Family.IPV4], entries[Family.IPV6]
    return Listing(serial=None, made=None, records=len(ipv4) + len(ipv6), discarded=0, ipv4=ipv4, ipv6=ipv6)
