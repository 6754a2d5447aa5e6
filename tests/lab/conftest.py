"""The lab as a fixture: one world a test and version of firewalld, so that no test sees what another left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import world as lab_world
from tests.lab.matrix import Absent, Firewalld, matrix, one_of
from tests.lab.world import ABROAD, CONTAINER, JP, KernelLog, World
from tests.skipping import leave_out, require

# FWFEED_LAB_FIREWALLD is a folder into which another firewalld was unpacked: the lab runs on that alone.
MATRIX = matrix(Path(__file__).parents[2] / "build/lab", os.environ.get("FWFEED_LAB_FIREWALLD"))

# FWFEED_LAB_MATRIX=full: each test on every version.
FULL = {"": False, "full": True}[os.environ.get("FWFEED_LAB_MATRIX", "")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test of the lab on every version, or on one where it says why that is enough."""
    if "firewalld" in metafunc.fixturenames:
        alone = metafunc.definition.get_closest_marker("one_version") and not FULL
        versions = one_of(MATRIX) if alone else MATRIX
        metafunc.parametrize("firewalld", versions.values(), ids=list(versions), indirect=True)


@pytest.fixture
def firewalld(request: pytest.FixtureRequest) -> Firewalld:
    """Each firewalld in its turn; -k 2.3.1 runs on that one alone."""
    require(lab_world.missing())
    which: Firewalld | Absent = request.param
    if isinstance(which, Absent):
        leave_out(which.reason)
    return which


@pytest.fixture
def lab(tmp_path: Path, firewalld: Firewalld, request: pytest.FixtureRequest) -> Iterator[World]:
    all_services = request.node.get_closest_marker("all_services") is not None
    with lab_world.world(tmp_path, firewalld, all_services=all_services) as running:
        running.publish()
        running.configure()
        yield running


@pytest.fixture
def log(lab: World) -> Iterator[KernelLog]:
    kernel_log = KernelLog([lab.device(neighbour) for neighbour in (JP, ABROAD, CONTAINER)])
    yield kernel_log
    kernel_log.close()
