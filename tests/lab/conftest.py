"""The lab as a fixture: one world a test, so that no test sees what another left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import world as lab_world
from tests.lab.world import KernelLog, World


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[World]:
    if reason := lab_world.missing():
        if os.environ.get("CI") == "true":
            pytest.fail(f"nothing may be skipped in CI: {reason}")
        pytest.skip(reason)
    with lab_world.world(tmp_path) as running:
        running.publish()
        running.configure()
        yield running


@pytest.fixture
def log(lab: World) -> Iterator[KernelLog]:
    kernel_log = KernelLog()
    yield kernel_log
    kernel_log.close()
