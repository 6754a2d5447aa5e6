"""Everything fwfeed asks of the running firewall: firewalld over D-Bus, its offline check, the kernel's sets.

Only firewalld changes the firewall; the kernel is read with nft, because what firewalld returns proves nothing.
"""

from __future__ import annotations

import json
import sys
from enum import Enum
from pathlib import Path
from typing import Any

from fwfeed import access
from fwfeed.errors import CheckFailed, FwfeedError, NotAnswering, NotRunning
from fwfeed.nftrules import Service, Table, parse_table
from fwfeed.prefixes import Family, Prefix, Range, Ranges, merge, parse_address, spans
from fwfeed.process import run

_BUS_NAME = "org.fedoraproject.FirewallD1"
_PATH = "/org/fedoraproject/FirewallD1"
_TABLE = ("inet", "firewalld")

_CALL_SECONDS = 20.0
_RELOAD_SECONDS = 120.0
_NFT_SECONDS = 60.0
_CHECK_SECONDS = 120.0

_START = "systemctl start firewalld; where it is masked: systemctl unmask firewalld"
_BUS_WAY_OUT = "systemctl status dbus-broker"


_Settings = dict[str, list[str]]
_ADMITTING = ("services", "ports", "source_ports", "protocols", "forward_ports", "sources", "rules_str", "rich_rules")


class Kind(Enum):
    """What firewalld has beside sets: the folder of its files, its D-Bus interface, and the methods to read it."""

    POLICY = ("policies", "policy", "getPolicies", "getPolicySettings", "getPolicyByName", "getSettings")
    ZONE = ("zones", "zone", "getZones", "getZoneSettings2", "getZoneByName", "getSettings2")

    def __init__(self, folder: str, interface: str, names: str, runtime: str, by_name: str, permanent: str) -> None:
        self.folder = folder
        self.interface = interface
        self.names = names
        self.runtime = runtime
        self.by_name = by_name
        self.permanent = permanent


class Firewalld:
    """A running firewalld, over the system bus; made by `connect`."""

    def __init__(self, bus: Any) -> None:
        self._bus = bus

    def state(self) -> str:
        """Return RUNNING, INIT or FAILED, as firewalld says it."""
        return str(self._call("org.freedesktop.DBus.Properties", "Get", _BUS_NAME, "state"))

    def panic(self) -> bool:
        """Return whether panic mode drops every packet."""
        return bool(self._call(_BUS_NAME, "queryPanicMode"))

    def reload(self) -> None:
        """Read the permanent configuration again. Returns before the sets are filled (firewalld 1.3 to 2.5)."""
        self._call(_BUS_NAME, "reload", timeout=_RELOAD_SECONDS)

    def version(self) -> str:
        """Return firewalld's version."""
        return str(self._call("org.freedesktop.DBus.Properties", "Get", _BUS_NAME, "version"))

    def set_form(self, name: str) -> tuple[str, dict[str, str]] | None:
        """Return type and options of the runtime's ipset, or None where there is none."""
        try:
            settings = self._call(f"{_BUS_NAME}.ipset", "getIPSetSettings", name)
        except FwfeedError as error:
            if "INVALID_IPSET" not in error.message:
                raise
            return None
        return str(settings[3]), {str(key): str(value) for key, value in settings[4].items()}

    def set_entries(self, name: str) -> list[str]:
        """Return the entries that firewalld takes the runtime's ipset to have."""
        return [str(entry) for entry in self._call(f"{_BUS_NAME}.ipset", "getEntries", name)]

    def add_entry(self, name: str, entry: str) -> None:
        """Add an entry to the runtime's ipset and to the kernel's; refused where it overlaps another."""
        self._call(f"{_BUS_NAME}.ipset", "addEntry", name, entry)

    def remove_entry(self, name: str, entry: str) -> None:
        """Remove an entry, as firewalld writes it, from the runtime's ipset and from the kernel's."""
        self._call(f"{_BUS_NAME}.ipset", "removeEntry", name, entry)

    def default_zone(self) -> str:
        """Return the default zone."""
        return str(self._call(_BUS_NAME, "getDefaultZone"))

    def set_default_zone(self, zone: str) -> None:
        """Set the default zone, in the runtime and in firewalld.conf."""
        self._call(_BUS_NAME, "setDefaultZone", zone)

    def names(self, kind: Kind) -> set[str]:
        """Return the names of the runtime's policies or zones."""
        return {str(name) for name in self._call(f"{_BUS_NAME}.{kind.interface}", kind.names)}

    def drifted(self, kind: Kind, name: str) -> bool:
        """Return whether the runtime's policy or zone lacks or contradicts what its file says, as it was last loaded.

        Zones may have more: interfaces, and what others put into the runtime alone (bans, say). Policies may not.
        """
        runtime, permanent = self._settings(kind, name)
        if kind is Kind.POLICY:
            return runtime != permanent
        return not permanent or any(
            not set(elements) <= set(runtime.get(key, ())) for key, elements in permanent.items()
        )

    def runtime_only(self, kind: Kind, name: str) -> list[tuple[str, str]]:
        """Return what a policy or zone admits in the runtime, but not in its file, as (setting, element) pairs."""
        runtime, permanent = self._settings(kind, name)
        return [
            (key, element)
            for key in _ADMITTING
            for element in runtime.get(key, ())
            if element not in permanent.get(key, ()) and ("rule" not in key or "accept" in element)
        ]

    def runtime_entries(self) -> dict[str, list[str]]:
        """Return the entries of each ipset that the runtime has, but not its file, as others put them there (bans)."""
        found = {}
        config = f"{_BUS_NAME}.config"
        for name in self._call(f"{_BUS_NAME}.ipset", "getIPSets"):
            path = self._call(config, "getIPSetByName", str(name), path=f"{_PATH}/config")
            permanent = set(map(str, self._call(f"{config}.ipset", "getEntries", path=str(path))))
            found[str(name)] = [entry for entry in self.set_entries(str(name)) if entry not in permanent]
        return found

    def intended(self, kind: Kind, name: str) -> dict[str, list[str]]:
        """Return the settings that a reload gives a policy or zone: its file's, or the runtime's where it has none."""
        runtime, permanent = self._settings(kind, name)
        return permanent or runtime

    def intended_zone(self, interface: str) -> str:
        """Return the zone to which the permanent configuration binds an interface, or nothing."""
        config = f"{_BUS_NAME}.config"
        return str(self._call(config, "getZoneOfInterface", interface, path=f"{_PATH}/config"))

    def service(self, name: str) -> Service:
        """Return what a service is."""
        settings = self._call(_BUS_NAME, "getServiceSettings2", name)
        return Service(
            ports=tuple((str(port), str(protocol)) for port, protocol in settings.get("ports", ())),
            destinations={str(family): str(where) for family, where in settings.get("destination", {}).items()},
            whole=not any(settings.get(key) for key in ("protocols", "source_ports", "includes", "helpers", "modules")),
        )

    def bound_interfaces(self) -> dict[str, str]:
        """Return the zone of each interface that is in one."""
        active = self._active_zones()
        return {str(name): str(zone) for zone, members in active.items() for name in members.get("interfaces", ())}

    def zones_active(self) -> bool:
        """Return whether any zone has an interface or a source; the default zone is also for those that are in none."""
        return any(any(members.values()) for members in self._active_zones().values())

    def _active_zones(self) -> Any:
        return self._call(f"{_BUS_NAME}.zone", "getActiveZones")

    def _settings(self, kind: Kind, name: str) -> tuple[_Settings, _Settings]:
        """Return the runtime's and the permanent settings of a policy or zone."""
        runtime = self._call(f"{_BUS_NAME}.{kind.interface}", kind.runtime, name)
        try:
            path = self._call(f"{_BUS_NAME}.config", kind.by_name, name, path=f"{_PATH}/config")
        except FwfeedError as error:
            if f"INVALID_{kind.name}" not in error.message:
                raise
            return _plain(runtime), {}  # it has no file any more
        permanent = self._call(f"{_BUS_NAME}.config.{kind.interface}", kind.permanent, path=str(path))
        return _plain(runtime), _plain(permanent)

    def _call(
        self, interface: str, method: str, *arguments: str, path: str = _PATH, timeout: float = _CALL_SECONDS
    ) -> Any:
        import dbus

        signature = "s" * len(arguments)
        try:
            return self._bus.call_blocking(_BUS_NAME, path, interface, method, signature, arguments, timeout=timeout)
        except dbus.DBusException as error:
            raise _explained(error, method) from None


def connect() -> Firewalld:
    """Reach firewalld. Raises FwfeedError when the D-Bus bindings, the bus or firewalld are not there."""
    try:
        import dbus
    except ImportError:
        raise FwfeedError("the Python bindings for D-Bus are missing", _way_to_bindings()) from None
    try:
        bus = dbus.bus.BusConnection(dbus.bus.BusConnection.TYPE_SYSTEM)
        running = bus.name_has_owner(_BUS_NAME)
    except dbus.DBusException as error:
        message = f"the system bus does not answer: {error.get_dbus_message()}"
        raise FwfeedError(message, _BUS_WAY_OUT) from None
    if not running:
        raise NotRunning("firewalld is not running", _START)
    return Firewalld(bus)


def _way_to_bindings() -> str:
    """Return how to get at the bindings, which are the system's: no package index has them ready made."""
    if access.sees_systems_packages():
        return "dnf install python3-dbus"
    if access.is_systems_python():
        make = f"{access.SYSTEM_PYTHON} -m venv --clear --system-site-packages {sys.prefix}"
        return (
            f"the virtual environment {sys.prefix} does not see the system's packages: make it anew, with {make}, "
            "and install fwfeed into it again"
        )
    return (
        f"dnf install python3-dbus; it is for {access.SYSTEM_PYTHON} alone, and this is {sys.executable} "
        f"({sys.version_info.major}.{sys.version_info.minor}): install fwfeed with {access.SYSTEM_PYTHON}"
    )


def kernel_set(name: str, family: Family) -> Ranges | None:
    """Return the ranges that the kernel holds in a set, or None where it has no such set. Needs root.

    Raises FwfeedError for a set of another kind than ours: of another family, or of more than addresses.
    """
    done = run("nft", "--json", "list", "set", *_TABLE, name, timeout=_NFT_SECONDS)
    if done.code != 0:
        if "No such file or directory" in done.stderr:
            return None
        raise FwfeedError(
            f"nft cannot read the kernel's set {name}: {_one_line(done.stderr)}",
            access.as_root(access.WITHOUT_NET_ADMIN),
        )
    try:
        return parse_nft_set(done.stdout, family)
    except (ValueError, KeyError, TypeError):
        message = f"the kernel's set {name} is not a set of IPv{family.value} addresses"
        raise FwfeedError(message, "it is somebody else's: choose another set.name") from None


def parse_nft_set(text: str, family: Family) -> Ranges:
    """Read the elements of one set from nft's JSON (libnftables-json(5)): addresses, prefixes and ranges."""
    (nft_set,) = (entry["set"] for entry in json.loads(text)["nftables"] if "set" in entry)
    if nft_set["type"] != f"ipv{family.value}_addr":
        raise ValueError(f"a set of {nft_set['type']}")
    return merge(_element(element, family) for element in nft_set.get("elem", ()))


def kernel_rules() -> Table:
    """Return the rules of firewalld's table, none where it is not there. Needs root."""
    done = run("nft", "--json", "--terse", "list", "table", *_TABLE, timeout=_NFT_SECONDS)
    if done.code != 0:
        if "No such file or directory" in done.stderr:  # somebody has flushed the ruleset
            return Table({}, frozenset())
        raise FwfeedError(
            f"nft cannot read firewalld's table: {_one_line(done.stderr)}", access.as_root(access.WITHOUT_NET_ADMIN)
        )
    return parse_table(done.stdout)


def _one_line(said: str) -> str:
    return "; ".join(line.strip() for line in said.splitlines() if line.strip())


def offline_check(system_config: Path) -> None:
    """Have firewalld's own offline check look at a folder like /etc/firewalld. Raises CheckFailed."""
    done = run("firewall-offline-cmd", "--system-config", str(system_config), "--check-config", timeout=_CHECK_SECONDS)
    if done.code != 0:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip() and line != "success"]
        raise CheckFailed(
            [f"firewall-offline-cmd --check-config: {line}" for line in said or [f"exit code {done.code}"]],
            "if it names a file of yours, correct that; if it names one of fwfeed's, a template override may be wrong",
        )


def _element(element: Any, family: Family) -> Range:
    if isinstance(element, str):
        address = _address(element, family)
        return address, address
    if "elem" in element:
        return _element(element["elem"]["val"], family)
    if "prefix" in element:
        prefix = Prefix(_address(element["prefix"]["addr"], family), element["prefix"]["len"])
        return next(spans([prefix], family))
    first, last = element["range"]
    return _address(first, family), _address(last, family)


def _address(value: object, family: Family) -> int:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not an address")
    return parse_address(value, family)


def _plain(settings: Any) -> _Settings:
    """Turn a D-Bus dictionary of settings into one that can be compared: order and empty lists mean nothing."""
    plain = {}
    for key, value in settings.items():
        elements = (
            [" ".join(map(str, e)) if isinstance(e, tuple) else str(e) for e in value if e]
            if isinstance(value, list)
            else [str(value)]
        )
        if elements and key != "interfaces":
            plain[str(key)] = sorted(elements)
    return plain


def _explained(error: Any, method: str) -> FwfeedError:
    name = error.get_dbus_name() or ""
    said = (error.get_dbus_message() or name).partition("JSON blob:")[0].strip()  # which is all it sent to the kernel
    if name.endswith((".ServiceUnknown", ".NameHasNoOwner")):
        return NotRunning("firewalld is not running", _START)
    if name.endswith(".NoReply") and "disconnected" in said:  # as dbus-daemon and dbus-broker say of one that died
        return NotRunning(f"firewalld ended while it was asked to {method}", _START)
    if name.endswith(".Disconnected"):
        return FwfeedError("the system bus is gone", _BUS_WAY_OUT)
    if name.endswith((".NoReply", ".Timeout", ".TimedOut")):
        message = f"firewalld did not answer in time (to {method}): it hangs, or is very busy"
        return NotAnswering(message, "systemctl status firewalld; where it hangs: systemctl restart firewalld")
    if "PANIC_MODE" in said:
        return FwfeedError(f"firewalld refused {method}: it is in panic mode", "firewall-cmd --panic-off")
    if name.endswith((".AccessDenied", ".NotAuthorizedException")) or "not authorized" in said.lower():
        return FwfeedError(f"firewalld refused {method}: {said}", access.as_root())
    return FwfeedError(f"firewalld refused {method}: {said}", "journalctl -u firewalld")
