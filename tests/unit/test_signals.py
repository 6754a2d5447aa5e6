"""The stopping signals, in processes of their own: pytest's handlers and this process's life are not to be touched."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.unit.builders import CHECKOUT

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
PREAMBLE = """
import os, signal, sys, threading
from fwfeed.signals import Interrupted, deferred, handed_over, interruptible, undisturbed

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def handlers():
    return [signal.getsignal(number) for number in SIGNALS]


signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest may have been started with it ignored
for number in SIGNALS[1:]:
    signal.signal(number, signal.SIG_DFL)
before = handlers()
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PREAMBLE + code], cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=60
    )


def printed(code: str) -> str:
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("name", SIGNALS)
def test_a_stopping_signal_raises_interrupted_with_its_name(name: str) -> None:
    code = f"""
try:
    with interruptible():
        signal.raise_signal(signal.{name})
        print("went on")
except Interrupted as error:
    print(error)
assert handlers() == before
"""
    assert printed(code) == f"{name}\n"


def test_interrupted_is_what_ctrl_c_raises_so_that_nothing_takes_it_for_an_error() -> None:
    code = """
try:
    with interruptible():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.sigtimedwait([], 5)
        except Exception:
            print("taken for an error")
except KeyboardInterrupt as error:
    print(type(error).__name__)
"""
    assert printed(code) == "Interrupted\n"


def test_interruptible_leaves_all_other_signals_alone() -> None:
    code = """
others = set(signal.valid_signals()) - set(SIGNALS)
was = {number: signal.getsignal(number) for number in others}
with interruptible():
    assert {number: signal.getsignal(number) for number in others} == was
    assert not set(handlers()) & set(before)
"""
    assert printed(code) == ""


@pytest.mark.parametrize("block", ["interruptible", "undisturbed"])
@pytest.mark.parametrize("end", ["pass", "raise ZeroDivisionError"])
def test_afterwards_the_handlers_are_the_ones_from_before(block: str, end: str) -> None:
    code = f"""
def own(number, frame):
    print("own", signal.Signals(number).name)

signal.signal(signal.SIGHUP, own)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
before = handlers()
try:
    with {block}():
        assert handlers() != before
        {end}
except ZeroDivisionError:
    pass
assert handlers() == before
signal.raise_signal(signal.SIGHUP)
"""
    assert printed(code) == "own SIGHUP\n"


@pytest.mark.parametrize("name", SIGNALS)
def test_undisturbed_a_stopping_signal_does_nothing_then_or_later(name: str) -> None:
    code = f"""
with undisturbed():
    for _ in range(3):
        os.kill(os.getpid(), signal.{name})
    print("went on")
assert handlers() == before
"""
    assert printed(code) == "went on\n"


@pytest.mark.parametrize("name", SIGNALS)
def test_undisturbed_within_interruptible_as_in_a_rollback(name: str) -> None:
    code = f"""
try:
    with interruptible():
        try:
            raise ZeroDivisionError
        except BaseException:
            with undisturbed():
                signal.raise_signal(signal.{name})
                print("rolled back")
        signal.raise_signal(signal.{name})
except Interrupted as error:
    print(error)
assert handlers() == before
"""
    assert printed(code) == f"rolled back\n{name}\n"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_after_the_block_a_signal_ends_the_process_as_it_would_have_before(name: str) -> None:
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
with interruptible():
    pass
with undisturbed():
    pass
signal.raise_signal(signal.{name})
"""
    assert run(code).returncode < 0


@pytest.mark.parametrize("block", ["interruptible", "undisturbed"])
def test_in_another_thread_nothing_happens(block: str) -> None:
    code = f"""
def work():
    with {block}():
        print(handlers() == before)
    print(handlers() == before)

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""
    assert printed(code) == "True\nTrue\n"


def test_a_deferred_signal_comes_when_the_block_has_ended() -> None:
    code = """
try:
    with interruptible():
        with deferred():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            print("all of it")
        print("what comes after")
except Interrupted as error:
    print(error)
assert handlers() == before
"""
    assert printed(code) == "all of it\nSIGTERM\n"


def test_without_a_signal_nothing_comes_of_deferring() -> None:
    assert printed("with deferred(): print('done')\nassert handlers() == before") == "done\n"


def test_a_signal_that_is_handed_over_stops_nothing() -> None:
    code = """
came = []
with interruptible():
    with handed_over(came.append):
        for number in SIGNALS:
            os.kill(os.getpid(), number)
        print(*(number.name for number in came))
assert handlers() == before
"""
    assert printed(code) == "SIGINT SIGTERM SIGHUP\n"
