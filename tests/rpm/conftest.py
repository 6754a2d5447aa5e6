"""The packages, built once for all processes that run tests side by side, and roots to install them into."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fwfeed import __version__
from tests import needs
from tests.rpm.packages import Packages, build, built, found, later, require_tools
from tests.rpm.roots import Root
from tests.skipping import require


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs rpm's tools, and mostly root, so that -m can leave it out."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("package")


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that one of the processes fills, and the others wait for."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder = base / name
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            making = base / f"{name}.new"
            shutil.rmtree(making, ignore_errors=True)
            make(making)
            making.rename(folder)
    return folder


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """This tree's package and a later one, in a repository with stand-ins that have a shell."""

    def make(folder: Path) -> None:
        built(folder, shell=True).add(later(folder / "later"))

    require_tools()
    return found(once(tmp_path_factory, "packages", make))


@pytest.fixture(scope="session")
def checked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """This tree's package and source package built again, with its tests."""
    require_tools()
    folder = once(tmp_path_factory, "checked", lambda folder: build(folder, spec_check=True))
    return next(folder.glob("*.noarch.rpm")), next(folder.glob("*.src.rpm"))


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory, packages: Packages) -> Root:
    """A root with the package, to look at only."""
    require_root()

    def make(folder: Path) -> None:
        Root(folder, packages.repository).change("install", f"fwfeed-{__version__}")

    return Root(once(tmp_path_factory, "installed", make), packages.repository)


@pytest.fixture
def root(tmp_path: Path, installed: Root) -> Root:
    """A root with the package, to change."""
    shutil.copytree(installed.folder, tmp_path / "root", symlinks=True)
    copy = Root(tmp_path / "root", installed.repository)
    copy.called()
    return copy


def require_root() -> None:
    """Leave the test out where rpm could not give files their owners, or run scriptlets in a root."""
    require(needs.root(), needs.capability("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_SETUID", "CAP_SYS_CHROOT"))
