"""The one way to leave a test out: it says why, and in CI it is a failure."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def leave_out(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"nothing may be skipped in CI: {reason}")
    pytest.skip(reason)


def require(*reasons: str) -> None:
    """Leave the test out for the first of its needs that is not met; each is a reason of tests.needs, or empty."""
    for reason in reasons:
        if reason:
            leave_out(reason)
