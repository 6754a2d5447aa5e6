"""The lab as a fixture: one world a test, so that no test sees what another left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import world as lab_world
from tests.lab.world import KernelLog, World
from tests.skipping import leave_out


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[World]:
    if reason := lab_world.missing():
        leave_out(reason)
    with lab_world.world(tmp_path) as running:
        running.publish()
        running.configure()
        yield running


@pytest.fixture
def log(lab: World) -> Iterator[KernelLog]:
    kernel_log = KernelLog()
    yield kernel_log
    kernel_log.close()
