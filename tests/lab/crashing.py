"""Kill a command before any of its steps, or have a step fail, each in its turn.

Run as a program on the lab's host, this is a process that has all imported and forks a child for each command; as a
module it is what talks to that process. A step is what changes files below the lab's folder, or asks firewalld for more
than an answer: files by Python's audit events, which none of its own calls can leave out.
"""

from __future__ import annotations

import errno
import importlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tests.lab.world import World

FILLING = frozenset({"create", "mkdir", "link", "write"})
"""What a full disk refuses."""
CALL = "call"
START = "start"

_EVENTS = {
    "open": "create",
    "os.mkdir": "mkdir",
    "os.link": "link",
    "os.symlink": "link",
    "os.rename": "rename",
    "os.remove": "unlink",
    "os.rmdir": "rmdir",
    "os.chmod": "chmod",
    "os.chown": "chown",
    "os.truncate": "truncate",
}


class Step(NamedTuple):
    """One step of a command: what kind of, and of what."""

    kind: str
    what: str

    @property
    def of_files(self) -> bool:
        return self.kind not in {CALL, START}

    def __str__(self) -> str:
        return f"{self.kind} {self.what}"


@dataclass(frozen=True)
class Harm:
    """What is done to a command, at which of its steps, counted from 1.

    `kill` kills it before the step, `late` right after it has sent firewalld a call and before any answer; `fail` has
    that step fail with an error of the system's, and `lasting` that one and all after it, those alone that fill the
    disk where the error is ENOSPC.
    """

    how: str = ""
    at: int = 0
    error: int = 0


NONE = Harm()


@dataclass(frozen=True)
class Ended:
    """How a command ended: `code` is negative where a signal ended it; `steps` are those it came to."""

    code: int
    stdout: str
    stderr: str
    steps: list[Step]

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


class Harness:
    """The process on the lab's host; made by `harness`."""

    def __init__(self, lab: World, process: subprocess.Popen[str]) -> None:
        self._lab = lab
        self._process = process

    def run(self, *arguments: str, harm: Harm = NONE, checks: bool = True) -> Ended:
        """Run fwfeed; without `checks`, what an apply looks at before its first step is left out, to save time."""
        assert self._process.stdin
        assert self._process.stdout
        order = {"arguments": [f"--config={self._lab.folder}/fwfeed.toml", *arguments], "checks": checks}
        self._process.stdin.write(json.dumps({**order, **asdict(harm)}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return Ended(**{**answer, "steps": [Step(*each) for each in answer["steps"]]})


@contextmanager
def harness(lab: World) -> Iterator[Harness]:
    (lab.folder / "tmp").mkdir(exist_ok=True)
    command = ["env", f"TMPDIR={lab.folder}/tmp", "at-home", sys.executable, "-P", __file__, str(lab.folder)]
    process = lab.start("host", *command)
    try:
        yield Harness(lab, process)
    finally:
        process.communicate(timeout=60)


@dataclass
class _Inside:
    """What wraps the steps of one command, in the process that runs it."""

    folder: str
    harm: Harm
    record: int
    number: int = 0
    busy: bool = False
    started: list[int] = field(default_factory=list)

    def come_to(self, kind: str, what: str) -> None:
        self.number += 1
        os.write(self.record, json.dumps([kind, what]).encode() + b"\n")
        if self.harm.how == "kill" and self.number == self.harm.at:
            os.kill(os.getpid(), signal.SIGKILL)
        reached = self.number == self.harm.at or (self.harm.how == "lasting" and self.number > self.harm.at)
        refused = kind in FILLING or self.harm.error != errno.ENOSPC
        if self.harm.how in {"fail", "lasting"} and kind not in {CALL, START} and reached and refused:
            raise OSError(self.harm.error, os.strerror(self.harm.error), what)

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take notice of an audit event."""
        if event not in _EVENTS or isinstance(arguments[0], int) or self.busy:
            return
        self.busy = True
        try:
            kind, path = _EVENTS[event], _where(arguments[0], _folder(event, arguments))
            if not path.startswith(self.folder) or not _changes(kind, path, arguments):
                return
            what = _name(path, self.folder)
            if kind in {"rename", "link"}:
                what += f" to {_name(_where(arguments[1], None), self.folder)}"
        finally:
            self.busy = False
        self.come_to(kind, what)

    def wrap(self, *, checks: bool) -> None:
        """Have every step come to `come_to` first."""
        from fwfeed import firewalld
        from fwfeed.apply import change
        from fwfeed.apply.ways import Ways

        inside = self
        real_sync, real_call, real_spawn, real_fdopen = os.fsync, firewalld.Firewalld._call, os.posix_spawn, os.fdopen

        def sync(descriptor: int) -> None:
            inside.come_to("sync", _name(_path(descriptor), inside.folder))
            real_sync(descriptor)

        class Halves(io.BufferedWriter):
            """Writes the first half of what it gets, then the other."""

            def write(self, content: Any) -> int:
                name = _name(_path(self.fileno()), inside.folder)
                middle = len(content) // 2
                for half in (content[:middle], content[middle:]):
                    inside.come_to("write", name)
                    super().write(half)
                    self.flush()
                return len(content)

        def fdopen(descriptor: int, mode: str = "r", *positional: Any, **named: Any) -> Any:
            if mode != "wb" or not _path(descriptor).startswith(inside.folder):
                return real_fdopen(descriptor, mode, *positional, **named)
            return Halves(io.FileIO(descriptor, mode))

        def call(self: Any, interface: str, method: str, *arguments: str, **named: Any) -> Any:
            if not method.lower().startswith(("get", "query")):
                inside.come_to(CALL, " ".join((method, *arguments)))
                if inside.harm.how == "late" and inside.number == inside.harm.at:
                    _send(self._bus, interface, method, arguments)
                    os.kill(os.getpid(), signal.SIGKILL)
            return real_call(self, interface, method, *arguments, **named)

        def spawn(*positional: Any, **named: Any) -> int:
            inside.come_to(START, str(positional[0]))
            pid = real_spawn(*positional, **named)
            os.write(inside.record, json.dumps(pid).encode() + b"\n")
            return pid

        for owner, name, wrapped in (
            (os, "fsync", sync),
            (os, "fdopen", fdopen),
            (os, "posix_spawn", spawn),
            (firewalld.Firewalld, "_call", call),
        ):
            setattr(owner, name, wrapped)
        if not checks:
            nothing = Ways(cuts=(), unknown=(), leaning=())
            for name, answer in (("check_target", None), ("_judge", nothing), ("runtime_only", [])):
                setattr(change, name, lambda *_arguments, answer=answer: answer)
        sys.addaudithook(self.heard)


def _send(bus: Any, interface: str, method: str, arguments: tuple[str, ...]) -> None:
    import dbus.lowlevel

    from fwfeed.firewalld import _BUS_NAME, _PATH

    message = dbus.lowlevel.MethodCallMessage(_BUS_NAME, _PATH, interface, method)
    message.append(*arguments, signature="s" * len(arguments))
    bus.send_message(message)
    bus.flush()


def _folder(event: str, arguments: tuple[Any, ...]) -> int | None:
    """Return the descriptor of the folder that a path is relative to, as the events of removals have it."""
    descriptor = arguments[-1] if event in {"os.remove", "os.rmdir", "os.mkdir", "os.chmod"} else -1
    return descriptor if isinstance(descriptor, int) and descriptor >= 0 else None


def _where(path: Any, folder: int | None) -> str:
    return str(Path(Path.cwd() if folder is None else _path(folder), os.fsdecode(path)))


def _path(descriptor: int) -> str:
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


def _changes(kind: str, path: str, arguments: tuple[Any, ...]) -> bool:
    """Return whether a call changes anything, as what removes a file that is not there does not."""
    there = os.path.lexists(path)
    if kind == "create":
        writes = arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        return bool(writes) and (not there or bool(arguments[2] & os.O_TRUNC))
    if kind == "mkdir":
        return not there and Path(path).parent.is_dir()
    return there


def _name(path: str, folder: str) -> str:
    """Return a path as it is in every run."""
    return re.sub(r"^(tmp/)(fwfeed-check-|(?=\w{8}$))\w{8}", r"\1\2...", path.removeprefix(f"{folder}/"))


def _child(folder: str, order: dict[str, Any], streams: tuple[int, int], record: int) -> int:
    from fwfeed.cli import main

    null = os.open(os.devnull, os.O_RDONLY)
    for number, stream in enumerate((null, *streams)):
        os.dup2(stream, number)
    harm = Harm(order["how"], order["at"], order["error"])
    _Inside(folder, harm, record).wrap(checks=order["checks"])
    return main(order["arguments"])


def _run(folder: str, order: dict[str, Any], started: list[int]) -> dict[str, Any]:
    stdout, stderr, record = (os.memfd_create(name) for name in ("stdout", "stderr", "record"))
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            code = _child(folder, order, (stdout, stderr), record)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        except BaseException:  # noqa: BLE001 - what comes here is a defect, and is to be seen
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    texts = [_text(each) for each in (stdout, stderr, record)]
    lines = [json.loads(line) for line in texts[2].splitlines()]
    started += [line for line in lines if isinstance(line, int)]
    steps = [line for line in lines if isinstance(line, list)]
    return {"code": code, "stdout": texts[0], "stderr": texts[1], "steps": steps}


def _text(descriptor: int) -> str:
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        return file.read().decode()


def _serve(folder: str) -> None:
    for name in ("apply", "cli", "query", "report.standing", "sessions", "signals", "surroundings"):
        importlib.import_module(f"fwfeed.{name}")
    for name in ("dbus", "jinja2", "netaddr"):
        importlib.import_module(name)
    started: list[int] = []
    try:
        for line in sys.stdin:
            print(json.dumps(_run(folder, json.loads(line), started)), flush=True)
    finally:
        for pid in started:  # each leads a group of its own, and waits for an hour
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    _serve(str(Path(sys.argv[1])))
