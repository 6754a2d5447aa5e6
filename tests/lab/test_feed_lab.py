"""The network half as it runs on real hosts: a fleet behind one mirror, without root, and holding before the kernel."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import pytest
import trustme

from tests.lab import world as lab_world
from tests.lab.matrix import on_one_version
from tests.lab.namespaces import batch, tagged
from tests.lab.world import FILE, FWFEED, World, wait_until
from tests.leaks import runs
from tests.skipping import leave_out, require

pytestmark = pytest.mark.lab

WHOLE = on_one_version("what is new here comes before an apply, and the applies are like those proved on all")

CHECKOUT = Path(__file__).parents[2]
REGISTRIES = ("afrinic", "apnic", "arin", "lacnic", "ripencc")
JAPAN = (
    "JP|ipv4|198.51.100.0|256|20110811|assigned",
    "JP|ipv4|192.0.2.0|110|20110811|assigned",
    "JP|ipv6|2001:db8:1::|48|20110811|assigned",
)
CUT = (JAPAN[0], JAPAN[2])  # 30 % of the IPv4 addresses less
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}

Done = subprocess.CompletedProcess[str]


def delegated(registry: str, records: Sequence[str], serial: int = 1) -> str:
    """Write a delegated file with true counts, of today."""
    kinds = [record.split("|")[1] for record in records]
    lines = [f"2|{registry}|{serial}|{len(records)}|19830101|{datetime.now(UTC):%Y%m%d}|+0000"]
    lines += [f"{registry}|*|{kind}|*|{kinds.count(kind)}|summary" for kind in dict.fromkeys(kinds)]
    return "".join(f"{line}\n" for line in (*lines, *(f"{registry}|{record}" for record in records)))


def publish(mirror: Path, registry: str, records: Sequence[str], serial: int = 1) -> str:
    """Put a file and its .md5 where a mirror has them, and return the file's URL."""
    mirror.mkdir(exist_ok=True)
    name = FILE.replace("apnic", registry)
    text = delegated(registry, records, serial)
    (mirror / name).write_text(text)
    (mirror / f"{name}.md5").write_text(f"{hashlib.md5(text.encode()).hexdigest()}  {name}\n")
    return (mirror / name).as_uri()


def files_below(*folders: Path) -> dict[str, tuple[bytes, int]]:
    """Return every file: its content and the time of its last change."""
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns)
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# A fleet: the cache of one host is the mirror of another

_SERVER = """
import functools, http.server, ssl, sys
address, folder, chain = sys.argv[1:]
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
server = http.server.ThreadingHTTPServer((address, 443), handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(chain)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


@dataclass(frozen=True)
class Host:
    """One of two hosts that reach nothing but each other."""

    namespace: str
    folder: Path
    environment: Mapping[str, str]

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def configure(self, mirror: str) -> None:
        self.folder.mkdir(exist_ok=True)
        paths = "".join(
            f'{name} = "{self.folder / name}"\n' for name in ("cache", "state", "run", "firewalld", "templates")
        )
        (self.folder / "fwfeed.toml").write_text(f'[sources]\nmirrors = ["{mirror}"]\n[paths]\n{paths}')

    def fwfeed(self, *arguments: str) -> Done:
        command = ["ip", "netns", "exec", self.namespace, FWFEED, "--config", f"{self.folder}/fwfeed.toml"]
        return subprocess.run(
            [*command, *arguments], env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )

    def listed(self) -> str:
        done = self.fwfeed("list")
        assert done.returncode == 0, done.stderr
        return done.stdout


@dataclass(frozen=True)
class Fleet:
    """Host A fetches from files and serves its cache; host B has nothing but that mirror."""

    a: Host
    b: Host
    files: Path
    log: Path

    def requests(self) -> list[tuple[str, str]]:
        """Return path and status of every request so far."""
        return re.findall(r'"GET (\S+) HTTP/[0-9.]+" ([0-9]{3})', self.log.read_text())


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    require(lab_world.missing())
    with tagged() as tag:
        yield from _fleet(tmp_path, [f"fwfeed-{tag}-{side}" for side in "ab"])


def _fleet(folder: Path, names: Sequence[str]) -> Iterator[Fleet]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority.issue_cert("192.0.2.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    trusting = {**ENVIRONMENT, "REQUESTS_CA_BUNDLE": str(folder / "ca.pem")}
    a, b = Host(names[0], folder / "a", ENVIRONMENT), Host(names[1], folder / "b", trusting)
    made = Fleet(a=a, b=b, files=folder / "files", log=folder / "server.log")
    for registry in REGISTRIES:
        publish(made.files, registry, JAPAN if registry == "apnic" else ("|ipv4|203.0.113.0|256||available",))
    a.configure(made.files.as_uri())
    b.configure("https://192.0.2.1/{registry}")
    a.cache.mkdir()
    batch(*(f"netns add {name}" for name in names))
    batch(f"link add eth0 type veth peer name eth0 netns {names[1]}", namespace=names[0])
    for number, name in enumerate(names, 1):
        address = f"address add 192.0.2.{number}/30 dev eth0"
        batch("link set lo up", address, "link set eth0 up", namespace=name)
    command = ["ip", "netns", "exec", names[0], sys.executable, "-c", _SERVER]
    with made.log.open("wb") as log:
        server = subprocess.Popen(
            [*command, "192.0.2.1", str(a.cache), str(folder / "server.pem")], env=ENVIRONMENT, stderr=log
        )

    def listening() -> bool:
        show = ["ip", "netns", "exec", names[0], "ss", "-Hltn", "sport = :443"]
        return b":443" in subprocess.run(show, check=True, capture_output=True).stdout

    try:
        wait_until(listening, "the mirror to listen")
        yield made
    finally:
        server.terminate()
        server.wait(timeout=20)


def test_a_host_with_nothing_but_a_mirror_gets_what_the_other_has_and_judges_it_itself(fleet: Fleet) -> None:
    a, b = fleet.a, fleet.b
    routes = subprocess.run(["ip", "-n", b.namespace, "route"], capture_output=True, text=True, check=True).stdout
    assert routes.split()[0] == "192.0.2.0/30", "there is no way but to the other host"
    assert len(routes.splitlines()) == 1

    done = a.fwfeed("fetch")
    assert (done.returncode, done.stderr) == (0, "")
    # HTTP tells times in seconds, so a file that changes within the one it came in would seem to be the same
    for path in a.cache.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))

    done = b.fwfeed("fetch")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert b.listed() == a.listed()
    assert "\n198.51.100.0/24\n" in b.listed()
    accepted = [Path(registry, FILE.replace("apnic", registry)) for registry in REGISTRIES]
    for path in accepted:
        assert (b.cache / path).read_bytes() == (a.cache / path).read_bytes()
        assert (b.cache / f"{path}.md5").read_bytes() == (a.cache / f"{path}.md5").read_bytes()
    whole = [f"/{path}" for path in accepted]
    assert sorted(fleet.requests()) == sorted((path + suffix, "200") for path in whole for suffix in ("", ".md5"))

    before, asked = files_below(b.folder), len(fleet.requests())
    done = b.fwfeed("fetch")
    assert (done.returncode, done.stderr) == (0, "nothing changed\n")
    assert sorted(fleet.requests()[asked:]) == sorted((path, "304") for path in whole)
    assert files_below(b.folder) == before

    # what A holds does not reach B
    publish(fleet.files, "apnic", CUT, serial=2)
    assert a.fwfeed("fetch").returncode == 3
    assert (a.cache / ".held/apnic" / FILE).exists()
    done = b.fwfeed("fetch")
    assert (done.returncode, done.stderr) == (0, "nothing changed\n")
    # and what A lets through, B looks at with its own eyes
    assert a.fwfeed("approve").returncode == 0
    done = b.fwfeed("fetch")
    assert done.returncode == 3
    assert "held by gate max_shrink: IPv4: what apnic delegates to JP would shrink by 30.1%" in done.stderr
    assert b.fwfeed("approve").returncode == 0
    assert b.listed() == a.listed()
    assert (b.cache / "apnic" / FILE).read_bytes() == (fleet.files / FILE).read_bytes()


# Without root

USER, GROUPS = 64242, (64242, 64243)
STRANGER = 64299
_AS_FWFEED = """
set -e
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/group" /etc/group
# a checkout in a place that is closed to other users, as root's home is, is shown in an open one
if [ -n "$2" ]; then
    mkdir -p "$1/held"
    mount --bind "$3" "$1/held"
    mount -t tmpfs -o mode=755 none "$2"
    mkdir -p "$3"
    touch "$3/setup.cfg"  # by which a checkout is known
    for each in fwfeed templates build .venv; do
        mkdir -p "$3/$each"
        mount --bind "$1/held/$each" "$3/$each"
    done
fi
shift 3
exec "$@"
"""


def closed() -> Path | None:
    """Return the first folder on the way to the checkout that other users cannot pass."""
    return next((each for each in (*reversed(CHECKOUT.parents), CHECKOUT) if not each.stat().st_mode & 0o001), None)


@dataclass(frozen=True)
class Divided:
    """A host that has a user fwfeed, as far as what is started here can see."""

    folder: Path  # that anybody can reach, other than pytest's

    @property
    def cache(self) -> Path:
        return self.folder / "var/cache/fwfeed"

    @property
    def state(self) -> Path:
        return self.folder / "var/lib/fwfeed"

    @property
    def firewalld(self) -> Path:
        return self.folder / "etc/firewalld"

    def configure(self, url: str, sources: str = "") -> None:
        places = {"cache": self.cache, "state": self.state, "firewalld": self.firewalld, "run": self.folder / "run"}
        paths = "".join(f'{name} = "{path}"\n' for name, path in places.items())
        (self.folder / "fwfeed.toml").write_text(
            f'[set]\ninclude = []\n[sources]\nregistries = ["apnic"]\nretries = 0\n{sources}\n'
            f'[sources.apnic]\nurl = "{url}"\n[paths]\n{paths}'
        )

    def command(self, *command: str, user: bool = True) -> list[str]:
        if not user:
            return list(command)
        for name, line in (
            ("passwd", f"fwfeed:x:{USER}:{GROUPS[0]}::/nonexistent:/usr/sbin/nologin\n"),
            ("group", f"fwfeed:x:{GROUPS[0]}:\nfeedlists:x:{GROUPS[1]}:fwfeed\n"),
        ):
            (self.folder / name).write_text(Path("/etc", name).read_text() + line)
        # a mount namespace of its own: the machine's users stay what they are
        binding = ["unshare", "--mount", "sh", "-c", _AS_FWFEED, "sh"]
        return [*binding, str(self.folder), str(closed() or ""), str(CHECKOUT), *command]

    def fwfeed(self, *arguments: str, user: bool = True, umask: int = 0o022) -> Done:
        return subprocess.run(
            self.command(FWFEED, "--config", f"{self.folder}/fwfeed.toml", *arguments, user=user),
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            umask=umask,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = self.command(FWFEED, "--config", f"{self.folder}/fwfeed.toml", *arguments)
        return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def owners(self, *folders: Path) -> set[tuple[int, int]]:
        """Return who owns these folders, and all that is in them."""
        paths = [path for folder in folders for path in (folder, *folder.rglob("*"))]
        assert paths
        return {(path.lstat().st_uid, path.lstat().st_gid) for path in paths}


FWFEEDS, ROOTS = {(USER, GROUPS[0])}, {(0, 0)}


@pytest.fixture
def open_folder() -> Iterator[Path]:
    require(lab_world.missing())
    if closed() and Path(sys.prefix) != CHECKOUT / ".venv":
        leave_out(f"{sys.prefix} is not open to other users, and the network half runs as one")
    folder = Path(tempfile.mkdtemp(prefix="fwfeed-lab-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def divided(open_folder: Path) -> Divided:
    made = Divided(open_folder)
    made.firewalld.mkdir(parents=True)
    made.configure(publish(open_folder / "mirror", "apnic", JAPAN))
    return made


class Slow:
    """A server that holds each answer back until it is told to give it."""

    def __init__(self, mirror: Path) -> None:
        self.asked, self.go = threading.Event(), threading.Event()
        slow = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                slow.asked.set()
                slow.go.wait(30)
                raw = (mirror / self.path.strip("/")).read_bytes()
                with suppress(ConnectionError):  # whoever asked may have been killed
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(raw)))
                    self.end_headers()
                    self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/{FILE}"


@pytest.fixture
def slow(divided: Divided) -> Iterator[Slow]:
    with Slow(divided.folder / "mirror") as server:
        divided.configure(server.url)
        yield server


def child_of(process: subprocess.Popen[str]) -> int:
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(child)


def credentials(pid: int) -> dict[str, list[int]]:
    """Return the ids of a process, as the kernel has them, and its capabilities."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    found = {name: [int(each) for each in lines[name].split()] for name in ("Uid", "Gid", "Groups")}
    return found | {name: [int(lines[name], 16)] for name in ("CapEff", "CapPrm")}


def test_whoever_reaches_the_network_is_not_root(divided: Divided, slow: Slow) -> None:
    process = divided.start("fetch")
    try:
        assert slow.asked.wait(20), "the server was never asked"
        found = credentials(child_of(process))
        assert credentials(process.pid)["Uid"] == [0] * 4
    finally:
        slow.go.set()
        _, err = process.communicate(timeout=30)
    assert found == {
        "Uid": [USER] * 4,
        "Gid": [GROUPS[0]] * 4,
        "Groups": list(GROUPS),
        "CapEff": [0],
        "CapPrm": [0],
    }
    assert process.returncode == 0, err
    assert divided.owners(divided.cache, divided.state / "candidate") == FWFEEDS
    assert divided.owners(divided.firewalld) | {(divided.state.stat().st_uid, divided.state.stat().st_gid)} == ROOTS


_ATTEMPTS = """
import os, pathlib, sys
from fwfeed.privileges import without_root
folders, victims = [[pathlib.Path(each) for each in texts.split(":")] for texts in sys.argv[1:3]]

def attempts():
    for victim in victims:
        for way in (lambda: (victim / "x").write_text("x"), lambda: victim.rename(f"{victim}-away"), victim.rmdir):
            try:
                way()
            except PermissionError:
                print("denied")
            else:
                print("DONE", victim)
    for way in (os.setuid, os.seteuid, os.setgid):
        try:
            way(0)
        except PermissionError:
            print("denied")
        else:
            print("DONE", way)
    (folders[0] / "mine").write_text("x")
    return 17

sys.exit(without_root(attempts, dict.fromkeys(folders, "")))
"""


def test_the_child_can_write_its_own_folders_and_nothing_that_is_roots(divided: Divided) -> None:
    generations = divided.state / "generations"
    generations.mkdir(parents=True)
    folders = [divided.cache, divided.state / "candidate"]
    victims = [divided.firewalld, generations, divided.state]
    done = subprocess.run(
        divided.command(sys.executable, "-c", _ATTEMPTS, ":".join(map(str, folders)), ":".join(map(str, victims))),
        env={**ENVIRONMENT, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == "denied\n" * 12
    assert done.returncode == 17, "what the child returns comes through"
    assert (divided.cache / "mine").stat().st_uid == USER
    assert divided.owners(*victims[:2]) == ROOTS


def test_fetch_and_approve_end_as_they_would_without_it_and_leave_his_files(divided: Divided) -> None:
    mine = (divided.cache, divided.state / "candidate")
    done = divided.fwfeed("fetch")
    assert done.returncode == 0, done.stderr
    assert "set JP (IPv4):" in done.stdout
    assert divided.fwfeed("fetch").stderr == "nothing changed\n"
    publish(divided.folder / "mirror", "apnic", CUT, serial=2)
    done = divided.fwfeed("fetch")
    assert done.returncode == 3
    assert "fwfeed: held by gate max_shrink: " in done.stderr
    assert divided.owners(*mine) == FWFEEDS
    done = divided.fwfeed("approve")
    assert done.returncode == 0, done.stderr
    assert divided.owners(*mine) == FWFEEDS
    assert divided.owners(divided.state / "approved.json") == ROOTS, "what root let through, only root can say"
    assert divided.fwfeed("list").stdout == "198.51.100.0/24\n2001:db8:1::/48\n"
    (divided.folder / "mirror" / FILE).unlink()
    done = divided.fwfeed("fetch")
    assert done.returncode == 3
    assert "serves on" in done.stderr


def test_folders_that_root_has_filled_are_given_over_but_no_file_that_a_link_names(divided: Divided) -> None:
    assert divided.fwfeed("fetch", user=False).returncode == 0
    mine = (divided.cache, divided.state / "candidate")
    assert divided.owners(*mine) == ROOTS, "without the user, root does it all"
    secret = divided.folder / "secret"
    secret.mkdir()
    (secret / "file").write_text("")
    (divided.cache / "apnic/.one.fwfeed-new").symlink_to(secret)
    (divided.cache / "apnic/.two.fwfeed-new").symlink_to(secret / "file")
    before = files_below(*mine)
    done = divided.fwfeed("fetch")
    assert (done.returncode, done.stderr) == (0, "nothing changed\n")
    assert divided.owners(divided.cache) == divided.owners(divided.state / "candidate") == FWFEEDS
    assert divided.owners(secret, divided.state.parent, divided.firewalld) >= ROOTS
    assert divided.owners(secret) == ROOTS
    assert files_below(*mine) == before


@pytest.mark.parametrize(
    "path", ["index.html", "www/index.html", "www/html/x", ".ssh/config", "apnic/Notes", "notes", "www/secret"]
)
def test_a_folder_of_roots_that_holds_what_is_not_ours_is_not_given_away(path: str, divided: Divided) -> None:
    file = divided.cache / path
    file.parent.mkdir(parents=True)
    file.write_text("")
    done = divided.fwfeed("fetch")
    assert done.returncode == 1
    assert "is not of fwfeed, and" in done.stderr
    assert divided.owners(divided.cache) == ROOTS


def test_a_cache_that_is_a_link_to_another_place_is_given_over_there(divided: Divided) -> None:
    divided.cache.parent.mkdir(parents=True)
    place = divided.folder / "data"
    place.mkdir()
    divided.cache.symlink_to(place)
    done = divided.fwfeed("fetch")
    assert done.returncode == 0, done.stderr
    assert divided.owners(place) == FWFEEDS


@pytest.mark.parametrize("which", ["cache", "candidate"])
@pytest.mark.parametrize("fault", ["stranger", "everybody", "file"])
def test_a_folder_that_cannot_be_trusted_is_refused_with_the_way_out(which: str, fault: str, divided: Divided) -> None:
    folder = divided.cache if which == "cache" else divided.state / "candidate"
    folder.parent.mkdir(parents=True)
    if fault == "file":
        folder.write_text("")
    else:
        folder.mkdir()
        (folder / "file").write_text("")
    if fault == "stranger":
        os.chown(folder, STRANGER, STRANGER)
    elif fault == "everybody":
        folder.chmod(0o777)
    owners = divided.owners(folder)
    done = divided.fwfeed("fetch")
    assert (done.returncode, done.stdout) == (1, "")
    said = {
        "stranger": f"{folder} belongs to user {STRANGER}, and fwfeed has to write there\n"
        f"fwfeed: way out: chown -R fwfeed: {folder}",
        "everybody": f"{folder} can be written by others, and fwfeed has to write there\n"
        f"fwfeed: way out: chown -R fwfeed: {folder}",
        "file": f"cannot give {folder} to user fwfeed: Not a directory",
    }
    assert done.stderr == f"fwfeed: {said[fault]}\n"
    assert divided.owners(folder) == owners
    assert not (divided.cache / "apnic").exists()
    if fault != "file":
        os.chown(folder, USER, GROUPS[0])
        assert divided.fwfeed("fetch").returncode == 0, "the way out is one"


WHO = "the half with the network runs as user fwfeed, who may not enter"


@pytest.mark.parametrize("which", ["cache", "state"])
def test_a_folder_below_one_that_the_user_may_not_enter_is_told_with_its_reason(which: str, divided: Divided) -> None:
    home = divided.folder / "home-of-root"
    home.mkdir(mode=0o700)
    place = home / "deep" / which
    text = (divided.folder / "fwfeed.toml").read_text()
    old = divided.cache if which == "cache" else divided.state
    (divided.folder / "fwfeed.toml").write_text(text.replace(f'{which} = "{old}"', f'{which} = "{place}"'))
    before = sorted(divided.folder.rglob("*"))
    done = divided.fwfeed("fetch")
    assert (done.returncode, done.stdout) == (1, "")
    told = place if which == "cache" else place / "candidate"
    assert done.stderr == (
        f"fwfeed: {told}: {WHO} {home}\nfwfeed: way out: in [paths], name a folder that is not below {home}\n"
    )
    made = {divided.folder / name for name in ("passwd", "group", "held")}
    assert set(divided.folder.rglob("*")) - set(before) <= made, "nothing was made, nor given away"
    home.chmod(0o711)
    assert divided.fwfeed("fetch").returncode == 0


def test_a_list_below_such_a_folder_is_told_with_its_reason_too(divided: Divided) -> None:
    home = divided.folder / "home-of-root"
    home.mkdir(mode=0o700)
    url = publish(home, "apnic", JAPAN)
    divided.configure(url)
    done = divided.fwfeed("fetch")
    assert (done.returncode, done.stdout) == (3, "")
    assert f"fwfeed: apnic: {url}: Permission denied\n" in done.stderr
    assert done.stderr.endswith(f"fwfeed: way out: {WHO} {home}: name a place outside {home}\n")
    assert not [path for path in divided.cache.rglob("*") if path.is_file()]


def test_a_service_that_is_the_user_from_the_start_says_so_too(divided: Divided) -> None:
    """As fwfeed-refresh.service is, when [paths] are where a unit shows nothing of (ProtectHome=)."""
    home = divided.folder / "home-of-root"
    home.mkdir(mode=0o700)
    text = (divided.folder / "fwfeed.toml").read_text()
    (divided.folder / "fwfeed.toml").write_text(text.replace(f'"{divided.state}"', f'"{home}/state"'))
    as_user = ["setpriv", "--reuid", str(USER), "--regid", str(GROUPS[0]), "--clear-groups"]
    done = subprocess.run(
        divided.command(*as_user, FWFEED, "--config", f"{divided.folder}/fwfeed.toml", "fetch"),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"fwfeed: cannot make the folder {home}/state/candidate: permission denied\n"
        f"fwfeed: way out: {WHO} {home}: name a place outside {home}\n"
    )


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (0o700, f"fwfeed is installed in {{code}}/fwfeed: {WHO} {{code}}"),
        (0o755, "user fwfeed, as whom the half with the network runs, may not read {code}/fwfeed/privileges.py"),
    ],
)
def test_a_checkout_that_the_user_may_not_read_is_told_with_its_reason(mode: int, said: str, divided: Divided) -> None:
    code = divided.folder / "checkout"
    shutil.copytree(CHECKOUT / "fwfeed", code / "fwfeed", ignore=shutil.ignore_patterns("__pycache__"))
    if mode == 0o755:  # as with umask 077
        for path in code.rglob("*.py"):
            path.chmod(0o600)
    code.chmod(mode)
    command = [sys.executable, "-P", "-m", "fwfeed", "--config", f"{divided.folder}/fwfeed.toml", "fetch"]
    done = subprocess.run(
        divided.command(*command),
        env={**ENVIRONMENT, "PYTHONPATH": str(code)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"fwfeed: {said.format(code=code)}\n"
        "fwfeed: way out: install it where everybody may read it, as in /opt/fwfeed, with umask 022\n"
    )
    assert not divided.cache.exists()


def test_a_root_whose_files_are_for_root_alone_still_makes_folders_that_the_user_can_reach(divided: Divided) -> None:
    done = divided.fwfeed("fetch", umask=0o077)
    assert done.returncode == 0, done.stderr
    folders = [divided.cache, divided.cache / "apnic", divided.state, divided.state / "candidate"]
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o755}
    assert (divided.cache / "apnic" / FILE).stat().st_mode & 0o777 == 0o644, "a web server may serve it"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_child_that_is_killed_is_told(number: signal.Signals, divided: Divided, slow: Slow) -> None:
    process = divided.start("fetch")
    try:
        assert slow.asked.wait(20)
        os.kill(child_of(process), number)
        out, err = process.communicate(timeout=30)
    finally:
        slow.go.set()
    assert (process.returncode, out) == (1, "")
    assert err == f"fwfeed: the part of this that runs as user fwfeed was killed by signal {number.value}\n"
    divided.configure((divided.folder / "mirror" / FILE).as_uri())
    assert divided.fwfeed("fetch").returncode == 0, "and nothing is in the way of the next"


def test_a_signal_to_the_parent_ends_the_child_too_and_leaves_nothing_half(divided: Divided, slow: Slow) -> None:
    process = divided.start("fetch")
    try:
        assert slow.asked.wait(20)
        child = child_of(process)
        process.terminate()
        out, err = process.communicate(timeout=30)
    finally:
        slow.go.set()
    assert (process.returncode, out) == (1, "")
    assert set(err.splitlines()) == {"fwfeed: interrupted by SIGTERM"}
    assert not runs(child)
    assert not [path for path in divided.cache.rglob("*") if path.is_file()]


_RUN = """
import pathlib, sys
from fwfeed import privileges
sys.exit(privileges.without_root(lambda: 1 // 0, {}))
"""


def test_what_goes_wrong_outside_of_what_the_child_says_itself_is_not_silent(divided: Divided) -> None:
    def run(*before: str) -> Done:
        return subprocess.run(
            [*before, *divided.command(sys.executable, "-c", _RUN)],
            env={**ENVIRONMENT, "PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    done = run()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("\nZeroDivisionError: integer division or modulo by zero\n")
    # a user namespace without his id, as in a container without root: nobody can become him there
    done = run("unshare", "--user", "--map-root-user")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "fwfeed: cannot become user fwfeed: Operation not permitted\n"


# With firewalld


@WHOLE
def test_an_update_runs_its_network_half_as_the_user_and_its_other_as_root(lab: World, divided: Divided) -> None:
    mirror = divided.folder / "mirror"
    lab.configure(
        sources=f'registries = ["apnic"]\nmirrors = ["{mirror.as_uri()}"]',
        paths=f'cache = "{divided.cache}"\nstate = "{divided.state}"\nrun = "{divided.folder}/run"\n'
        f'firewalld = "{lab.etc}"\ntemplates = "{lab.folder}/templates"',
    )

    def update() -> Done:
        return lab.run("host", *divided.command(FWFEED, f"--config={lab.folder}/fwfeed.toml", "update"))

    done = update()
    assert done.returncode == 0, done.stderr
    assert "applied generation 1" in done.stdout
    assert divided.owners(divided.cache, divided.state / "candidate") == FWFEEDS
    assert divided.owners(divided.state / "generations", lab.etc / "ipsets", lab.etc / "policies") == ROOTS
    publish(mirror, "apnic", CUT, serial=2)
    before = lab.run("host", "nft", "--handle", "list", "ruleset").stdout
    done = update()
    assert done.returncode == 3, done
    assert "held by gate max_shrink" in done.stderr
    assert done.stdout == "nothing to do: the kernel holds what it should\n", "and the live set is looked after"
    assert lab.run("host", "nft", "--handle", "list", "ruleset").stdout == before
    # where a feed is refused altogether, what was accepted before is looked after
    (mirror / FILE).unlink()
    shutil.rmtree(divided.cache)
    done = update()
    assert (done.returncode, done.stdout) == (3, "nothing to do: the kernel holds what it should\n")
    assert "there is no such file" in done.stderr


@WHOLE
def test_a_cut_of_30_percent_reaches_the_kernel_only_when_it_is_approved(lab: World) -> None:
    publish(lab.folder / "mirror", "apnic", JAPAN)
    assert lab.fwfeed("update").returncode == 0
    ipv4 = {"192.0.2.0/26", "192.0.2.64/27", "192.0.2.96/29", "192.0.2.104/30", "192.0.2.108/31", "198.51.100.0/24"}
    assert lab.kernel_set("JP") == ipv4
    publish(lab.folder / "mirror", "apnic", CUT, serial=2)
    before = lab.run("host", "nft", "--handle", "list", "ruleset").stdout
    files = files_below(lab.etc, lab.folder / "state/generations")

    done = lab.fwfeed("update")
    assert done.returncode == 3, done
    assert "IPv4: what apnic delegates to JP would shrink by 30.1%, from 366 to 256 addresses" in done.stderr
    assert lab.run("host", "nft", "--handle", "list", "ruleset").stdout == before
    assert files_below(lab.etc, lab.folder / "state/generations") == files
    assert lab.kernel_set("JP") == ipv4
    status = json.loads(lab.fwfeed("status", "--json").stdout)
    assert (status["installed"]["proved"], status["pending"]) == (True, False)
    assert status["held"]["verdicts"][0]["gate"] == "max_shrink"
    assert "- 192.0.2.64/27\n" in lab.fwfeed("diff").stdout
    assert json.loads(lab.fwfeed("lookup", "--json", "192.0.2.1").stdout)[0]["kernel"] == "holds"

    done = lab.fwfeed("approve")
    assert done.returncode == 0, done.stderr
    assert lab.run("host", "nft", "--handle", "list", "ruleset").stdout == before, "an approval is no apply"
    assert json.loads(lab.fwfeed("status", "--json").stdout)["pending"] is True
    done = lab.fwfeed("apply")
    assert done.returncode == 0, done.stderr
    assert lab.kernel_set("JP") == {"198.51.100.0/24"}
    assert lab.kernel_set("JP6") == {"2001:db8:1::/48"}
    done = lab.fwfeed("update")
    assert (done.returncode, done.stdout) == (0, "nothing to do: the kernel holds what it should\n")
