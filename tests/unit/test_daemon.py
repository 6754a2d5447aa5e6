"""The daemon, as a process of its own with the real APScheduler; what it runs is mostly a small script.

What time it is for it is made so by its time zone: `clock` gives one in which it is now that time of day.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time as clocks
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from queue import Queue
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwfeed.config import DaemonConfig
from fwfeed.daemon.timetable import Daily, Timetable, due
from tests import needs
from tests.leaks import below
from tests.skipping import require
from tests.unit.builders import CHECKOUT, ENVIRONMENT, FWFEED, World, world

SERVE = """
import sys
from pathlib import Path
from fwfeed.cli.session import complain, guarded, say
from fwfeed.config import parse
from fwfeed.daemon import serve

file, *command = sys.argv[1:]

def read():
    return parse(Path(file).read_text(), file="fwfeed.toml")

def run():
    serve(read(), read, command, tell=say, complain=complain)
    return 0

sys.exit(guarded(run))
"""
NIGHT = ("CET-1CEST,M3.5.0,M10.5.0/3", "UTC0", "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", "<-03>3<-02>,M3.4.0/0,M10.4.0/0")


class Daemon:
    """A daemon that runs, and the lines it tells."""

    def __init__(self, *command: str | Path, now: time = time(12), bus: str = "") -> None:
        self.zone = clock(now)
        self.process = subprocess.Popen(
            command,
            cwd=CHECKOUT,
            env=ENVIRONMENT | {"TZ": self.zone, "DBUS_SYSTEM_BUS_ADDRESS": bus},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.told: list[str] = []
        self._lines: Queue[str] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self._lines.put(line.rstrip("\n"))
        self._lines.put("")

    def line(self, pattern: str) -> re.Match[str]:
        """Wait for the next line that has this in it."""
        while line := self._lines.get(timeout=60):
            self.told.append(line)
            if found := re.search(pattern, line):
                return found
        pytest.fail(f"the daemon ended without telling {pattern!r}: {self.told}")

    def moment(self, text: str) -> datetime:
        """Return the moment that its clock shows so."""
        sign, hours, minutes, seconds = re.fullmatch(r"TST([+-])(\d+):(\d+):(\d+)", self.zone).groups()  # type: ignore[union-attr]
        behind = timedelta(hours=int(hours), minutes=int(minutes), seconds=int(seconds))
        return datetime.fromisoformat(f"{text}+00:00") + (behind if sign == "+" else -behind)

    def send(self, number: signal.Signals) -> None:
        os.killpg(self.process.pid, number)  # as a terminal would

    def kill(self) -> None:
        """End it and what it runs, if they still do."""
        for pid in (self.process.pid, *below(self.process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(timeout=60)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to end, and return its exit code."""
        self.send(number)
        self.line(f"daemon: ended by {number.name}")
        return self.process.wait(timeout=60)


def clock(now: time) -> str:
    """Return a value of TZ by which it is now this time of day."""
    utc = datetime.now(UTC)
    ahead = (datetime.combine(utc.date(), now, tzinfo=UTC) - utc + timedelta(hours=12)) % timedelta(days=1)
    seconds = round((ahead - timedelta(hours=12)).total_seconds())
    sign, length = ("-" if seconds >= 0 else "+"), abs(seconds)
    return f"TST{sign}{length // 3600}:{length // 60 % 60:02}:{length % 60:02}"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "fwfeed.toml"
    file.write_text(configured(tmp_path))
    return file


def configured(folder: Path, *, at: str = "03:30", spread: str = "0s") -> str:
    return f'[paths]\nrun = "{folder}/run"\n[daemon]\nat = "{at}"\nspread = "{spread}"\n'


@pytest.fixture
def launch() -> Iterator[Callable[..., Daemon]]:
    """Start daemons that end with the test, however that ends."""
    started: list[Daemon] = []

    def start(*command: str | Path, now: time = time(12), bus: str = "") -> Daemon:
        started.append(Daemon(*command, now=now, bus=bus))
        return started[-1]

    yield start
    for daemon in started:
        daemon.kill()


@pytest.fixture
def serve(launch: Callable[..., Daemon], config: Path) -> Callable[..., Daemon]:
    """Start a daemon that runs a script of sh in the configuration's folder."""

    def start(script: str, *, now: time = time(12)) -> Daemon:
        shell = f"cd {shlex.quote(str(config.parent))}; {script}"
        return launch(sys.executable, "-c", SERVE, config, "sh", "-c", shell, now=now)

    return start


def wait_for(condition: Callable[[], object]) -> None:
    deadline = clocks.monotonic() + 60
    while not condition():
        assert clocks.monotonic() < deadline
        clocks.sleep(0.05)


def test_it_updates_at_its_start_and_tells_how_that_ended_and_when_it_updates_next(
    serve: Callable[..., Daemon],
) -> None:
    daemon = serve("exit 3")
    daemon.line(r"^daemon: next update at [\d-]{10} 1[12]:\d\d:\d\d TST$")
    found = daemon.line(
        r"^daemon: the update ended with 3, feed refused, or held by a gate, after 0\.\d s; "
        r"next update at ([\d-]{10} 03:30:00) TST$"
    )
    assert timedelta(hours=15) < daemon.moment(found[1]) - datetime.now(UTC) < timedelta(hours=16)
    assert daemon.end() == 0
    assert len(daemon.told) == 3


def test_it_updates_at_its_time_of_day_whatever_became_of_the_update_before(
    serve: Callable[..., Daemon], config: Path
) -> None:
    daemon = serve("date +%T >>ran; exit $((6 - 6 * ($(wc -l <ran) - 1)))", now=time(3, 29, 56))
    daemon.line("ended with 6, apply failed, and so did the roll-back,")
    found = daemon.line("ended with 0, done, or nothing to do, .* next update at (.*) TST$")
    at_start, by_night = (config.parent / "ran").read_text().split()
    assert at_start < "03:30:00" <= by_night < "03:31:00"
    assert timedelta(hours=23) < daemon.moment(found[1]) - datetime.now(UTC) < timedelta(hours=24)
    assert daemon.end() == 0


def test_what_is_due_while_an_update_is_under_way_is_skipped(serve: Callable[..., Daemon], config: Path) -> None:
    daemon = serve("echo >>ran; while ! [ -e go ]; do sleep 0.1; done", now=time(3, 29, 57))
    daemon.line(
        "^daemon: an update is due, but the one before it has not ended: skipped; next update at .* 03:30:00 TST$"
    )
    (config.parent / "go").touch()
    daemon.line("ended with 0")
    assert (config.parent / "ran").read_text() == "\n"
    assert daemon.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_it_tells_the_update_and_waits_for_it(
    number: signal.Signals, serve: Callable[..., Daemon], config: Path
) -> None:
    daemon = serve(
        "trap 'sleep 1; echo back >>ran; exit 4' TERM; trap 'echo disturbed >>ran' INT HUP; "
        "touch began; while :; do sleep 0.1; done"
    )
    wait_for((config.parent / "began").exists)
    daemon.send(signal.SIGHUP)
    daemon.line("has read the configuration anew")
    daemon.send(number)
    daemon.line("^daemon: the update that is under way was told to end; waiting for it")
    assert daemon.end(number) == 0  # which a second signal does not hasten
    assert (config.parent / "ran").read_text() == "back\n"
    assert "the update ended with 4, apply failed and was rolled back, after " in daemon.told[-2]


def test_an_update_that_is_killed_is_told_and_ends_nothing(serve: Callable[..., Daemon], config: Path) -> None:
    daemon = serve("kill -9 $$")
    daemon.line("^daemon: the update was killed by SIGKILL after .* s; next update at ")
    assert daemon.end() == 0


def test_an_update_that_cannot_be_started_is_told_and_ends_nothing(launch: Callable[..., Daemon], config: Path) -> None:
    daemon = launch(sys.executable, "-c", SERVE, config, config.parent / "nothing")
    daemon.line(f"^fwfeed: cannot start {config.parent}/nothing: No such file or directory$")
    daemon.line("^daemon: next update at .* 03:30:00 TST$")
    assert daemon.end() == 0


def test_sighup_has_it_read_its_times_anew(serve: Callable[..., Daemon], config: Path) -> None:
    daemon = serve("echo >>ran")
    daemon.line("ended with 0")
    config.write_text(configured(config.parent, at="21:45"))
    daemon.send(signal.SIGHUP)
    daemon.line("^daemon: has read the configuration anew; next update at .* 21:45:00 TST$")
    config.write_text(configured(config.parent, at="21:45", spread="1m"))
    daemon.send(signal.SIGHUP)
    daemon.line("^daemon: has read the configuration anew; next update at .* 21:4[56]:")
    assert daemon.end() == 0
    assert (config.parent / "ran").read_text() == "\n"


def test_with_a_broken_configuration_it_goes_on_with_the_one_of_before(
    serve: Callable[..., Daemon], config: Path
) -> None:
    daemon = serve("exit 0")
    daemon.line("ended with 0")
    config.write_text('[daemon]\nat = "25:00"\nspraed = "1h"\n')
    daemon.send(signal.SIGHUP)
    daemon.line("^fwfeed: fwfeed.toml:2: daemon.at: '25:00' is not a time of day")
    daemon.line("^fwfeed: fwfeed.toml:3: daemon.spraed: unknown key")
    daemon.line("^daemon: goes on with the configuration of before; next update at .* 03:30:00 TST$")
    config.write_text(configured(config.parent, at="04:30"))
    daemon.send(signal.SIGHUP)
    daemon.line(" 04:30:00 TST$")
    assert daemon.end() == 0


def test_a_second_one_is_refused_while_the_first_one_lives(serve: Callable[..., Daemon], config: Path) -> None:
    first = serve("echo $$ >pid; touch began; exec sleep 60")
    wait_for((config.parent / "began").exists)
    second = serve("touch ran")
    second.line(f"^fwfeed: another fwfeed daemon runs: it holds {config.parent}/run/daemon/lock$")
    second.line("^fwfeed: way out: let it, or end it first")
    assert second.process.wait(timeout=60) == 1
    assert not (config.parent / "ran").exists()
    assert first.process.poll() is None
    try:
        first.process.kill()
        first.process.wait(timeout=60)
        third = serve("exit 0")
        third.line("ended with 0")
        assert third.end() == 0
    finally:  # the first one's update goes on, without its lock
        os.kill(int((config.parent / "pid").read_text()), signal.SIGKILL)


def test_without_apscheduler_it_says_what_else_there_is(config: Path) -> None:
    without = f"import sys\nsys.modules['apscheduler'] = None\n{SERVE}"
    done = subprocess.run(
        [sys.executable, "-c", without, config, "true"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    told = done.stderr.splitlines()
    assert done.returncode == 1
    assert told[0].startswith("fwfeed: fwfeed daemon needs APScheduler 3: ")
    assert told[1] == (
        "fwfeed: way out: on a host with systemd: systemctl enable --now fwfeed.timer; "
        "else, in a checkout of fwfeed: pip install '.[daemon]'"
    )
    assert not (config.parent / "run").exists()


@pytest.mark.parametrize("arguments", [["--help"], ["render"]])
def test_no_other_command_needs_apscheduler(arguments: list[str], tmp_path: Path) -> None:
    made = world(tmp_path)
    assert made.run("fetch").code == 0
    script = (
        "import sys\nfrom fwfeed.cli import main\n"
        "try:\n    assert main(sys.argv[1:]) == 0\n"
        "finally:\n    assert not [name for name in sys.modules if name.startswith(('apscheduler', 'fwfeed.daemon'))]"
    )
    command = [sys.executable, "-c", script, "--config", str(made.config), *arguments]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_command_updates_as_root(tmp_path: Path, launch: Callable[..., Daemon]) -> None:
    require(needs.root(), needs.bindings("dbus"))
    made = world(tmp_path)
    made.configure(more='[daemon]\nspread = "0s"\n')
    daemon = launch(FWFEED, "--config", made.config, "daemon", "--verbose", bus=f"unix:path={tmp_path}/none")
    daemon.line("^daemon: next update at ")
    daemon.line("^apnic: .* 3 records")  # the update's own progress
    daemon.line("^fwfeed: the system bus does not answer")
    daemon.line("^daemon: the update ended with 1, failed, after .* s; next update at .* 03:30:00 TST$")
    assert daemon.end() == 0
    assert made.run("list", "--family", "4").out == "198.51.100.0/24\n"
    assert not made.firewalld.exists()


def test_who_is_not_root_is_refused() -> None:
    with TemporaryDirectory() as folder:  # pytest's own are for one user alone
        refuse_others(World(Path(folder)))


def refuse_others(made: World) -> None:
    made.configure()
    made.root.chmod(0o755)
    script = (
        # all that it imports by then, as another user may not reach a checkout of root's
        "import os, sys\nimport fwfeed.apply, fwfeed.cli.changes, fwfeed.cli.session, fwfeed.daemon\n"
        "from fwfeed.cli import main\n"
        "os.geteuid() == 0 and os.seteuid(65534)\nsys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", script, "--config", str(made.config), "daemon"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, "fwfeed: this changes the firewall and needs root")
    assert sorted(path.name for path in made.root.iterdir()) == ["fwfeed.toml"]


def test_what_the_daemon_runs_is_asked_for_by_nobody_who_could_be_locked_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "203.0.113.2 50000 198.51.100.1 22")
    made = World(tmp_path)
    made.configure()
    script = (
        "from fwfeed.cli import changes, parser\nfrom fwfeed.cli.session import Session\nimport argparse, sys\n"
        "defaults = argparse.Namespace(config=None, json=False, verbose=False, quiet=False)\n"
        "print(changes._operator(Session(parser().parse_args(sys.argv[1:], defaults))).ssh)"
    )
    command = [sys.executable, "-c", script, "--config", str(made.config), "update"]

    def asked_by(*more: str) -> str:
        done = subprocess.run([*command, *more], cwd=CHECKOUT, capture_output=True, text=True, check=True)
        return str(done.stdout)

    assert "203.0.113.2" in asked_by()
    assert asked_by("--unattended") == "None\n"


@pytest.fixture(scope="module", params=NIGHT)
def zone(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        clocks.tzset()
        yield
    clocks.tzset()


MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2036, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - given there
# the hours when summer time begins and ends, in all of the zones above
CHANGES = st.tuples(
    st.sampled_from(["2026-03-28", "2026-10-24", "2026-10-03", "2026-04-04"]), st.integers(0, 2880)
).map(lambda found: datetime.fromisoformat(f"{found[0]}T00:00:00+00:00") + timedelta(minutes=found[1]))
TIMES = st.builds(time, st.integers(0, 23) | st.integers(0, 3), st.sampled_from([0, 15, 30, 59]))
SPREADS = st.timedeltas(timedelta(), timedelta(days=1))


def shown(moment: datetime) -> datetime:
    """Return what the host's clocks show."""
    return moment.astimezone().replace(tzinfo=None)


@given(at=TIMES, now=MOMENTS | CHANGES, spread=SPREADS)
def test_an_update_is_due_once_a_day_and_put_off_within_its_bounds(
    zone: None, at: time, now: datetime, spread: timedelta
) -> None:
    moment = due(at, now)
    assert now < moment < now + timedelta(hours=26)
    trigger = Daily(DaemonConfig(at=at, spread=spread))
    put_off = trigger.get_next_fire_time(None, now)
    assert moment <= put_off <= moment + spread
    assert not trigger.is_too_late(put_off, now)
    assert trigger.get_next_fire_time(put_off, put_off) > put_off
    assert trigger.is_too_late(moment + spread + timedelta(seconds=1), now)


@given(at=TIMES, now=CHANGES)
def test_no_day_has_two_updates_and_none_is_left_out(zone: None, at: time, now: datetime) -> None:
    days = []
    for _ in range(5):
        now = due(at, now)
        left_out = shown(now) - timedelta(hours=at.hour, minutes=at.minute)  # the day's midnight, but for this much
        assert left_out.time() in {time(), time(0, 30), time(1)}, shown(now)
        days.append(left_out.date())
    assert [(later - earlier).days for earlier, later in pairwise(days)] == [1] * 4


def test_where_an_hour_comes_twice_it_is_due_in_the_first_and_where_it_is_left_out_an_hour_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", NIGHT[0])
    clocks.tzset()
    try:
        autumn = due(time(2, 30), datetime(2026, 10, 24, 12, tzinfo=UTC))
        assert autumn == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
        assert due(time(2, 30), autumn) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)
        spring = due(time(2, 30), datetime(2026, 3, 28, 12, tzinfo=UTC))
        assert spring == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)  # 03:30
        assert due(time(2, 30), spring) == datetime(2026, 3, 30, 0, 30, tzinfo=UTC)
    finally:
        monkeypatch.undo()
        clocks.tzset()


class Timed:
    """A timetable in this process, and how often it has run."""

    def __init__(self, config: DaemonConfig) -> None:
        self.runs = 0
        self.table = Timetable(config, self._run, lambda: pytest.fail("there was none under way"))
        self.table.start()

    def _run(self) -> None:
        self.runs += 1

    def pretend(self, moment: datetime) -> None:
        """Have it run at another time next, as if the clock had been set since that was reckoned."""
        self.table._job.modify(next_run_time=moment)


@pytest.fixture
def timed() -> Iterator[Timed]:
    """A timetable whose first run is over, and the next one ten hours off at least."""
    at = (datetime.now() + timedelta(hours=11)).time().replace(second=0)  # noqa: DTZ005 - the host's own time
    made = Timed(DaemonConfig(at=at, spread=timedelta()))
    wait_for(lambda: made.runs)
    yield made
    made.table.end()


def test_runs_that_were_missed_come_late_and_as_one(timed: Timed) -> None:
    usual = timed.table.next
    timed.pretend(datetime.now(UTC) - timedelta(days=3, hours=2))
    timed.table.look_again()
    wait_for(lambda: timed.runs > 1)
    assert timed.table.next == usual
    clocks.sleep(0.3)
    assert timed.runs == 2


def test_a_clock_that_was_set_back_does_not_keep_it_waiting(timed: Timed) -> None:
    usual = timed.table.next
    timed.pretend(usual + timedelta(days=1500))
    timed.table.look_again()
    assert timed.table.next == usual
    assert timed.runs == 1


def test_the_first_update_is_put_off_by_a_minute_at_most_and_other_times_leave_it_where_it_is() -> None:
    made = Timed(DaemonConfig(at=time(3, 30), spread=timedelta(hours=24)))
    try:
        first = made.table.next
        assert timedelta(seconds=-1) < first - datetime.now(UTC) < timedelta(minutes=1)
        made.table.change(DaemonConfig(at=time(4, 30), spread=timedelta()))
        assert made.table.next == first or made.runs == 1
    finally:
        made.table.end()


def test_other_times_are_for_the_next_update_unless_it_is_due_and_only_put_off(timed: Timed) -> None:
    earlier = (timed.table.next - timedelta(hours=5)).astimezone().time().replace(second=0)
    put_off = datetime.now(UTC) + timedelta(minutes=30)
    timed.pretend(put_off)
    timed.table.change(DaemonConfig(at=earlier, spread=timedelta()))
    assert timed.table.next == put_off
    timed.pretend(datetime.now(UTC) + timedelta(hours=20))
    timed.table.change(DaemonConfig(at=time(3, 30), spread=timedelta()))
    assert timed.table.next == due(time(3, 30), datetime.now(UTC))
