"""The special-purpose group: ranges that are delegated to nobody and must never be called foreign."""

from __future__ import annotations

from functools import cache

from fwfeed.prefixes import Family, Ranges, merge, parse_prefix, spans, subtract

SPECIAL_PURPOSE = "special-purpose"

# IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, RFC 8190): the blocks that are not globally
# reachable, the multicast ranges (RFC 5771, RFC 4291), and the limited broadcast address (inside 240.0.0.0/4).
# They are delegated to nobody, so no registry file has them; without them every packet to a neighbour, a
# container or a multicast group would count as foreign.
_UNREACHABLE = {
    Family.IPV4: (
        "0.0.0.0/8",  # this network (RFC 791)
        "10.0.0.0/8",  # private use (RFC 1918)
        "100.64.0.0/10",  # shared address space (RFC 6598)
        "127.0.0.0/8",  # loopback (RFC 1122)
        "169.254.0.0/16",  # link-local (RFC 3927)
        "172.16.0.0/12",  # private use (RFC 1918)
        "192.0.0.0/24",  # IETF protocol assignments (RFC 6890)
        "192.0.2.0/24",  # documentation (RFC 5737)
        "192.168.0.0/16",  # private use (RFC 1918)
        "198.18.0.0/15",  # benchmarking (RFC 2544)
        "198.51.100.0/24",  # documentation (RFC 5737)
        "203.0.113.0/24",  # documentation (RFC 5737)
        "224.0.0.0/4",  # multicast (RFC 5771)
        "240.0.0.0/4",  # reserved, and limited broadcast (RFC 1112, RFC 919)
    ),
    Family.IPV6: (
        "::/128",  # unspecified (RFC 4291)
        "::1/128",  # loopback (RFC 4291)
        "::ffff:0:0/96",  # IPv4-mapped (RFC 4291)
        "64:ff9b:1::/48",  # local-use translation (RFC 8215)
        "100::/64",  # discard-only (RFC 6666)
        "100:0:0:1::/64",  # dummy prefix (RFC 9780)
        "2001::/23",  # IETF protocol assignments (RFC 2928)
        "2001:db8::/32",  # documentation (RFC 3849)
        "3fff::/20",  # documentation (RFC 9637)
        "5f00::/16",  # segment routing (RFC 9602)
        "fc00::/7",  # unique-local (RFC 4193)
        "fe80::/10",  # link-local (RFC 4291)
        "ff00::/8",  # multicast (RFC 4291)
    ),
}

# Inside the blocks above, but globally reachable or able to carry traffic abroad: these stay out.
_REACHABLE = {
    Family.IPV4: (
        "192.0.0.9/32",  # PCP anycast (RFC 7723)
        "192.0.0.10/32",  # TURN anycast (RFC 8155)
    ),
    Family.IPV6: (
        "2001::/32",  # Teredo (RFC 4380)
        "2001:1::1/128",  # PCP anycast (RFC 7723)
        "2001:1::2/128",  # TURN anycast (RFC 8155)
        "2001:1::3/128",  # DNS-SD SRP anycast (RFC 9665)
        "2001:3::/32",  # AMT (RFC 7450)
        "2001:4:112::/48",  # AS112 (RFC 7535)
        "2001:20::/28",  # ORCHIDv2 (RFC 7343)
        "2001:30::/28",  # drone remote ID (RFC 9374)
    ),
}


@cache
def special_purpose(family: Family) -> Ranges:
    """Return the special-purpose ranges that must never be called foreign."""

    def ranges(texts: tuple[str, ...]) -> Ranges:
        return merge(spans((parse_prefix(text, family) for text in texts), family))

    return subtract(ranges(_UNREACHABLE[family]), ranges(_REACHABLE[family]))
