"""What holds for every test, whichever of several processes it runs in."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.lab.namespaces import sweep

# How long an example takes says how busy the machine is: tests run side by side. pytest's timeout ends what hangs.
settings.register_profile("side by side", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("side by side")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Tidy up after workers that were not given the time to, as when the run is interrupted."""
    if not hasattr(config, "workerinput"):
        sweep()
