"""What this host cannot do without on its network: gateways, resolvers, time servers, and where its updates come from.

Read from the host's own configuration, below `root`. A file that is not there, or that cannot be read, tells nothing;
names are given addresses by `resolve` alone, which only the half without root calls.
"""

from __future__ import annotations

import configparser
import json
import re
import socket
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from fwfeed.config import Config
from fwfeed.fetch import orders
from fwfeed.process import run

ROOT = Path("/")

_IP_SECONDS = 10.0
_FILE_CAP = 1 << 20
_FOLDER_CAP = 256
_NAMES_CAP = 128
_THREADS = 8
_SCHEMES = {"https": 443, "http": 80, "ftp": 21}
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")


class Role(StrEnum):
    """What this host needs another for."""

    GATEWAY = "default gateway"
    RESOLVER = "resolver"
    TIME = "time server"
    UPDATES = "dnf repository"
    SOURCE = "source"


@dataclass(frozen=True, slots=True)
class Need:
    """Something this host needs: any of `hosts`, names or addresses, with any of their (protocol, port) pairs.

    `name` says which of its role it is; `protocol` is empty and `port` 0 for all.
    """

    role: Role
    name: str
    hosts: tuple[tuple[str, int], ...]
    protocol: str


def gateways() -> list[Need]:
    """Return the default gateways. Raises FwfeedError."""
    found = []
    for family in ("-4", "-6"):
        for route in _ip(family, "route", "show", "default"):
            for hop in (route, *route.get("nexthops", ())):
                gateway = hop.get("gateway") or hop.get("via", {}).get("host")
                if gateway:
                    found.append(Need(Role.GATEWAY, str(gateway), ((str(gateway), 0),), ""))
    return list(dict.fromkeys(found))


def internal_bridges() -> set[str]:
    """Return the bridges by which no default route leads, as container engines and libvirt make them.

    What comes in there is from containers and virtual machines of this host. Raises FwfeedError.
    """
    bridges = {str(link.get("ifname", "")) for link in _ip("link", "show", "type", "bridge")}
    routes = [each for family in ("-4", "-6") for each in _ip(family, "route", "show", "default", "table", "all")]
    return bridges - {str(hop.get("dev", "")) for each in routes for hop in (each, *each.get("nexthops", ()))}


def own_addresses() -> set[str]:
    """Return the addresses of this host. Raises FwfeedError."""
    return {str(each["local"]) for link in _ip("address") for each in link.get("addr_info", ()) if "local" in each}


def device(address: str) -> str:
    """Return the interface by which an address is reached, or nothing where there is no route."""
    routes = _ip("route", "get", address)
    return str(routes[0].get("dev", "")) if routes else ""


def resolvers(root: Path = ROOT) -> list[Need]:
    """Return the resolvers; those behind systemd-resolved's own where resolv.conf names that one."""
    named = _name_servers(root / "etc/resolv.conf")
    if any(ip_address(address).is_loopback for address in named):
        named += _name_servers(root / "run/systemd/resolve/resolv.conf")
    remote = [address for address in dict.fromkeys(named) if not ip_address(address).is_loopback]
    return [Need(Role.RESOLVER, address, ((address, 53),), "udp") for address in remote]


def time_servers(root: Path = ROOT) -> list[Need]:
    """Return the servers of chrony and systemd-timesyncd."""
    hosts = [
        *_chrony(root, [root / "etc/chrony.conf", root / "etc/chrony/chrony.conf"], 0),
        *_timesyncd(root),
    ]
    return [Need(Role.TIME, host, ((host, 123),), "udp") for host in dict.fromkeys(hosts)]


def repositories(root: Path = ROOT) -> list[Need]:
    """Return the enabled dnf repositories: for each, the hosts it can be had from, or its proxy."""
    main = _ini([root / "etc/dnf/dnf.conf"])
    proxy = main.get("main", "proxy", fallback="")
    folder = root / "etc/yum.repos.d"
    repos = _ini(path for path in _listed(folder) if path.suffix == ".repo")
    found = []
    for section in repos.sections():
        if section == "main" or repos.get(section, "enabled", fallback="1").strip().lower() in {"0", "no", "false"}:
            continue
        keys = ("baseurl", "mirrorlist", "metalink")
        urls = [url for key in keys for url in re.split(r"[\s,]+", repos.get(section, key, fallback=""))]
        hosts = _hosts(_with_variables(url, root) for url in urls)
        through = repos.get(section, "proxy", fallback=proxy).strip()
        if hosts and through and through != "_none_":
            hosts = _hosts([through])
        if hosts:
            found.append(Need(Role.UPDATES, section, hosts, "tcp"))
    return found


def sources(config: Config) -> list[Need]:
    """Return fwfeed's own sources: for each, the hosts it can be had from, or the proxy of this process.

    One that can be had from a file of this host needs nobody.
    """
    proxies = getproxies()
    through = {scheme: proxies.get(scheme) or proxies.get("all", "") for scheme in ("http", "https")}
    found = []
    for order in orders(config):
        hosts = _hosts(through.get(urlsplit(url).scheme) or url for url in order.urls)
        if hosts and not any(url.startswith("file:") for url in order.urls):
            found.append(Need(Role.SOURCE, order.name, hosts, "tcp"))
    return found


def names(config: Config, root: Path = ROOT) -> list[str]:
    """Return the names of hosts that need an address, bounded in number."""
    needs = [*sources(config), *repositories(root), *time_servers(root)]
    hosts = dict.fromkeys(host for need in needs for host, _ in need.hosts)
    return [host for host in hosts if _HOST_NAME.fullmatch(host) and not is_address(host)][:_NAMES_CAP]


def resolve(wanted: Collection[str], seconds: float) -> dict[str, list[str]]:
    """Return the addresses of those names that could be resolved in time; what takes longer is left behind."""
    found: dict[str, list[str]] = {}
    left = iter(list(wanted))
    turn = threading.Lock()

    def work() -> None:
        while True:
            with turn:
                name = next(left, None)
            if name is None:
                return
            try:
                # of the families that this host has an address of
                answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
            except (OSError, UnicodeError):
                continue
            with turn:
                found[name] = list(
                    dict.fromkeys(str(ip_address(str(each[4][0]).partition("%")[0])) for each in answers)
                )

    until = time.monotonic() + seconds
    # daemons, as the resolver's own timeouts cannot be cut short, and nothing is to wait for them
    workers = [threading.Thread(target=work, daemon=True) for _ in range(min(_THREADS, len(wanted)))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(max(0.0, until - time.monotonic()))
    with turn:
        return dict(found)


def is_address(text: str) -> bool:
    """Return whether a host is given by its address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _ip(*arguments: str) -> list[Any]:
    done = run("ip", "-j", *arguments, timeout=_IP_SECONDS)
    try:
        answer = json.loads(done.stdout or "[]")
    except ValueError:
        return []
    return answer if isinstance(answer, list) else []


def _name_servers(path: Path) -> list[str]:
    lines = (line.split() for line in _text(path).splitlines())
    named = (words[1].partition("%")[0] for words in lines if len(words) > 1 and words[0] == "nameserver")
    return [address for address in named if is_address(address)]


def _chrony(root: Path, paths: Iterable[Path], depth: int) -> Iterator[str]:
    """Yield the servers that files of chrony name (chrony.conf(5)), and those that the files they name do."""
    for path in paths:
        for line in _text(path).splitlines():
            match line.split():
                case [("server" | "peer" | "pool"), host, *_]:
                    yield host
                case [("confdir" | "sourcedir") as kind, *folders] if depth < 2:
                    suffix = ".conf" if kind == "confdir" else ".sources"
                    files = (file for folder in folders for file in _listed(_below(root, folder)))
                    yield from _chrony(root, (file for file in files if file.suffix == suffix), depth + 1)
                case ["include", pattern] if depth < 2:
                    place = _below(root, pattern)
                    files = (file for file in _listed(place.parent) if file.match(place.name))
                    yield from _chrony(root, files, depth + 1)


def _timesyncd(root: Path) -> Iterator[str]:
    paths = [root / "etc/systemd/timesyncd.conf", *_listed(root / "etc/systemd/timesyncd.conf.d")]
    settings = _ini(paths)
    for key in ("ntp", "fallbackntp"):
        yield from settings.get("Time", key, fallback="").split()


def _with_variables(url: str, root: Path) -> str:
    """Put in what dnf's variables stand for, as far as they matter: in hosts."""

    def value(found: re.Match[str]) -> str:
        return _text(root / "etc/dnf/vars" / found[1]).strip() or found[0]

    return re.sub(r"\$\{?(\w+)\}?", value, url)


def _hosts(urls: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """Return the (host, port) pairs of those URLs that lead to another host."""
    found = []
    for url in urls:
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}" if url else "")
            host, port = parts.hostname or "", parts.port or _SCHEMES.get(parts.scheme, 0)
        except ValueError:
            continue
        local = host == "localhost" or (is_address(host) and ip_address(host).is_loopback)
        if host and not local and parts.scheme != "file":
            found.append((host, port))
    return tuple(dict.fromkeys(found))


def _ini(paths: Iterable[Path]) -> configparser.RawConfigParser:
    """Read what can be read of files with [sections]; a broken one tells nothing."""
    whole = configparser.RawConfigParser(strict=False)
    for path in paths:
        one = configparser.RawConfigParser(strict=False)
        try:
            one.read_string(_text(path))
        except configparser.Error:
            continue
        whole.read_dict(one)
    return whole


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())[:_FOLDER_CAP]
    except OSError:
        return []


def _below(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_FILE_CAP).decode(errors="replace")
    except OSError:
        return ""
