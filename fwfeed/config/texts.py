"""What each kind of configured text has to look like: one function a kind, ValueError where it does not."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import time, timedelta
from difflib import get_close_matches
from fractions import Fraction
from pathlib import PurePosixPath

from fwfeed.config.schema import REGISTRY_URLS
from fwfeed.countries import CODES
from fwfeed.feeds import SPECIAL_PURPOSE
from fwfeed.model import PASSING
from fwfeed.prefixes import Family, Prefix, format_prefix


def set_name(text: str) -> str:
    """Accept the name of a set: firewalld allows 32 characters, and the IPv6 set's name is one longer."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,30}", text):
        raise ValueError(f"{text!r} is not a set name: a letter, then letters, digits, - or _, 31 in all")
    if text.endswith(PASSING):
        raise ValueError(f"{text!r} ends in {PASSING}, as the sets do that fwfeed makes beside this one")
    return text


def country(text: str) -> str:
    """Accept a code of ISO 3166-1 or of a registry's region."""
    if text not in CODES:
        near = "GB" if text.upper() == "UK" else text.upper()
        hint = f"; did you mean {near}?" if near in CODES else " (ISO 3166-1 alpha-2, or EU, AP)"
        raise ValueError(f"{text!r} is not a country code{hint}")
    return text


def term(text: str, feeds: Collection[str]) -> str:
    """Normalise an element of include or exclude: the name of a group or feed, or an address or CIDR."""
    if text == SPECIAL_PURPOSE or text in feeds:
        return text
    names = [SPECIAL_PURPOSE, *feeds]
    near = get_close_matches(text, names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return _canonical(
        text, f"neither an address, a CIDR, the group {SPECIAL_PURPOSE}, nor the name of a [[feed]]{hint}"
    )


def cidr(text: str) -> str:
    """Normalise an address or CIDR."""
    return _canonical(text, "neither an address nor a CIDR")


def _canonical(text: str, otherwise: str) -> str:
    import netaddr  # only the few configurations that name addresses pay for it

    try:
        network = netaddr.IPNetwork(text)
    except (netaddr.AddrFormatError, ValueError):
        raise ValueError(f"{text!r} is {otherwise}") from None
    family = Family(network.version)
    canonical = format_prefix(Prefix(network.first, network.prefixlen), family)
    if network.value != network.first:
        raise ValueError(f"{text!r} has bits set behind its length; did you mean {canonical}?")
    if network.prefixlen == 0:
        raise ValueError(f"{text!r} is the whole address space")
    return canonical


def registry(text: str) -> str:
    """Accept the name of a registry."""
    if text not in REGISTRY_URLS:
        near = get_close_matches(text, REGISTRY_URLS, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(REGISTRY_URLS)}"
        raise ValueError(f"{text!r} is not a registry{hint}")
    return text


_HOST = r"([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9A-Fa-f:.]+\])"


def mirror(text: str) -> str:
    """Accept the base URL of a mirror, https:// or file://."""
    if text.startswith("http://"):
        raise ValueError(f"{text!r} is not https: anybody on the way could put another file in its place")
    return url(text)


def url(text: str) -> str:
    """Accept a source's own URL: https:// or file://, or http:// where somebody has spelled it out for this source."""
    if "%00" in text or not re.fullmatch(rf"(https?://{_HOST}(:[0-9]{{1,5}})?(/[!-~]*)?|file:///[!-~]+)", text):
        raise ValueError(f"{text!r} is not a URL of https://host/... or file:///path")
    return text


def feed_name(text: str) -> str:
    """Accept the name of a feed: it is a folder of the cache, and must not be taken for a registry or a group."""
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,30}", text):
        raise ValueError(f"{text!r} is not a feed's name: a small letter, then small letters, digits or -, 31 in all")
    if text in REGISTRY_URLS or text == SPECIAL_PURPOSE:
        raise ValueError(f"{text!r} is already the name of a registry or group")
    return text


def word(text: str) -> str:
    """Accept a value of a feed's filter: a region, service or scope, as its provider writes it."""
    if not re.fullmatch(r"[A-Za-z0-9_. -]{1,64}", text):
        raise ValueError(f"{text!r} is not a name of letters, digits, spaces and _ . -")
    return text


_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def age(text: str) -> timedelta | None:
    """Read a time like 36h, or None for "off"."""
    if text == "off":
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", text)
    if not found:
        raise ValueError(f'{text!r} is not a time like "36h" or "7d", nor "off"')
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def duration(text: str) -> timedelta:
    """Read a time like 30s or 10m, a day at most."""
    found = re.fullmatch(r"([1-9][0-9]{0,4})([smh])", text)
    length = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else timedelta.max
    if length > timedelta(days=1):
        raise ValueError(f'{text!r} is not a time like "30s" or "10m", up to a day')
    return length


def time_of_day(text: str) -> time:
    """Read a time of day like 03:30."""
    found = re.fullmatch(r"([01][0-9]|2[0-3]):([0-5][0-9])", text)
    if not found:
        raise ValueError(f'{text!r} is not a time of day like "03:30", from "00:00" to "23:59"')
    return time(int(found[1]), int(found[2]))


def spread(text: str) -> timedelta:
    """Read how far something is put off at most: a time like 1h, or 0s for not at all."""
    if text == "0s":
        return timedelta()
    try:
        return duration(text)
    except ValueError as error:
        raise ValueError(f'{error}, nor "0s"') from None


def waiting_time(text: str) -> timedelta | None:
    """Read a time like 2m, or None for "off"."""
    return None if text == "off" else duration(text)


def keeping_time(text: str) -> timedelta:
    """Read a time like 90d, up to ten years."""
    found = re.fullmatch(r"([1-9][0-9]{0,4})([hd])", text)
    length = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else timedelta.max
    if length > timedelta(days=3650):
        raise ValueError(f'{text!r} is not a time like "36h" or "90d", up to "3650d"')
    return length


def nflog_group(number: int) -> int:
    """Accept a group of nflog; 0 is what other programs listen to when they are not told any."""
    if not 1 <= number <= 65535:
        raise ValueError(f'{number} is not a number from 1 to 65535, nor "off"')
    return number


def keep(number: int) -> int:
    """Accept how many generations to keep: the one to go back to among them."""
    if not 2 <= number <= 1000:
        raise ValueError(f"{number} is not a number from 2 to 1000")
    return number


def retries(number: int) -> int:
    """Accept a number of retries."""
    if not 0 <= number <= 10:
        raise ValueError(f"{number} is not a number from 0 to 10")
    return number


def log_prefix(text: str) -> str:
    """Accept what the kernel can put before a log line (127 characters at most)."""
    if not re.fullmatch(r"[ !#-\[\]-~]{1,100}", text):
        raise ValueError(f"{text!r} is not a log prefix: 1 to 100 printable ASCII characters, no quote or backslash")
    return text


def limit(text: str) -> str | None:
    """Accept a rate of firewalld's rich language, or None for "off"."""
    if text == "off":
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,4}/[smhd]", text):
        raise ValueError(f'{text!r} is not a rate like "10/s" or "100/h", nor "off"')
    return text


def service(text: str) -> str:
    """Accept the form of a firewalld service's name; whether it exists is for firewalld's own check."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise ValueError(f"{text!r} is not the name of a firewalld service (firewall-cmd --get-services)")
    return text


def percentage(text: str) -> Fraction:
    """Read a percentage as a fraction."""
    found = re.fullmatch(r"([0-9]{1,4}(?:\.[0-9]{1,3})?)%", text)
    if not found:
        raise ValueError(f'{text!r} is not a percentage like "10%"')
    return Fraction(found[1]) / 100


def path(text: str) -> str:
    """Accept an absolute path."""
    if not text.startswith("/") or "\0" in text or ".." in PurePosixPath(text).parts:
        raise ValueError(f"{text!r} is not an absolute path")
    return text
