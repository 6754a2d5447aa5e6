"""The operator's own SSH session, found in the environments of this process and of those that started it."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from fwfeed.errors import FwfeedError
from fwfeed.process import Completed
from fwfeed.sessions import Session, established, ssh_session
from tests.unit.builders import CHECKOUT

ME = os.getpid()
SUDO, SHELL, SSHD = 2**22 + 1, 2**22 + 2, 2**22 + 3  # above any number the kernel gives
SSH = b"SSH_CONNECTION=198.51.100.7 50022 192.0.2.1 22"
FOUND = Session("198.51.100.7", 22)


def process(proc: Path, pid: int, parent: int, *variables: bytes, name: bytes = b"bash") -> None:
    """Put a process into a folder like /proc."""
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "environ").write_bytes(b"".join(variable + b"\0" for variable in variables))
    (folder / "stat").write_bytes(b"%d (%b) S %d %d 1 0 -1 4194560 0\n" % (pid, name, parent, pid))


def told(proc: Path, value: bytes) -> Session | None:
    """Return the session of a process with this value of SSH_CONNECTION."""
    process(proc, ME, 0, b"SSH_CONNECTION=" + value)
    return ssh_session(proc)


def test_the_session_is_in_this_processs_own_environment(tmp_path: Path) -> None:
    process(tmp_path, ME, 1, b"HOME=/root", SSH, b"TERM=xterm")
    process(tmp_path, 1, 0)
    assert ssh_session(tmp_path) == FOUND


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_the_session_is_in_an_ancestors_environment(tmp_path: Path, nth: int) -> None:
    line = [ME, SUDO, SHELL, SSHD, 1, 0]
    for number, (pid, parent) in enumerate(pairwise(line)):
        process(tmp_path, pid, parent, *([SSH] if number == nth else [b"SUDO_USER=operator"]))
    assert ssh_session(tmp_path) == FOUND


def test_the_nearest_session_counts(tmp_path: Path) -> None:
    process(tmp_path, ME, SHELL, b"TERM=xterm")
    process(tmp_path, SHELL, SSHD, SSH)
    process(tmp_path, SSHD, 0, b"SSH_CONNECTION=203.0.113.9 50022 192.0.2.1 2222")
    assert ssh_session(tmp_path) == FOUND


def test_the_environments_of_other_processes_do_not_count(tmp_path: Path) -> None:
    process(tmp_path, ME, 1, b"TERM=xterm")
    process(tmp_path, 1, 0)
    process(tmp_path, SHELL, ME, SSH)
    assert ssh_session(tmp_path) is None


def test_without_a_session_there_is_none(tmp_path: Path) -> None:
    process(tmp_path, ME, SHELL, b"SSH_CLIENT=198.51.100.7 50022 22", b"XSSH_CONNECTION=198.51.100.7 1 192.0.2.1 22")
    process(tmp_path, SHELL, 1)
    process(tmp_path, 1, 0, b"A=" + SSH)
    assert ssh_session(tmp_path) is None


@pytest.mark.parametrize(
    ("value", "session"),
    [
        (b"198.51.100.7 50022 192.0.2.1 2222", Session("198.51.100.7", 2222)),
        (b"2001:db8:1::7 50022 2001:db8::1 22", Session("2001:db8:1::7", 22)),
        (b"fe80::7%eth0 50022 fe80::1%eth0 22", Session("fe80::7", 22, "eth0")),
        (b"::ffff:198.51.100.7 50022 ::ffff:192.0.2.1 22", Session("198.51.100.7", 22)),
        (b"UNKNOWN 65535 UNKNOWN 65535", Session("UNKNOWN", 65535)),
        (b"UNKNOWN", Session("UNKNOWN", 0)),
        (b"198.51.100.7", Session("198.51.100.7", 0)),
        (b"198.51.100.7 50022 22", Session("198.51.100.7", 0)),
        (b"198.51.100.7 50022 192.0.2.1 22 more", Session("198.51.100.7", 0)),
        (b"198.51.100.7 50022 192.0.2.1 ssh", Session("198.51.100.7", 0)),
        (b"198.51.100.7 50022 192.0.2.1 -22", Session("198.51.100.7", 0)),
        (b"198.51.100.7 50022 192.0.2.1 " + b"9" * 5000, Session("198.51.100.7", 0)),
        (b"\xff 50022 192.0.2.1 22", Session("\ufffd", 22)),
        (b"", None),
        (b"   ", None),
    ],
)
def test_what_sshd_says_is_taken_as_far_as_it_says_it(tmp_path: Path, value: bytes, session: Session | None) -> None:
    assert told(tmp_path, value) == session


def test_a_blank_value_hides_no_ancestors(tmp_path: Path) -> None:
    process(tmp_path, ME, SHELL, b"SSH_CONNECTION=")
    process(tmp_path, SHELL, 0, SSH)
    assert ssh_session(tmp_path) == FOUND


@pytest.mark.parametrize("unreadable", ["missing", "a folder"])
def test_an_environment_that_cannot_be_read_is_passed_over(tmp_path: Path, unreadable: str) -> None:
    process(tmp_path, ME, SUDO, b"TERM=xterm")
    process(tmp_path, SUDO, SHELL, SSH)
    process(tmp_path, SHELL, 0, b"SSH_CONNECTION=198.51.100.8 50022 192.0.2.1 22")
    (tmp_path / str(SUDO) / "environ").unlink()
    if unreadable == "a folder":
        (tmp_path / str(SUDO) / "environ").mkdir()
    assert ssh_session(tmp_path) == Session("198.51.100.8", 22)


def test_a_denied_environment_is_passed_over() -> None:
    """Who is not root may read neither the first process's environment nor, after sudo, his ancestors'."""
    code = """
import os
from fwfeed.sessions import ssh_session
if os.geteuid() == 0:
    os.setuid(65534)
os.environ.clear()
print(ssh_session())
"""
    variables = {key: value for key, value in os.environ.items() if key != "SSH_CONNECTION"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, env=variables, capture_output=True, check=True, timeout=60
    )
    assert done.stderr == b""


def test_a_parent_that_has_gone_ends_the_search(tmp_path: Path) -> None:
    process(tmp_path, ME, SUDO, b"TERM=xterm")
    assert ssh_session(tmp_path) is None
    assert ssh_session(tmp_path / "nothing") is None


@pytest.mark.parametrize("name", [b"tmux: server", b"a) S 1 (b", b")", b"((", b"(sd-pam)", b") 7 7", b"a\nb", b""])
def test_a_name_with_brackets_and_blanks_hides_no_ancestors(tmp_path: Path, name: bytes) -> None:
    process(tmp_path, ME, SHELL, name=name)
    process(tmp_path, SHELL, 0, SSH)
    assert ssh_session(tmp_path) == FOUND


@pytest.mark.parametrize("name", ["x日本語日本語".encode()[:15], b"\xff\xfe"], ids=["cut by the kernel", "not UTF-8"])
def test_a_name_that_is_no_utf8_hides_no_ancestors(tmp_path: Path, name: bytes) -> None:
    """The kernel keeps 15 bytes of a name, and cuts it in the middle of a character."""
    process(tmp_path, ME, SHELL, name=name)
    process(tmp_path, SHELL, 0, SSH)
    assert ssh_session(tmp_path) == FOUND


def test_the_session_is_found_in_the_real_proc_after_what_sudo_does_to_the_environment() -> None:
    ask = "import os; from fwfeed.sessions import ssh_session; print(os.environ.get('SSH_CONNECTION'), ssh_session())"
    started = f"import subprocess; subprocess.run([{sys.executable!r}, '-c', {ask!r}], env={{}}, check=True)"
    done = subprocess.run(
        [sys.executable, "-c", started],
        cwd=CHECKOUT,
        env={**os.environ, "SSH_CONNECTION": "2001:db8:1::7 50022 2001:db8::1 22"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "None Session(peer='2001:db8:1::7', port=22, interface='')\n"


SERVER, CHILD, MONITOR, KNOCKER, TUNNEL = 7001, 7002, 7003, 7004, 7005
LISTENING = f'LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid={SERVER},fd=3))'
TITLES = {
    SERVER: b"sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups\0",
    CHILD: b"sshd: root@pts/0\0",
    MONITOR: b"sshd: operator [priv]\0",
    KNOCKER: b"sshd: root [net]\0",
    TUNNEL: b"sshd-session: operator@notty\0",
}


def told_by_ss(
    monkeypatch: pytest.MonkeyPatch, proc: Path, *lines: str, code: int = 0
) -> tuple[list[Session], list[int]]:
    for pid, title in TITLES.items():
        (proc / str(pid)).mkdir(exist_ok=True)
        (proc / str(pid) / "cmdline").write_bytes(title)
    done = Completed(code, "".join(f"{line}\n" for line in lines), "")
    monkeypatch.setattr("fwfeed.sessions.run", lambda *_command, timeout: done)  # noqa: ARG005 - as it is called
    return established(proc)


@pytest.mark.parametrize(
    ("line", "sessions"),
    [
        ('ESTAB 0 36 192.0.2.1:22 198.51.100.7:5022 users:(("sshd",pid=7002,fd=4))', [FOUND]),
        ('ESTAB 0 0 [::ffff:192.0.2.1]:22 [::ffff:198.51.100.7]:5022 users:(("sshd",pid=7002,fd=4))', [FOUND]),
        (
            'ESTAB 0 0 192.0.2.1:22 198.51.100.7:5 users:(("sshd-session",pid=7003,fd=4),("sshd-auth",pid=7002,fd=4))',
            [FOUND],
        ),
        ('ESTAB 0 0 [2001:db8::1]:22 [2001:db8:1::7]:5 users:(("sshd",pid=7002,fd=4))', [Session("2001:db8:1::7", 22)]),
        (
            'ESTAB 0 0 [fe80::1%eth0]:22 [fe80::7%eth0]:5 users:(("sshd",pid=7002,fd=4))',
            [Session("fe80::7", 22, "eth0")],
        ),
        (
            'ESTAB 0 0 [fe80::1]%eth0:22 [fe80::7]%eth0:5 users:(("sshd",pid=7002,fd=4))',
            [Session("fe80::7", 22, "eth0")],
        ),
        # who has gone in the meantime is taken for one who had logged in
        ('ESTAB 0 0 192.0.2.1:22 198.51.100.7:5 users:(("sshd",pid=6999,fd=4))', [FOUND]),
        # who has not logged in
        ('ESTAB 0 0 192.0.2.1:22 198.51.100.7:5 users:(("sshd",pid=7003,fd=4),("sshd",pid=7004,fd=4))', []),
        # what a session reaches on behalf of somebody
        ('ESTAB 0 0 192.0.2.1:40022 198.51.100.7:443 users:(("sshd",pid=7002,fd=9))', []),
        # from this host itself
        ('ESTAB 0 0 192.0.2.1:22 192.0.2.1:5 users:(("sshd",pid=7002,fd=4))', []),
        # another server's, and another state
        ('ESTAB 0 0 192.0.2.1:22 198.51.100.7:5 users:(("nginx",pid=7002,fd=4))', []),
        ('CLOSE-WAIT 0 0 192.0.2.1:22 198.51.100.7:5 users:(("sshd",pid=7002,fd=4))', []),
        ("ESTAB 0 0 192.0.2.1:22 198.51.100.7:5", []),
        ("nonsense", []),
    ],
)
def test_all_sessions_are_those_of_who_has_logged_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, sessions: list[Session]
) -> None:
    assert told_by_ss(monkeypatch, tmp_path, LISTENING, line) == (sessions, [22])


def test_a_server_that_has_just_taken_a_connection_in_hides_no_sessions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Until a child has it, the listener is at both ends of its port."""
    lines = [
        LISTENING,
        f'ESTAB 0 0 192.0.2.1:22 203.0.113.9:5 users:(("sshd",pid={KNOCKER},fd=5),("sshd",pid={SERVER},fd=5))',
        'ESTAB 0 0 192.0.2.1:22 198.51.100.7:5 users:(("sshd",pid=7002,fd=4))',
    ]
    assert told_by_ss(monkeypatch, tmp_path, *lines) == ([FOUND], [22])


def test_a_port_that_a_session_listens_on_is_none_of_the_servers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = [
        LISTENING,
        'ESTAB 0 0 192.0.2.1:22 198.51.100.7:5 users:(("sshd-session",pid=7005,fd=4))',
        'LISTEN 0 128 0.0.0.0:8080 0.0.0.0:* users:(("sshd-session",pid=7005,fd=9))',
        'ESTAB 0 0 192.0.2.1:8080 203.0.113.9:5 users:(("sshd-session",pid=7005,fd=10))',
    ]
    assert told_by_ss(monkeypatch, tmp_path, *lines) == ([FOUND], [22])


def test_where_systemd_listens_for_sshd_its_sessions_count_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines = [
        'LISTEN 0 4096 *:2222 *:* users:(("systemd",pid=1,fd=42))',
        'LISTEN 0 4096 *:9090 *:* users:(("systemd",pid=1,fd=43))',
        'ESTAB 0 0 192.0.2.1:2222 198.51.100.7:5 users:(("sshd",pid=7002,fd=4))',
        'ESTAB 0 0 192.0.2.1:40022 198.51.100.8:443 users:(("sshd",pid=7002,fd=9))',
        'ESTAB 0 0 192.0.2.1:9090 198.51.100.9:5 users:(("cockpit-tls",pid=900,fd=4))',
    ]
    assert told_by_ss(monkeypatch, tmp_path, *lines) == ([Session("198.51.100.7", 2222)], [2222])
    lines[0] = 'LISTEN 0 4096 *:2222 *:* users:(("systemd",pid=811,fd=42))'  # somebody's own
    assert told_by_ss(monkeypatch, tmp_path, *lines) == ([], [])


def test_where_processes_cannot_be_seen_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(FwfeedError, match="ss does not tell"):
        told_by_ss(monkeypatch, tmp_path, "LISTEN 0 128 0.0.0.0:22 0.0.0.0:*", "ESTAB 0 0 192.0.2.1:22 198.51.100.7:5")
    with pytest.raises(FwfeedError, match="ss does not tell"):
        told_by_ss(monkeypatch, tmp_path, code=255)
    assert told_by_ss(monkeypatch, tmp_path) == ([], [])
