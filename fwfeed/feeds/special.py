"""The special-purpose group: ranges that are delegated to nobody and must never be called foreign."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from functools import cache

from fwfeed.prefixes import Family, Ranges, merge, parse_prefix, spans, subtract

SPECIAL_PURPOSE = "special-purpose"


class Purpose(StrEnum):
    """What a special-purpose block is for, in short: IANA's names (RFC 6890), or those of the RFC in its row."""

    THIS_NETWORK = "this network"
    PRIVATE = "private"
    SHARED = "shared (CGN)"
    LOOPBACK = "loopback"
    LINK_LOCAL = "link-local"
    PROTOCOLS = "IETF protocols"
    DOCUMENTATION = "documentation"
    BENCHMARKING = "benchmarking"
    MULTICAST = "multicast"
    RESERVED = "reserved"
    BROADCAST = "broadcast"
    UNSPECIFIED = "unspecified"
    IPV4_MAPPED = "IPv4-mapped"
    TRANSLATION = "IPv4 translation"
    DISCARD = "discard-only"
    DUMMY = "dummy"
    SEGMENT_ROUTING = "segment routing"
    UNIQUE_LOCAL = "unique-local"
    SITE_LOCAL = "site-local"
    ANYCAST = "anycast"
    TEREDO = "Teredo"
    SIX_TO_FOUR = "6to4"
    AMT = "AMT"
    AS112 = "AS112"
    ORCHID = "ORCHID"
    DRONES = "drone remote ID"


# IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, RFC 8190): the blocks that are not globally
# reachable, the multicast ranges (RFC 5771, RFC 4291), and the limited broadcast address (inside 240.0.0.0/4).
# They are delegated to nobody, so no registry file has them; without them every packet to a neighbour, a
# container or a multicast group would count as foreign.
_UNREACHABLE = {
    Family.IPV4: {
        "0.0.0.0/8": Purpose.THIS_NETWORK,  # RFC 791
        "10.0.0.0/8": Purpose.PRIVATE,  # RFC 1918
        "100.64.0.0/10": Purpose.SHARED,  # RFC 6598
        "127.0.0.0/8": Purpose.LOOPBACK,  # RFC 1122
        "169.254.0.0/16": Purpose.LINK_LOCAL,  # RFC 3927
        "172.16.0.0/12": Purpose.PRIVATE,  # RFC 1918
        "192.0.0.0/24": Purpose.PROTOCOLS,  # RFC 6890
        "192.0.2.0/24": Purpose.DOCUMENTATION,  # RFC 5737
        "192.168.0.0/16": Purpose.PRIVATE,  # RFC 1918
        "198.18.0.0/15": Purpose.BENCHMARKING,  # RFC 2544
        "198.51.100.0/24": Purpose.DOCUMENTATION,  # RFC 5737
        "203.0.113.0/24": Purpose.DOCUMENTATION,  # RFC 5737
        "224.0.0.0/4": Purpose.MULTICAST,  # RFC 5771
        "240.0.0.0/4": Purpose.RESERVED,  # RFC 1112, and limited broadcast
    },
    Family.IPV6: {
        "::/128": Purpose.UNSPECIFIED,  # RFC 4291
        "::1/128": Purpose.LOOPBACK,  # RFC 4291
        "::ffff:0:0/96": Purpose.IPV4_MAPPED,  # RFC 4291
        "64:ff9b:1::/48": Purpose.TRANSLATION,  # local use, RFC 8215
        "100::/64": Purpose.DISCARD,  # RFC 6666
        "100:0:0:1::/64": Purpose.DUMMY,  # RFC 9780
        "2001::/23": Purpose.PROTOCOLS,  # RFC 2928
        "2001:db8::/32": Purpose.DOCUMENTATION,  # RFC 3849
        "3fff::/20": Purpose.DOCUMENTATION,  # RFC 9637
        "5f00::/16": Purpose.SEGMENT_ROUTING,  # RFC 9602
        "fc00::/7": Purpose.UNIQUE_LOCAL,  # RFC 4193
        "fe80::/10": Purpose.LINK_LOCAL,  # RFC 4291
        "ff00::/8": Purpose.MULTICAST,  # RFC 4291
    },
}

# Inside the blocks above, but globally reachable or able to carry traffic abroad: these stay out.
_REACHABLE = {
    Family.IPV4: {
        "192.0.0.9/32": Purpose.ANYCAST,  # PCP, RFC 7723
        "192.0.0.10/32": Purpose.ANYCAST,  # TURN, RFC 8155
    },
    Family.IPV6: {
        "2001::/32": Purpose.TEREDO,  # RFC 4380
        "2001:1::1/128": Purpose.ANYCAST,  # PCP, RFC 7723
        "2001:1::2/128": Purpose.ANYCAST,  # TURN, RFC 8155
        "2001:1::3/128": Purpose.ANYCAST,  # DNS-SD SRP, RFC 9665
        "2001:3::/32": Purpose.AMT,  # RFC 7450
        "2001:4:112::/48": Purpose.AS112,  # RFC 7535
        "2001:20::/28": Purpose.ORCHID,  # RFC 7343
        "2001:30::/28": Purpose.DRONES,  # RFC 9374
    },
}

# What else has a purpose of its own, and changes nothing of what is foreign.
_NAMED = {
    Family.IPV4: {
        "192.31.196.0/24": Purpose.AS112,  # RFC 7535
        "192.52.193.0/24": Purpose.AMT,  # RFC 7450
        "192.88.99.0/24": Purpose.SIX_TO_FOUR,  # its relays, RFC 7526
        "192.175.48.0/24": Purpose.AS112,  # RFC 7534
        "255.255.255.255/32": Purpose.BROADCAST,  # RFC 919
    },
    Family.IPV6: {
        "64:ff9b::/96": Purpose.TRANSLATION,  # RFC 6052
        "2001:2::/48": Purpose.BENCHMARKING,  # RFC 5180
        "2001:10::/28": Purpose.ORCHID,  # the first ones, RFC 4843
        "2002::/16": Purpose.SIX_TO_FOUR,  # RFC 3056
        "2620:4f:8000::/48": Purpose.AS112,  # RFC 7534
        "fec0::/10": Purpose.SITE_LOCAL,  # RFC 3879
    },
}


@cache
def special_purpose(family: Family) -> Ranges:
    """Return the special-purpose ranges that must never be called foreign."""

    def ranges(texts: Iterable[str]) -> Ranges:
        return merge(spans((parse_prefix(text, family) for text in texts), family))

    return subtract(ranges(_UNREACHABLE[family]), ranges(_REACHABLE[family]))


def purpose(address: int, family: Family) -> Purpose | None:
    """Return what the smallest special-purpose block around an address is for, None where there is none."""
    return next((named for first, last, named in _blocks(family) if first <= address <= last), None)


@cache
def _blocks(family: Family) -> tuple[tuple[int, int, Purpose], ...]:
    """Return the first and last address of each block, the smallest first."""
    named = {**_UNREACHABLE[family], **_REACHABLE[family], **_NAMED[family]}
    blocks = [
        (first, last, what)
        for text, what in named.items()
        for first, last in spans([parse_prefix(text, family)], family)
    ]
    return tuple(sorted(blocks, key=lambda block: block[1] - block[0]))
