"""The lab as a fixture: one world a test and version of firewalld, so that no test sees what another left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import world as lab_world
from tests.lab.matrix import Absent, Firewalld, matrix
from tests.lab.world import ABROAD, CONTAINER, JP, KernelLog, World
from tests.skipping import leave_out

# FWFEED_LAB_FIREWALLD is a folder into which another firewalld was unpacked: the lab runs on that alone.
MATRIX = matrix(Path(__file__).parents[2] / "build/lab", os.environ.get("FWFEED_LAB_FIREWALLD"))


@pytest.fixture(params=MATRIX.values(), ids=list(MATRIX))
def firewalld(request: pytest.FixtureRequest) -> Firewalld:
    """Each firewalld in its turn; -k 2.3.1 runs on that one alone."""
    if reason := lab_world.missing():
        leave_out(reason)
    which: Firewalld | Absent = request.param
    if isinstance(which, Absent):
        leave_out(which.reason)
    return which


@pytest.fixture
def lab(tmp_path: Path, firewalld: Firewalld) -> Iterator[World]:
    with lab_world.world(tmp_path, firewalld) as running:
        running.publish()
        running.configure()
        yield running


@pytest.fixture
def log(lab: World) -> Iterator[KernelLog]:
    kernel_log = KernelLog([lab.device(neighbour) for neighbour in (JP, ABROAD, CONTAINER)])
    yield kernel_log
    kernel_log.close()
