"""The proxy that the environment names, and what to do where it fails."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests.utils

from fwfeed import access
from fwfeed.errors import printable


@dataclass(frozen=True, slots=True)
class Proxy:
    """What a variable of the environment says, as it is there: it can hold a password."""

    variable: str
    url: str

    def __str__(self) -> str:
        """Return what to call it: where it is, and which variable says so."""
        return f"the proxy {self.place or '(without a host)'} of {self.variable}"

    @property
    def place(self) -> str:
        """Its host and port, as they are there."""
        return printable(self.url.rpartition("://")[2].rpartition("@")[2].partition("/")[0])

    @property
    def around(self) -> str:
        """How to do without it."""
        return f"without a proxy: unset {self.variable}, or name the host in no_proxy"

    def way_out(self, reason: str) -> str:
        """Return what to do where it fails for this reason; without one it may be passed by."""
        if re.search(r"\b407\b", reason):
            return f"it wants to know who asks: {self.variable}=http://USER:PASSWORD@HOST:PORT; {self.around}"
        if re.search(r"\b403\b", reason):
            return f"have the proxy let it through; {self.around}"
        if "SOCKS" in reason:
            here = access.sees_systems_packages()
            install = "dnf install python3-pysocks" if here else f"{sys.executable} -m pip install pysocks"
            return f"{install}, or name a proxy for HTTP; {self.around}"
        return f"see that {self.variable} is http://HOST:PORT, and that a proxy for HTTP answers there; {self.around}"


def find(url: str) -> Proxy | None:
    """Return the proxy over which a URL is asked for, as requests finds it."""
    try:
        chosen = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url))
        names = [f"{urlsplit(url).scheme}_proxy", "all_proxy"]
    except ValueError:  # it is no URL
        return None
    if chosen is None:
        return None
    known = [name for each in names for name in (each, each.upper()) if os.environ.get(name) == chosen]
    return Proxy(known[0] if known else names[0], chosen)
