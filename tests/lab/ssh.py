"""A real sshd on the lab's host, and the neighbours' ssh clients."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.world import FWFEED, World, wait_until

SSHD = Path(os.environ.get("FWFEED_LAB_SSHD", Path(__file__).parents[2] / "build/lab/sshd"))

_CONFIG = """
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PidFile none
PermitRootLogin yes
StrictModes no
UsePAM no
UseDNS no
"""
# what newer ones call
_PROGRAMS = {"SshdSessionPath": "sshd-session", "SshdAuthPath": "sshd-auth"}

# The user and the folder that sshd wants for what it does without rights are there for it alone.
_START = """
mount -t overlay -o lowerdir={folder}/etc:{folder.parent}/etc:/etc fwfeed-sshd /etc
mount -t tmpfs fwfeed-sshd /run
mkdir -m 755 /run/sshd
exec {sshd} -D -e -f {folder}/sshd_config
"""


def missing() -> str:
    """Say what keeps an sshd from running here, or nothing."""
    if not (SSHD / "usr/sbin/sshd").exists():
        return f"the lab needs sshd unpacked in {SSHD}: make lab"
    return "" if shutil.which("ssh") and shutil.which("ssh-keygen") else "the lab needs the ssh client"


@dataclass(frozen=True)
class Ssh:
    """A running sshd; made by `serving`."""

    lab: World
    folder: Path
    port: int

    def command(self, name: str, address: str, words: str) -> list[str]:
        options = ["-F", "/dev/null", "-i", str(self.folder / "key"), "-p", str(self.port)]
        for option in (
            "BatchMode=yes",
            "ConnectTimeout=4",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
        ):
            options += ["-o", option]
        return ["ip", "netns", "exec", self.lab.namespace(name), "ssh", *options, f"root@{address}", words]

    def run(self, name: str, address: str, words: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the host, logged in from a neighbour."""
        command = self.command(name, address, words)
        return subprocess.run(
            command, env=self.lab.environment, capture_output=True, text=True, timeout=120, check=False
        )

    def fwfeed(self, name: str, address: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the real command on the host, logged in from a neighbour."""
        variables = [f"{key}={value}" for key, value in self.lab.environment.items()]
        words = ["env", *variables, FWFEED, "--config", str(self.lab.folder / "fwfeed.toml"), *arguments]
        return self.run(name, address, shlex.join(words))

    def gets_in(self, name: str, address: str) -> bool:
        """Try to log in, newly."""
        return self.run(name, address, "true").returncode == 0

    @contextmanager
    def session(self, name: str, address: str) -> Iterator[None]:
        """Be logged in from a neighbour."""
        command = self.command(name, address, "echo here; exec cat")
        with subprocess.Popen(
            command, env=self.lab.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as client:
            assert client.stdout is not None
            try:
                assert client.stdout.readline() == b"here\n"
                yield
                assert client.poll() is None, "the session has not lived on"
            finally:
                client.kill()


@contextmanager
def serving(lab: World, port: int = 22) -> Iterator[Ssh]:
    """Run an sshd on the host, on a port of all its addresses."""
    folder = lab.folder / f"sshd-{port}"
    folder.mkdir()
    for key in ("host_key", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
    accounts = Path("/etc/passwd").read_text()
    if "\nsshd:" not in accounts:
        accounts += "sshd:x:65533:65534::/run/sshd:/bin/false\n"
    (folder / "etc").mkdir()
    (folder / "etc/passwd").write_text(accounts)
    (folder / "etc/shadow").write_text("root:*:19000::::::\n")
    programs = {key: next(SSHD.rglob(name), None) for key, name in _PROGRAMS.items()}
    config = _CONFIG.format(port=port, folder=folder)
    config += "".join(f"{key} {path}\n" for key, path in programs.items() if path is not None)
    (folder / "sshd_config").write_text(config)
    libraries = ":".join(str(path) for path in (*SSHD.glob("usr/lib/*-linux-gnu"), *SSHD.glob("lib/*-linux-gnu")))
    script = _START.format(folder=folder, sshd=SSHD / "usr/sbin/sshd")
    with (folder / "log").open("wb") as log:
        lab.processes[folder.name] = subprocess.Popen(
            ["ip", "netns", "exec", lab.namespace("host"), "sh", "-ec", script],
            env={**lab.environment, "LD_LIBRARY_PATH": libraries},
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: b"Server listening on ::" in (folder / "log").read_bytes(), f"sshd, see {folder}/log")
        yield Ssh(lab, folder, port)
    finally:
        lab.stop(folder.name)
