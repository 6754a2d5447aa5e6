"""The systemd unit and the container that a process's cgroup says it is of. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

from fwfeed.errors import printable

_ID = "[0-9a-f]{12,64}"
_SHOWN = 12  # characters of a container's id, as docker ps and podman ps show it
_CONTAINERS = (
    re.compile(rf"(?:docker|libpod|crio|cri-containerd|nerdctl|libpod-payload)-({_ID})(?:\.scope)?"),
    re.compile(rf"(?:docker|libpod_parent|buildkit)/({_ID})"),
    re.compile(rf"kubepods[^/]*/(?:[^/]+/)*({_ID})"),
    re.compile(r"lxc\.payload\.([^/]{1,64})"),
    re.compile(r"lxc/([^/]{1,64})"),
    re.compile(r"systemd-nspawn@([^/]{1,64})\.service"),
    re.compile(r"machine\.slice/machine-([^/]{1,80})\.scope"),
)
_unit = re.compile(r"[^/]{1,128}\.(?:service|scope|socket|mount|swap)").fullmatch
# what of a name is another one each time, as each counts as another program
_VARYING = (
    (re.compile(r"(run)-.*"), r"\1"),
    (re.compile(r"([^@]+@)\d+-.*"), r"\1"),  # an instance for each connection: of a socket with Accept=yes
    (re.compile(r"(app-.+)@[^@]*"), r"\1"),
)
_manager = re.compile(r"/(user@\d{1,10}\.service)/")
_session = re.compile(r"session-[^/]*\.scope").fullmatch
_OF_SCOPES = re.compile(rf"(.+?)(?:[-.](?:[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}|{_ID}|\d+))+")
_escape = re.compile(r"\\x([0-9a-f]{2})")


@lru_cache(maxsize=1024)
def place(raw: bytes) -> tuple[str, str]:
    """Return unit and container, by what /proc/PID/cgroup holds; empty where it tells of none."""
    path = _path(raw.decode(errors="replace"))
    parts = [part for part in path.split("/") if part]
    unit = next((part for part in reversed(parts) if _unit(part)), "")
    unit = _folded(unit)
    if (manager := _manager.search(path)) and unit != manager[1]:  # anybody may call a unit of his own dnf.service
        unit = f"{manager[1]}/{unit}"
    container = ""
    for pattern in _CONTAINERS:
        if found := pattern.search(path):
            name = found[1]
            container = name[:_SHOWN] if re.fullmatch(_ID, name) else _unescape(name)
            break
    return printable(unit), printable(container)


def _folded(unit: str) -> str:
    """Return a unit's name without what is another one each time it starts."""
    name, _dot, kind = unit.rpartition(".")
    if kind not in {"service", "scope"}:
        return unit
    if _session(unit):
        return "session.scope"
    if name.startswith("machine-"):  # this is what the machine is called
        return unit
    for pattern, kept in _VARYING:
        if found := pattern.fullmatch(name):
            return f"{found.expand(kept)}.{kind}"
    found = _OF_SCOPES.fullmatch(name) if kind == "scope" else None
    return f"{found[1]}.{kind}" if found else unit


def _path(text: str) -> str:
    """Return the path in the unified hierarchy, or in systemd's own of before."""
    lines = [line.split(":", 2) for line in text.splitlines() if line.count(":") >= 2]
    of = {controllers: path for _number, controllers, path in lines}
    unified = of.get("", "/")
    return unified if unified != "/" else of.get("name=systemd", unified)


def _unescape(name: str) -> str:
    return _escape.sub(lambda found: chr(int(found[1], 16)), name)
