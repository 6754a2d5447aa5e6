"""What a test can need of the machine: each says why it is not there, or nothing.

A need asks for what is needed and not for who runs the tests: root in a container lacks most of what root on a machine
has. Each is tried once in a process that runs tests.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

# include/uapi/linux/capability.h
CAPABILITIES = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_LINUX_IMMUTABLE": 9,
    "CAP_NET_ADMIN": 12,
    "CAP_SYS_CHROOT": 18,
    "CAP_SYS_ADMIN": 21,
}

# A kernel's log is one for all namespaces; without this it has no lines of any but the first.
LOG_ALL = Path("/proc/sys/net/netfilter/nf_log_all_netns")


@cache
def root() -> str:
    """UID 0 itself: for what fwfeed does, or refuses, for that user alone."""
    return "" if os.geteuid() == 0 else "needs the user root"


@cache
def capability(*names: str) -> str:
    """Capabilities in effect, as `capabilities(7)` calls them."""
    (effective,) = [
        int(line.split()[1], 16)
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("CapEff:")
    ]
    missing = [name for name in names if not effective >> CAPABILITIES[name] & 1]
    return f"needs {' and '.join(missing)}" if missing else ""


@cache
def program(*names: str, hint: str = "") -> str:
    """Programs in the search path; `hint` says how they get there."""
    missing = [name for name in names if shutil.which(name) is None]
    return f"needs {', '.join(missing)}{hint and f': {hint}'}" if missing else ""


@cache
def bindings(*modules: str) -> str:
    """What the distribution has for its own Python alone: dbus and nftables."""
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            return f"needs the distribution's python3-{name}, for this Python: {error}"
    return ""


@cache
def mounting() -> str:
    """File systems of one's own, which nobody else sees."""
    return _tried("mounts of its own", "mount -t tmpfs fwfeed /tmp && mount --bind /tmp /tmp", "unshare", "--mount")


@cache
def networking() -> str:
    """Network namespaces with devices and rules of their own, and with an overlay where others have /etc."""
    script = (
        "ip link add one type veth peer name other && sysctl -qw net.ipv4.ip_forward=1 && nft add table inet fwfeed && "
        "mount -t tmpfs fwfeed /tmp && mkdir /tmp/upper && mount -t overlay -o lowerdir=/tmp/upper:/etc fwfeed /etc"
    )
    return (
        program("ip", "nft", "sysctl", hint="tests/setup lab, as root")
        or _tried("network namespaces", script, "unshare", "--mount", "--net")
        or capability("CAP_NET_ADMIN", "CAP_SYS_ADMIN")
    )


@cache
def kernel_log() -> str:
    """The kernel's log, with what packets in namespaces have it say."""
    if not LOG_ALL.exists():
        return f"needs {LOG_ALL}: modprobe nf_log_syslog"
    for path, flags in ((LOG_ALL, os.O_WRONLY), (Path("/dev/kmsg"), os.O_RDONLY | os.O_NONBLOCK)):
        try:
            os.close(os.open(path, flags))
        except OSError as error:
            return f"needs {path} to be {'written' if flags & os.O_WRONLY else 'read'}: {error.strerror}"
    return ""


def _tried(what: str, script: str, *within: str) -> str:
    try:
        done = subprocess.run(
            [*within, "sh", "-c", script], capture_output=True, text=True, errors="replace", check=False, timeout=60
        )
    except OSError as error:
        return f"needs {what}: {within[0]}: {error.strerror}"
    said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return f"needs {what}: {said[0]}" if done.returncode else ""
