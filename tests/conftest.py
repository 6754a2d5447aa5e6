"""What holds for every test, whichever of several processes it runs in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import leaks
from tests.lab.namespaces import sweep

# How long an example takes says how busy the machine is: tests run side by side. pytest's timeout ends what hangs.
settings.register_profile("side by side", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("side by side")

LEFT = pytest.StashKey[list[str]]()
WATCH = pytest.StashKey[leaks.Watch]()


def pytest_configure(config: pytest.Config) -> None:
    """Let no process that a test starts get out of sight, in each process that runs tests."""
    config.stash[LEFT] = []
    if hasattr(config, "workerinput") or config.getoption("dist", "no") == "no":
        leaks.adopt()
        config.stash[WATCH] = leaks.Watch()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    yield
    item.config.stash[WATCH].look(item.nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear what a process that ran tests has to say, before the run is judged."""
    node.config.stash[LEFT].extend(getattr(node, "workeroutput", {}).get("left", []))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run where a test has left a process."""
    config = session.config
    if WATCH in config.stash:
        config.stash[LEFT].extend(config.stash[WATCH].left())
    if hasattr(config, "workeroutput"):
        config.workeroutput["left"] = config.stash[LEFT]
    elif config.stash[LEFT] and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say once for each reason how many were skipped, and what was left running."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", [])
    )
    for reason, times in reasons.most_common():
        terminalreporter.write_line(f"skipped {times}: {reason}")
    for line in config.stash[LEFT]:
        terminalreporter.write_line(f"LEFT RUNNING: {line}", red=True)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Tidy up after workers that were not given the time to, as when the run is interrupted."""
    if not hasattr(config, "workerinput"):
        sweep()
