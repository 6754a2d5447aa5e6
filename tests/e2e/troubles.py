"""What can be wrong with a machine when the timer fires: how to make it so, how to mend it, and what has to be said."""

from __future__ import annotations

from dataclasses import dataclass

from tests.e2e.machine import DOMESTIC, DOMESTIC6, HOME6


@dataclass(frozen=True)
class Trouble:
    """A trouble: commands, with DEVICE for the network's; and of the half that meets it, the exit code and its line."""

    name: str
    make: str
    mend: str
    code: int
    said: str


# A file system of its own with what was there, so that it can be full or read-only and nothing else is.
_OWN = (
    "rm -rf /run/kept; cp -a {0} /run/kept; mount -t tmpfs -o size=100m tmpfs {0}; cp -a /run/kept/. {0}/; "
    "chown --reference=/run/kept {0}; chmod --reference=/run/kept {0}; test $(stat -f -c %T {0}) = tmpfs; "
)
_FULL = _OWN + "dd if=/dev/zero of={0}/full bs=64k count=1600 status=none || true; "
_CACHE, _STATE, _FIREWALLD = "/var/cache/fwfeed", "/var/lib/fwfeed", "/etc/firewalld"
_DROP_IN = "/run/systemd/system/fwfeed-refresh.service.d"
_CLOCK = (
    r"Environment=LD_PRELOAD=$(echo /usr/lib/*/faketime/libfaketimeMT.so.1) "
    r"\"FAKETIME=1970-01-01 12:03:00\" FAKETIME_DONT_FAKE_MONOTONIC=1"
)
_UP = (
    "ip link set DEVICE up; ip -6 address replace {home}/64 dev DEVICE nodad; ip route replace default via {gateway}; "
    "ip -6 route replace default via {gateway6}"
)

OF_A_REFRESH = (
    Trouble(
        name="no network",
        make="ip link set DEVICE down",
        mend=_UP.format(home=HOME6, gateway=DOMESTIC, gateway6=DOMESTIC6),
        code=3,
        said=r"apnic: https://ftp\.apnic\.net/.*unreachable.*; the file accepted last, to .*, serves on",
    ),
    Trouble(
        name="the clock stands in 1970",
        make=f'mkdir -p {_DROP_IN}; (echo [Service]; echo "{_CLOCK}") >{_DROP_IN}/clock.conf; systemctl daemon-reload',
        mend=f"rm -r {_DROP_IN}; systemctl daemon-reload",
        code=3,
        said=r"this host's clock says 1970-01-01: .*; way out: set the clock",
    ),
    Trouble(
        name="/var is full",
        make=f"set -e; {_FULL.format(_CACHE)} {_FULL.format(_STATE)}",
        mend=f"umount {_CACHE} {_STATE}",
        code=1,
        said="No space left on device",
    ),
)

OF_AN_APPLY = (
    Trouble(
        name="/etc is read-only",
        make=f"set -e; {_OWN.format(_FIREWALLD)} mount -o remount,ro {_FIREWALLD}",
        mend=f"umount {_FIREWALLD}",
        code=1,
        said="Read-only file system",
    ),
    Trouble(
        name="/var/lib is full",
        make=f"set -e; {_FULL.format(_STATE)}",
        mend=f"umount {_STATE}",
        code=1,
        said="No space left on device",
    ),
    Trouble(
        name="firewalld is masked",
        make="systemctl mask --now firewalld",
        mend="systemctl unmask firewalld; systemctl start firewalld",
        code=1,
        said=r"firewalld is not running; way out: .*systemctl unmask firewalld",
    ),
)
