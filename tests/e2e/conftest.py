"""The machine, its registries and its packages, once for the whole story."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from tests.e2e.machine import ABROAD, ABROAD6, DOMESTIC, DOMESTIC6, Machine, machine
from tests.e2e.registries import Registries, names
from tests.lab.namespaces import tagged
from tests.rpm.packages import Packages, built
from tests.skipping import leave_out

CHECKOUT = Path(__file__).parents[2]
ROOT = Path(os.environ.get("FWFEED_E2E_ROOT", "/var/cache/fwfeed-e2e")) / "trixie"


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """This tree's package, built for the machine's Python, and one of a later version."""
    return built(tmp_path_factory.mktemp("packages"), sitelib="/usr/lib/python3/dist-packages")


@pytest.fixture(scope="session")
def registries(tmp_path_factory: pytest.TempPathFactory) -> Registries:
    """The registries as of yesterday."""
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date()
    return Registries.of_today(tmp_path_factory.mktemp("site"), yesterday)


@pytest.fixture(scope="session")
def web(tmp_path_factory: pytest.TempPathFactory, packages: Packages, registries: Registries) -> Iterator[Machine]:
    """The web server of the story: booted, with packages to be had, and the registries within reach."""
    if os.geteuid() != 0:
        leave_out("only root can boot a machine")
    if not (ROOT / "usr/bin/systemctl").exists():
        leave_out(f"there is no root in {ROOT}: tests/setup e2e, as make e2e does")
    folder = tmp_path_factory.mktemp("machine")
    with tagged() as tag, machine(ROOT, folder / "files", tag) as host:
        authority = trustme.CA()
        _prepare(host.root, packages, authority)
        certificate = folder / "certificate.pem"
        authority.issue_cert(*names()).private_key_and_cert_chain_pem.write_to_path(str(certificate))
        host.boot()
        with _listening(host, registries.site, certificate):
            yield host


def _prepare(root: Path, packages: Packages, authority: trustme.CA) -> None:
    """What an administrator's network brings: names, trust, and a repository of packages."""
    hosts = [f"{DOMESTIC} {name}" for name in names()]
    (root / "etc/hosts").write_text("\n".join(["127.0.0.1 localhost", "::1 localhost", *hosts]) + "\n")
    (root / "etc/hostname").write_text("web\n")
    (root / "etc/machine-id").write_text("")
    # the server stands in Japan, and so does its clock
    (root / "etc/localtime").unlink(missing_ok=True)
    (root / "etc/localtime").symlink_to("../usr/share/zoneinfo/Asia/Tokyo")
    bundle = root / "etc/ssl/certs/ca-certificates.crt"
    bundle.write_bytes(authority.cert_pem.bytes())
    shutil.copytree(packages.repository, root / "srv/repository")
    (root / "etc/yum.repos.d").mkdir(exist_ok=True)
    repository = "[fwfeed]\nname=fwfeed\nbaseurl=file:///srv/repository\ngpgcheck=0\nmetadata_expire=0\n"
    (root / "etc/yum.repos.d/fwfeed.repo").write_text(repository)
    (root / "etc/dnf/vars").mkdir(parents=True, exist_ok=True)
    (root / "etc/dnf/vars/releasever").write_text("10\n")
    # as on AlmaLinux: what is installed is not enabled by that
    preset = root / "etc/systemd/system-preset/99-default-disable.preset"
    preset.parent.mkdir(parents=True, exist_ok=True)
    preset.write_text("disable *\n")
    # firewalld says in its log that it was told to reload
    debug = root / "etc/systemd/system/firewalld.service.d/debug.conf"
    debug.parent.mkdir(parents=True)
    debug.write_text("[Service]\nExecStart=\nExecStart=/usr/sbin/firewalld --nofork --nopid --debug=1\n")


class _listening:  # noqa: N801 - a context manager that reads as one
    """The registries' web server, and somebody who takes connections at home and abroad, while the block lasts."""

    def __init__(self, host: Machine, site: Path, certificate: Path) -> None:
        inside = ["ip", "netns", "exec", host.outside]
        serving = [sys.executable, "-m", "tests.e2e.registries", str(site), str(certificate), DOMESTIC]
        taking = [sys.executable, "-c", _TAKING, ABROAD, ABROAD6, DOMESTIC6]
        self._commands = [[*inside, *serving], [*inside, *taking]]
        self._log = certificate.with_name("asked")
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> None:
        with self._log.open("ab") as log:
            for command in self._commands:
                self._running.append(subprocess.Popen(command, cwd=CHECKOUT, stdout=log, stderr=log))

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.terminate()
            process.wait(30)


_TAKING = """
import socket, sys, threading
def take(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = socket.create_server((address, 443), family=family)
    while True:
        server.accept()[0].close()
for address in sys.argv[1:]:
    threading.Thread(target=take, args=(address,)).start()
"""
