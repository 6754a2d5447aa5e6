"""Chromium without a screen, asked through a pipe (the DevTools protocol): nothing but the browser itself is needed."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "chromium-headless-shell", "google-chrome")

_SECONDS = 60.0
# Chromium reads orders from descriptor 3 and answers on 4.
_STARTER = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execvp(sys.argv[3], sys.argv[3:])"
)


def find() -> str | None:
    """Return where Chromium is."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Tab:
    """One page in the browser, and all it said and asked for."""

    def __init__(self, orders: int, answers: int) -> None:
        self._orders = orders
        self._answers = answers
        self._buffer = b""
        self._number = 0
        self._session = ""
        self.said: list[str] = []
        self.requests: list[str] = []
        self._loaded = 0
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def open(self, page: Path) -> None:
        """Open a page, and wait until it has loaded."""
        before = self._loaded
        self.said.clear()
        self.requests.clear()
        self._call("Page.navigate", url=page.as_uri())
        deadline = time.monotonic() + _SECONDS
        while self._loaded == before:
            self._hear(self._receive(deadline))

    def run(self, script: str) -> Any:
        """Return what an expression gives."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key, as somebody with no mouse does."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        code = {"Enter": 13, "Tab": 9, " ": 32}[key]
        for kind in ("keyDown", "keyUp"):
            self._call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                text=text if kind == "keyDown" else "",
                windowsVirtualKeyCode=code,
            )

    def size(self, width: int, height: int, *, mobile: bool = False) -> None:
        """Have a screen of this size."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def prefer(self, *, media: str = "", scheme: str = "light") -> None:
        """Prefer light or dark, or be paper."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._call("Emulation.setEmulatedMedia", media=media, features=features)

    def picture(self, file: Path, *, whole: bool = False) -> None:
        """Take a picture of what is to be seen, or of the whole page."""
        answer = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(answer["data"]))

    def paper(self) -> bytes:
        """Print it, as PDF."""
        answer = self._call("Page.printToPDF", printBackground=False, preferCSSPageSize=True)
        return base64.b64decode(answer["data"])

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        order = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            order["sessionId"] = self._session
        os.write(self._orders, json.dumps(order).encode() + b"\0")
        deadline = time.monotonic() + _SECONDS
        while True:
            message = self._receive(deadline)
            if message.get("id") == self._number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self._hear(message)

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))
            read = os.read(self._answers, 1 << 20) if ready else b""
            assert read, "chromium does not answer"
            self._buffer += read
        raw, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(raw)
        return message

    def _hear(self, message: dict[str, Any]) -> None:
        match message.get("method"):
            case "Page.loadEventFired":
                self._loaded += 1
            case "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            case "Log.entryAdded":
                entry = message["params"]["entry"]
                self.said.append(f"{entry['level']}: {entry['text']}")
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown":
                self.said.append(json.dumps(message["params"]))


@contextmanager
def browsing(program: str, folder: Path) -> Iterator[Tab]:
    """Start a browser with a profile of its own, and end it."""
    pipes = [os.pipe(), os.pipe()]
    # out of the way of 3 and 4
    theirs_in, theirs_out = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for end in (pipes[0][0], pipes[1][1]))
    for end in (pipes[0][0], pipes[1][1]):
        os.close(end)
    switches = ["--headless", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe", "--no-first-run"]
    if os.geteuid() == 0:
        switches.append("--no-sandbox")
    command = [sys.executable, "-I", "-S", "-c", _STARTER, str(theirs_in), str(theirs_out)]
    with (folder / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, program, *switches, f"--user-data-dir={folder / 'profile'}", "about:blank"],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            yield Tab(pipes[0][1], pipes[1][0])
        finally:
            os.close(pipes[0][1])  # it ends when nobody gives orders any more
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(pipes[1][0])
