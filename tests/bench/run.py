"""Measure whole processes on the five real files (31 MB), and print each figure beside a reference of the same run.

    make bench

The references read the same files: awk and iprange for IPv4, grep, awk and aggregate6 for IPv6, which check nothing
and keep nothing; curl, for the network; and an interpreter that does nothing, for the quick commands. The server is a
local one, over TLS. Nothing is asserted: the aims stand in the table for a reader to compare.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import random
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

import trustme

from fwfeed.config import REGISTRY_URLS
from fwfeed.delegated import RECORD_CAP
from fwfeed.fetch import file_name

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests/data/rir-2018-10-13"
BIN = Path(sys.executable).parent
RUNS = 7

AWK4 = """awk -F'|' '$2=="JP" && $3=="ipv4" && ($7=="allocated" || $7=="assigned") {
 split($4,o,"."); first=o[1]*16777216+o[2]*65536+o[3]*256+o[4]; last=first+$5-1
 printf "%d.%d.%d.%d-%d.%d.%d.%d\\n", first/16777216, first/65536%256, first/256%256, first%256,
  last/16777216, last/65536%256, last/256%256, last%256 }' delegated-*-latest"""
AWK6 = "grep -hE '^[a-z]+[|]JP[|]ipv6[|].*[|](allocated|assigned)' delegated-*-latest | awk -F'|' '{print $4\"/\"$5}'"


@dataclass(frozen=True)
class Figure:
    """The median time of whole runs in seconds, and the largest resident set of one in MiB."""

    seconds: float
    mebibytes: float


# A child's largest resident set begins with that of the process which starts it, so a small one does.
_STARTER = """
import os, sys, time
started = time.perf_counter()
quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=quiet)
_, status, usage = os.wait4(child, 0)
print(time.perf_counter() - started, usage.ru_maxrss / 1024, file=sys.stderr)
sys.exit(bool(status))
"""


def measure(*command: str, before: Path | None = None, folder: Path | None = None, runs: int = RUNS) -> Figure:
    """Run a command several times; `before` is a folder that each run has to find missing."""
    figures = []
    for _ in range(runs):
        if before is not None:
            shutil.rmtree(before, ignore_errors=True)
        started = [sys.executable, "-I", "-S", "-c", _STARTER, *command]
        done = subprocess.run(started, cwd=folder, stderr=subprocess.PIPE, text=True, check=True)
        seconds, mebibytes = done.stderr.splitlines()[-1].split()
        figures.append(Figure(float(seconds), float(mebibytes)))
    return Figure(median(figure.seconds for figure in figures), max(figure.mebibytes for figure in figures))


class _Handler(SimpleHTTPRequestHandler):
    """Serves files, and 304 to who has them."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments: object) -> None:
        pass


class _Listener(ThreadingHTTPServer):
    """Shakes hands in the thread of each connection, so that one does not wait for another."""

    context: ssl.SSLContext

    def finish_request(self, request: object, client_address: object) -> None:
        assert isinstance(request, ssl.SSLSocket)
        request.do_handshake()
        super().finish_request(request, client_address)

    def get_request(self) -> tuple[ssl.SSLSocket, object]:
        connection, address = super().get_request()
        wrapped = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return wrapped, address


@contextmanager
def serving(folder: Path, bundle: Path) -> Iterator[str]:
    """Serve a folder over HTTPS on the loopback; the certificate's authority is written to `bundle`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(bundle))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with _Listener(("127.0.0.1", 0), partial(_Handler, directory=str(folder))) as listener:
        listener.context = context
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"https://127.0.0.1:{listener.server_port}"
        finally:
            listener.shutdown()
            thread.join()


def configure(file: Path, mirror: str, work: Path) -> None:
    """Write a configuration that takes all from one mirror, and works below a folder."""
    paths = "".join(f'{key} = "{work / key}"\n' for key in ("cache", "state", "run", "firewalld", "templates"))
    file.write_text(f'[sources]\nmirrors = ["{mirror}"]\nmax_age = "off"\n[paths]\n{paths}')


def publish_worst(folder: Path) -> None:
    """Publish the largest files that are accepted: every registry as many records as may be, in no order."""
    folder.mkdir()
    firsts = random.Random(3).sample(range(1 << 30), RECORD_CAP)
    for registry in REGISTRY_URLS:
        records = "".join(
            f"{registry}|US|ipv6|{1 + (n >> 16):x}:{n & 0xFFFF:x}::|32|20100101|allocated\n" for n in firsts
        )
        header = f"2|{registry}|1|{RECORD_CAP}|19830101|20181013|+0000\n{registry}|*|ipv6|*|{RECORD_CAP}|summary\n"
        raw = (header + records).encode()
        (folder / file_name(registry)).write_bytes(raw)
        (folder / f"{file_name(registry)}.md5").write_text(hashlib.md5(raw).hexdigest())


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="fwfeed-bench-") as name:
        folder = Path(name)
        for path in DATA.glob("*.xz"):
            (folder / path.stem).write_bytes(lzma.decompress(path.read_bytes()))
        for path in DATA.glob("*.md5"):
            shutil.copy(path, folder)
        work = folder / "work"
        config = folder / "fwfeed.toml"
        configure(config, folder.as_uri(), work)
        fwfeed = (str(BIN / "fwfeed"), "--quiet", "--config", str(config))
        python = measure(sys.executable, "-c", "pass")
        ipv4 = measure("sh", "-c", f"{AWK4} | iprange", folder=folder) if shutil.which("iprange") else None
        ipv6 = measure("sh", "-c", f"{AWK6} | {BIN}/aggregate6", folder=folder)

        print(f"medians of {RUNS} runs, whole processes; memory is the largest resident set\n")
        print(f"{'':<44}{'time':>9}{'memory':>10}   ratio to a reference of this run")
        line("reference: python -c pass", python)
        if ipv4 is not None:
            line("reference: awk | iprange (JP, IPv4)", ipv4)
        line("reference: grep | awk | aggregate6 (JP, IPv6)", ipv6)
        cold = measure(*fwfeed, "fetch", before=work)
        line("fetch, validate all, compile  (<= 1.5 s, 200 M)", cold, ipv4, "awk | iprange")
        line("fetch again, nothing new", measure(*fwfeed, "fetch"), cold, "the first fetch")
        line(
            "render --dry-run             (<= 0.25 s, 60 M)", measure(*fwfeed, "render", "--dry-run"), python, "python"
        )
        line(
            "lookup                             (<= 0.15 s)", measure(*fwfeed, "lookup", "133.1.2.3"), python, "python"
        )
        line("lookup --why", measure(*fwfeed, "lookup", "--why", "133.1.2.3"), python, "python")
        line("--help                              (<= 0.1 s)", measure(str(BIN / "fwfeed"), "--help"), python, "python")

        bundle = folder / "ca.pem"
        os.environ.update(REQUESTS_CA_BUNDLE=str(bundle), NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")
        with serving(folder, bundle) as url:
            configure(config, url, work)
            curl = None
            if shutil.which("curl"):
                urls = [f"{url}/{file_name(registry)}" for registry in REGISTRY_URLS]
                curl = measure("curl", "--silent", "--parallel", "--cacert", str(bundle), *urls)
                line("reference: curl, the five files over HTTPS", curl)
            remote = measure(*fwfeed, "fetch", before=work)
            line("fetch over HTTPS                 (<= 200 M)", remote, curl, "curl")
            quiet = measure(*fwfeed, "fetch")
            line("fetch over HTTPS, five 304s        (<= 0.5 s)", quiet, remote, "the first one")
        worst = folder / "worst"
        publish_worst(worst)
        configure(config, worst.as_uri(), work)
        line("fetch, 5 x 600,000 records         (<= 200 M)", measure(*fwfeed, "fetch", before=work, runs=1))


def line(name: str, figure: Figure, reference: Figure | None = None, reference_name: str = "") -> None:
    """Print one figure."""
    ratio = f"   {figure.seconds / reference.seconds:.2f} x {reference_name}" if reference else ""
    print(f"{name:<46}{figure.seconds:>6.3f} s{figure.mebibytes:>6.0f} MiB{ratio}")


if __name__ == "__main__":
    main()
