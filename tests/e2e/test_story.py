"""A web server's first nights with fwfeed, told in order: each test goes on from where the one before it left off."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fwfeed.feeds.special import special_purpose
from fwfeed.prefixes import Family
from tests.e2e.machine import ABROAD, ABROAD6, DOMESTIC, DOMESTIC6, Machine, show, tell
from tests.e2e.registries import Registries, Spans, spans_of
from tests.e2e.troubles import OF_A_REFRESH, OF_AN_APPLY, Trouble
from tests.rpm.packages import Packages

README = (Path(__file__).parents[2] / "README.md").read_text()
REFRESH, APPLY, RECOVER = "fwfeed-refresh.service", "fwfeed-apply.service", "fwfeed-recover.service"
WATCH = "fwfeed-watch.service"
PLUGIN = "/usr/lib64/nagios/plugins/check_fwfeed"

BUS_NAME = "org.fedoraproject.FirewallD1"

# Documentation addresses are special-purpose ones: for the story these are abroad.
FOREIGN = ("203.0.113.0/24", "2001:db8:2::/48")

MOVED = b"apnic|JP|ipv4|1.0.16.0|4096|"
CAME = b"apnic|KR|ipv4|1.11.0.0|65536|"


def test_an_administrator_installs_it_and_sees_the_first_line(web: Machine, registries: Registries) -> None:
    tell("The first evening, as README has it")
    steps = _steps("Install it")
    assert steps[0].startswith("dnf install")
    assert "journalctl" in steps[-1]
    web.type(steps[0].replace("dnf", "dnf -y"))
    _configure(web, "#exclude = []", f"exclude = {json.dumps(FOREIGN)}")
    for step in steps[1:-1]:
        web.type(step)
    _connect_everywhere(web)
    said = web.type(steps[-1])
    assert _destinations(web, said) == {ABROAD, ABROAD6}
    _assert_kernel_is(web, registries)


def test_monitoring_knows_how_it_stands(web: Machine) -> None:
    tell("What monitoring sees")
    said = web.type("cat /var/lib/fwfeed/fwfeed.prom")
    for line in (
        "fwfeed_up 1",
        "fwfeed_drift 0",
        'fwfeed_unit_exit_code{unit="fwfeed-refresh.service"} 0',
        'fwfeed_unit_exit_code{unit="fwfeed-apply.service"} 0',
    ):
        assert f"{line}\n" in said
    assert web.type("fwfeed check --nagios").startswith("FWFEED OK - generation 1 proved in the kernel")
    # as sudo starts it, and with a path that whoever calls it has chosen
    assert web.type(f"PATH=/tmp {PLUGIN} --warning 3d").startswith("FWFEED OK - generation 1 proved in the kernel")
    assert web.type(f"env -i {PLUGIN} --warning nonsense", 3).startswith("FWFEED UNKNOWN - ")
    web.ask("nft list set inet firewalld JP >/dev/null; firewall-cmd --ipset=JP --add-entry=203.0.113.0/24")
    assert web.type("fwfeed check --nagios", 2).startswith("FWFEED CRITICAL - ")
    web.type("fwfeed apply")
    assert web.type("fwfeed check --nagios").startswith("FWFEED OK - ")


def test_a_program_that_connects_abroad_is_named_previewed_and_stopped(web: Machine) -> None:
    tell("The owner's question: what went abroad, and which program sent it?")
    web.type(f"systemctl enable --now {WATCH}")
    assert web.ask(f"systemctl show -p Type -p ActiveState -p StatusText {WATCH} | sort").splitlines() == [
        "ActiveState=active",
        "StatusText=watching NFLOG group 243",
        "Type=notify",
    ]
    # one process alone holds the socket: of several, any may be named
    web.path("/usr/local/sbin/evil").write_text(
        f"import socket, time\nkept = socket.create_connection(('{ABROAD}', 443), 5)\ntime.sleep(1)\n"
    )
    web.path("/etc/systemd/system/evil.service").write_text(
        "[Service]\nType=oneshot\nExecStart=/usr/bin/python3 /usr/local/sbin/evil\n"
    )
    web.ask("systemctl daemon-reload")
    web.type("systemctl start evil.service")
    ended = time.monotonic()
    web.wait_for("fwfeed --json report --since 1h | grep -q evil.service", 10)
    show(f"(named {time.monotonic() - ended:.1f} s after it had ended)\n")
    said = web.type("fwfeed report --since 1h")
    for words in ("evil.service", "/usr/bin/python3", ABROAD, "AU"):
        assert words in said
    said = web.type("fwfeed preview --since 1h")
    for words in ("evil.service", ABROAD, "always_allow"):
        assert words in said
    web.type("fwfeed report --html /root/report.html --evidence /root/evidence")
    assert "evil.service" in web.ask("cat /root/report.html")
    web.type("cd /root/evidence && ls && sha256sum --check --quiet SHA256SUMS")

    tell("First seen, then cut")
    _configure(web, '#action = "log"', 'action = "reject"')
    web.type("fwfeed apply")
    assert web.run("systemctl start evil.service").code != 0
    assert not web.connect(ABROAD6)
    assert web.connect(DOMESTIC)
    assert web.connect(DOMESTIC6)
    _night(web)
    assert (_result(web, REFRESH), _result(web, APPLY)) == ("success 0", "success 0")
    _configure(web, 'action = "reject"', '#action = "log"')
    web.type("fwfeed apply")
    assert web.connect(ABROAD)
    assert web.ask("systemctl is-active fwfeed-watch.service") == "active"


def test_a_watch_that_cannot_listen_does_not_start_and_says_why(web: Machine) -> None:
    tell("Somebody else listens to the group already")
    web.ask(f"systemctl stop {WATCH}")
    web.ask("(setsid fwfeed watch --json >/dev/null 2>/root/watch.log & echo $! >/root/watch.pid)")
    web.wait_for("grep -q 243 /proc/net/netfilter/nfnetlink_log")
    web.type(f"systemctl start {WATCH}", 1)
    web.ask("journalctl --sync")
    assert "NFLOG group 243" in web.type(f"journalctl -o cat -p err -t fwfeed -u {WATCH} -n 1")
    web.type("kill $(cat /root/watch.pid)")
    web.wait_for(f"systemctl is-active {WATCH}")  # it tries again


def test_the_timer_fires_and_both_halves_succeed_in_their_sandboxes(web: Machine, registries: Registries) -> None:
    tell("The second night: the registries have moved a few prefixes")
    registries.change("apnic", lambda line: line.replace(b"|JP|", b"|KR|") if line.startswith(MOVED) else line)
    registries.change("apnic", lambda line: line.replace(b"|KR|", b"|JP|") if line.startswith(CAME) else line)
    _publish(registries)
    before = _log(web)
    _assert_kernel_is_not(web, registries)
    _night(web)
    assert (_result(web, REFRESH), _result(web, APPLY)) == ("success 0", "success 0")
    said = web.type(f"journalctl -o cat -t fwfeed _SYSTEMD_INVOCATION_ID={_invocation(web, APPLY)}")
    assert "without a reload; read back from the kernel: JP" in said
    _assert_kernel_is(web, registries)
    # firewalld has written what it was told to do: entries, and no reload
    told = _log(web).removeprefix(before)
    assert "ipset.addEntry('JP', '1.11.0.0/16')" in told
    assert "reload" not in told.lower()


def test_a_night_without_news_writes_nothing(web: Machine, registries: Registries) -> None:
    tell("The third night: nothing is new")
    before = _kept(web)
    _night(web)
    assert (_result(web, REFRESH), _result(web, APPLY)) == ("success 0", "success 0")
    assert _kept(web) == before
    _assert_kernel_is(web, registries)


def test_each_half_is_as_narrow_as_it_says(web: Machine) -> None:
    tell("What the two halves cannot do")
    assert web.type(f"systemd-analyze verify --man=no {REFRESH} {APPLY} {RECOVER} {WATCH} fwfeed.timer") == ""
    for unit in (REFRESH, APPLY, RECOVER, WATCH):
        said = web.type(f"systemd-analyze security --no-pager {unit} | tail -n 1")
        assert float(re.findall(r": (\d+\.\d)", said)[0]) <= 2.0
    refused = {
        REFRESH: {
            "id -un; exit 1": "fwfeed",
            "ls /etc/firewalld": "Permission denied",
            "ls /run/fwfeed": "Permission denied",
            "nft list ruleset": "Address family not supported",
            "touch /etc/fwfeed/x": "Read-only file system",
            "touch /var/lib/fwfeed/x": "Read-only file system",
            f"busctl call {BUS_NAME} /org/fedoraproject/FirewallD1 {BUS_NAME} reload": "Not Authorized",
        },
        APPLY: {
            f": </dev/tcp/{DOMESTIC}/443": "Address family not supported",
            f": </dev/tcp/{ABROAD6}/443": "Address family not supported",
            "touch /etc/x": "Read-only file system",
            "touch /usr/x": "Read-only file system",
            "ls /root | grep .": "",
            "mount -t tmpfs tmpfs /mnt": "ermi",
            "unshare -n true": "Operation not permitted",
            "modprobe dummy": "",
        },
    }
    for unit, commands in refused.items():
        for command, words in commands.items():
            code, said = _inside(web, unit, command)
            assert code != 0, (command, said)
            assert words in said, (command, said)


def test_who_is_logged_in_can_be_seen_from_within_the_sandbox(web: Machine) -> None:
    web.ask("systemd-run --quiet --unit=listener --uid=daemon nc -lk 127.0.0.1 2222")
    web.wait_for("ss -Htln | grep -q :2222")
    code, said = _inside(web, APPLY, "ss -Htlnp | grep 2222")
    web.ask("systemctl stop listener")
    assert code == 0
    assert "pid=" in said


def test_a_change_that_nobody_confirms_is_undone_also_where_a_timer_made_it(web: Machine) -> None:
    tell("A change of rules, with [apply] confirm, that the timer applies and nobody confirms")
    before = _files(web)
    _configure(web, '#confirm = "off"', 'confirm = "25s"')
    _configure(web, '#prefix = "OUTBOUND_FOREIGN "', 'prefix = "ABROAD "')
    _night(web)
    assert _files(web) != before
    assert "it will be undone at " in web.type("fwfeed status")
    web.wait_for("! test -e /var/lib/fwfeed/journal", 120)  # without a command, which would undo it first
    assert _files(web) == before
    assert "not confirmed: nobody confirmed it in time" in web.type("fwfeed history").splitlines()[0]
    web.ask("journalctl --sync")
    said = web.type("journalctl -o cat -t fwfeed -u 'fwfeed-rollback-*'")
    assert "nobody confirmed it in time; what was installed before is back" in said
    # neither a shell nor Python is what says it, nor what tried beforehand that it can be started
    assert web.run("journalctl -q -o cat -t sh -t python3 -u 'fwfeed-rollback-*' -u 'run-*'").said == ""
    _night(web)
    assert _result(web, APPLY) == "exit-code 3"
    assert [re.sub(r"\d+", "N", line) for line in _told(web, APPLY)] == [
        "fwfeed: held back: nobody confirmed generation N; fwfeed apply goes on again"
    ]
    assert _files(web) == before
    _configure(web, 'prefix = "ABROAD "', '#prefix = "OUTBOUND_FOREIGN "')
    _configure(web, 'confirm = "25s"', '#confirm = "off"')
    web.type("fwfeed apply")


def test_a_reboot_changes_nothing(web: Machine, registries: Registries) -> None:
    tell("A reboot")
    before = _files(web)
    web.reboot()
    assert _files(web) == before
    _assert_kernel_is(web, registries)
    said = web.type("fwfeed status")
    assert re.fullmatch(
        r"OK  JP: [\d,]+ \+ [\d,]+ prefixes, generation \d+, proved in the kernel\n"
        r"outbound: log, own and forwarded · inbound: off · watch: running, \d+ lost( in the last 24 h)?\n"
        r"next update 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d JST\n",
        said,
    )
    assert web.ask("systemctl is-active fwfeed.timer") == "active"
    since = web.ask("date +@%s")
    _connect_everywhere(web)
    said = web.ask(f"journalctl -k --since {since} --grep OUTBOUND_FOREIGN")
    assert _destinations(web, said) == {ABROAD, ABROAD6}


def test_a_bad_night_is_held_and_nothing_changes(web: Machine, registries: Registries) -> None:
    tell("A bad night: APNIC's file has lost a third of Japan")
    whole = registries.files["apnic"]
    lost = iter(range(10**9))
    registries.change(
        "apnic", lambda line: line.replace(b"|JP|", b"|KR|") if b"|JP|ipv4|" in line and not next(lost) % 3 else line
    )
    _publish(registries)
    before = _kept(web)
    _night(web)
    assert (_result(web, REFRESH), _result(web, APPLY)) == ("exit-code 3", "success 0")
    assert re.search(
        r"held by gate max_shrink: IPv4: .* would shrink by .*; way out: .* fwfeed diff", _reason(web, REFRESH)
    )
    assert _kept(web) == before
    said = web.type("fwfeed diff")
    assert "set JP (IPv4): " in said
    registries.files["apnic"] = whole
    _assert_kernel_is(web, registries)
    _publish(registries)
    _night(web)
    assert (_result(web, REFRESH), _result(web, APPLY)) == ("success 0", "success 0")


@pytest.mark.parametrize("end", ["reboot", "power cut"])
def test_who_does_not_come_back_after_a_reboot_finds_it_undone(web: Machine, end: str) -> None:
    tell(f"A change of rules waits to be confirmed, and then comes a {end}")
    before = _files(web)
    _configure(web, '#prefix = "OUTBOUND_FOREIGN "', 'prefix = "ABROAD "')
    said = web.type("fwfeed apply --confirm-within 1h")
    assert "IT WILL BE UNDONE at " in said
    assert _files(web) != before
    if end == "reboot":
        web.reboot()
    else:
        _configure(web, 'prefix = "ABROAD "', 'prefix = "ABROAD "\nnonsense = 1')  # must not keep it from being undone
        web.power_cut()
        _configure(web, 'prefix = "ABROAD "\nnonsense = 1', 'prefix = "ABROAD "')
    assert "nobody confirmed it in time; what was installed before is back" in web.type(
        f"journalctl -b -o cat -u {RECOVER}"
    )
    assert _files(web) == before
    assert "proved in the kernel" in web.type("fwfeed status")
    # firewalld has never read what was undone
    times = [
        int(web.ask(f"systemctl show -P {name} {unit}"))
        for name, unit in (
            ("ExecMainExitTimestampMonotonic", RECOVER),
            ("ExecMainStartTimestampMonotonic", "firewalld"),
        )
    ]
    assert 0 < times[0] < times[1]
    _configure(web, 'prefix = "ABROAD "', '#prefix = "OUTBOUND_FOREIGN "')
    web.type("fwfeed apply")


@pytest.mark.parametrize("trouble", OF_A_REFRESH, ids=lambda each: each.name)
def test_a_refresh_in_trouble_says_why_and_leaves_all_as_it_is(
    web: Machine, registries: Registries, trouble: Trouble
) -> None:
    tell(f"Trouble: {trouble.name}")
    _publish(registries)
    before = _kept(web)
    with _in_trouble(web, trouble):
        _night(web)
        assert (_result(web, REFRESH), _result(web, APPLY)) == (f"exit-code {trouble.code}", "success 0")
        assert re.search(trouble.said, _reason(web, REFRESH))
    assert _kept(web) == before
    _night(web)
    assert (_result(web, REFRESH), _result(web, APPLY)) == ("success 0", "success 0")


@pytest.mark.parametrize("trouble", OF_AN_APPLY, ids=lambda each: each.name)
def test_an_apply_in_trouble_says_why_and_leaves_all_as_it_is(
    web: Machine, registries: Registries, trouble: Trouble
) -> None:
    tell(f"Trouble: {trouble.name}")
    _move_a_prefix(registries)
    web.ask(f"systemctl start {REFRESH}")  # there is something to apply now
    before = _kept(web)
    with _in_trouble(web, trouble):
        kernel = web.ask("nft --stateless list ruleset")
        _night(web)
        assert (_result(web, REFRESH), _result(web, APPLY)) == ("success 0", f"exit-code {trouble.code}")
        assert re.search(trouble.said, _reason(web, APPLY))
        assert web.ask("nft --stateless list ruleset") == kernel
    assert _kept(web) == before
    _night(web)
    assert (_result(web, REFRESH), _result(web, APPLY)) == ("success 0", "success 0")
    _assert_kernel_is(web, registries)


def test_the_daemon_does_the_same_without_the_timer(web: Machine, registries: Registries) -> None:
    tell("As on a host without systemd: the daemon")
    _move_a_prefix(registries)
    web.ask("systemctl stop fwfeed.timer")
    _configure(web, '#spread = "1h"', 'spread = "0s"')
    show("[root@web ~]# fwfeed daemon &\n")
    web.ask("(setsid fwfeed daemon >/root/daemon.log 2>&1 & echo $! >/root/daemon.pid)")
    web.wait_for("grep -q 'the update ended with' /root/daemon.log", 60)
    _assert_kernel_is(web, registries)
    web.type("kill -HUP $(cat /root/daemon.pid)")
    web.wait_for("grep -q 'has read the configuration anew' /root/daemon.log")
    web.type("kill $(cat /root/daemon.pid)")
    web.wait_for("! kill -0 $(cat /root/daemon.pid)")
    said = web.type("cat /root/daemon.log")
    assert "the update ended with 0, done, or nothing to do, after" in said
    assert said.endswith("daemon: ended by SIGTERM\n")
    _configure(web, 'spread = "0s"', '#spread = "1h"')
    web.ask("systemctl start fwfeed.timer")


def test_an_upgrade_keeps_configuration_timer_and_firewall(
    web: Machine, packages: Packages, registries: Registries
) -> None:
    tell("An upgrade, and the way back")
    packages.add(packages.later)
    before = _kept(web)
    configuration = web.ask("cat /etc/fwfeed/fwfeed.toml")
    web.ask("rm -rf /srv/repository")
    web.copy(packages.repository, "/srv/repository")
    for command, version in (("dnf -y upgrade fwfeed", "99.0.0"), ("dnf -y downgrade fwfeed", packages.version)):
        web.type(command)
        is_new = version != packages.version
        assert ("The configuration of fwfeed" in web.ask("cat /etc/fwfeed/fwfeed.toml.rpmnew")) is is_new
        assert web.ask("fwfeed --version") == f"fwfeed {version}"
        assert _kept(web) == before
        assert web.ask("cat /etc/fwfeed/fwfeed.toml") == configuration
        assert web.ask("systemctl is-enabled fwfeed.timer; systemctl is-active fwfeed.timer") == "enabled\nactive"
        _night(web)
        assert (_result(web, REFRESH), _result(web, APPLY)) == ("success 0", "success 0")
        assert _kept(web) == before
    _assert_kernel_is(web, registries)


def test_it_goes_as_the_readme_says(web: Machine) -> None:
    tell("The end: fwfeed is removed, as README has it")
    _configure(web, '#prefix = "OUTBOUND_FOREIGN "', 'prefix = "ABROAD "')
    web.type("fwfeed apply --confirm-within 1h")
    assert "first: fwfeed confirm, or fwfeed rollback" in web.run("dnf -y remove --noautoremove fwfeed").said
    web.type("fwfeed confirm")
    for step in _steps("Remove it"):
        web.type(step.replace("dnf remove", "dnf -y remove"))
    assert web.run("command -v fwfeed; systemctl cat fwfeed.timer").code != 0
    assert web.ask("cat /etc/fwfeed/fwfeed.toml.rpmsave")
    assert web.ask("find /etc/firewalld -name 'JP*' -o -name 'fwfeed*'") == ""
    assert "JP" not in web.ask("nft list ruleset")
    assert web.ask("firewall-cmd --state") == "running"
    assert web.connect(ABROAD)


@contextmanager
def _in_trouble(web: Machine, trouble: Trouble) -> Iterator[None]:
    web.ask(trouble.make.replace("DEVICE", web.device))
    try:
        yield
    finally:
        web.ask(trouble.mend.replace("DEVICE", web.device))


def _move_a_prefix(registries: Registries) -> None:
    """Have a block of KR go to JP, or back."""
    block = CAME.partition(b"|KR|")[2]
    is_there = any(line.startswith(b"apnic|JP|" + block) for line in registries.lines("apnic"))
    old, new = (b"|JP|", b"|KR|") if is_there else (b"|KR|", b"|JP|")
    registries.change("apnic", lambda line: line.replace(old, new) if block in line else line)
    _publish(registries)


def _steps(section: str) -> list[str]:
    """Return what README says to type in a section."""
    text = README.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    typed = re.findall(r"^    \$ (?:sudo )?(.*)$", text, re.MULTILINE)
    return [re.sub(r"\s+# .*", "", step) for step in typed]


def _configure(web: Machine, old: str, new: str) -> None:
    """Change a line of the configuration, in a section that is not commented out then."""
    file = web.path("/etc/fwfeed/fwfeed.toml")
    above, found, below = file.read_text().partition(f"{old}\n")
    assert found
    sections = list(re.finditer(r"^#?(\[\w+\])$", above, re.MULTILINE))
    file.write_text(f"{above[: sections[-1].start()]}{sections[-1][1]}{above[sections[-1].end() :]}{new}\n{below}")
    show(f"(in /etc/fwfeed/fwfeed.toml: {new})\n")


def _publish(registries: Registries) -> None:
    registries.publish((datetime.now(UTC) - timedelta(days=1)).date())


def _connect_everywhere(web: Machine) -> None:
    for address in (DOMESTIC, DOMESTIC6, ABROAD, ABROAD6):
        show(f"(a connection to {address})\n")
        assert web.connect(address)


def _destinations(web: Machine, lines: str) -> set[str]:
    """Return where the logged connections went, as we write it."""
    found = re.findall(rf"OUTBOUND_FOREIGN IN= OUT={web.device} SRC=\S+ DST=(\S+) ", lines)
    return {each.replace("2001:0db8:0002:0000:0000:0000:0000:0002", ABROAD6) for each in found}


def _night(web: Machine) -> None:
    """Have the timer fire, and wait until all that it starts has ended."""
    show("(fwfeed.timer fires)\n")
    before = _invocation(web, APPLY)
    folder = "/run/systemd/system/fwfeed.timer.d"
    timer = r"[Timer]\nOnCalendar=\nOnActiveSec=100ms\nAccuracySec=1ms\nRandomizedDelaySec=0\n"
    again = "systemctl daemon-reload; systemctl reset-failed fwfeed.timer; systemctl restart fwfeed.timer"
    web.ask(f"mkdir -p {folder}; printf '{timer}' >{folder}/now.conf; {again}")
    web.wait_for(f'test "$(systemctl show -P InvocationID {APPLY})" != "{before}"', 120)
    web.wait_for(f"systemctl show -P ActiveState {APPLY} | grep -Eqx 'inactive|failed'", 120)
    web.ask(f"rm -r {folder}; {again}; journalctl --sync")
    for unit in (REFRESH, APPLY):
        show(f"{unit}: {_result(web, unit)}\n")
        for line in _told(web, unit):
            show(f"    {line}\n")


def _told(web: Machine, unit: str) -> list[str]:
    """Return the errors that a unit has told the journal of."""
    return web.ask(f"journalctl -o cat -p err -t fwfeed _SYSTEMD_INVOCATION_ID={_invocation(web, unit)}").splitlines()


def _invocation(web: Machine, unit: str) -> str:
    return web.ask(f"systemctl show -P InvocationID {unit}")


def _result(web: Machine, unit: str) -> str:
    result, code = (web.ask(f"systemctl show -P {name} {unit}") for name in ("Result", "ExecMainStatus"))
    return f"{result} {code}"


def _reason(web: Machine, unit: str) -> str:
    """Return why a unit failed: one line of the journal."""
    # the metrics have a command of their own, which may fail of the same
    (line,) = (line for line in _told(web, unit) if "fwfeed.prom" not in line)
    return line


def _inside(web: Machine, unit: str, command: str) -> tuple[int, str]:
    """Run a command in a unit's sandbox."""
    text = web.path(f"/usr/lib/systemd/system/{unit}").read_text()
    text = re.sub(r"^(ExecStopPost|Wants)=.*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^ExecStart=.*", lambda _: f"ExecStart=/bin/bash -c {json.dumps(command)}", text, flags=re.MULTILINE)
    text = text.replace("[Service]", "StartLimitIntervalSec=0\n[Service]\nStandardOutput=truncate:/run/said")
    web.path("/run/systemd/system/probe.service").write_text(text)
    web.ask("systemctl daemon-reload")
    done = web.run("systemctl start probe.service")
    said = web.ask("cat /run/said")
    show(f"({unit}) {command}: {' '.join(said.split())[:100]}\n")
    return done.code, said


def _files(web: Machine) -> str:
    """Return a digest of all below /etc/firewalld."""
    return web.ask("cd /etc/firewalld && find . -type f ! -name '*.old' | sort | xargs sha256sum")


def _kept(web: Machine) -> list[str]:
    """Return what no refused or failed night may change: files, kernel, generations and what was accepted."""
    said = web.ask(
        "cd / && find etc/firewalld var/cache/fwfeed var/lib/fwfeed/generations "
        "var/lib/fwfeed/candidate/candidate.json -type f ! -name '*.old' ! -path '*held/*' | sort | xargs sha256sum; "
        "ls -A /var/lib/fwfeed; "
        "nft --stateless list ruleset | sha256sum"
    )
    return said.splitlines()


def _log(web: Machine) -> str:
    return web.path("/var/log/firewalld").read_text()


def _assert_kernel_is(web: Machine, registries: Registries) -> None:
    """Compare the kernel's sets with what the plainest reading of the registries' files gives."""
    for family in Family:
        assert _kernel(web, family) == _wanted(registries, family), family
    show("(the kernel's sets are what the registries' files say)\n")


def _assert_kernel_is_not(web: Machine, registries: Registries) -> None:
    assert _kernel(web, Family.IPV4) != _wanted(registries, Family.IPV4)


def _wanted(registries: Registries, family: Family) -> Spans:
    delegated = registries.delegated("JP", family.value)
    holes = spans_of(each for each in FOREIGN if (":" in each) == (family is Family.IPV6))
    # the table of special-purpose ranges is compared with the RFCs elsewhere
    return _cut(_merged([*delegated, *special_purpose(family)]), holes)


def _kernel(web: Machine, family: Family) -> Spans:
    name = "JP" if family is Family.IPV4 else "JP6"
    listed = json.loads(web.ask(f"nft -j list set inet firewalld {name}"))
    elements = next(each["set"]["elem"] for each in listed["nftables"] if "set" in each)
    return _merged(
        spans_of(each if isinstance(each, str) else "{addr}/{len}".format(**each["prefix"]) for each in elements)
    )


def _merged(spans: Spans) -> Spans:
    merged: Spans = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def _cut(spans: Spans, holes: Spans) -> Spans:
    for low, high in holes:
        parts = [part for first, last in spans for part in ((first, min(last, low - 1)), (max(first, high + 1), last))]
        spans = [(first, last) for first, last in parts if first <= last]
    return _merged(spans)
