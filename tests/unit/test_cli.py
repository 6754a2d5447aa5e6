"""The command line: what goes where, which exit code comes out, and what is never written."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fwfeed import __version__
from fwfeed.cli import session
from fwfeed.cli.usage import CHANGING
from fwfeed.compile import recipe
from fwfeed.config import parse
from fwfeed.model import Generation, Outcome
from fwfeed.prefixes import Family
from fwfeed.store.generations import Generations
from fwfeed.store.manifests import digest
from tests.unit.builders import (
    ENVIRONMENT,
    FWFEED,
    JAPAN,
    Ended,
    World,
    delegated,
    run,
    shipped,
    snapshot,
    spawn,
    world,
)

COMMANDS = ("update", "fetch", "diff", "approve", "render", "apply", "status", "check", "metrics", "list", "lookup")
FILES = {"ipsets/JP.xml", "ipsets/JP6.xml", "policies/fwfeed-outbound.xml", "policies/fwfeed-forwarded.xml"}


@pytest.fixture
def made(tmp_path: Path) -> World:
    """A world that has not fetched yet."""
    return world(tmp_path)


@pytest.fixture
def ready(made: World) -> World:
    """A world with a candidate, and a firewalld folder with a file of the administrator's."""
    assert made.run("fetch").code == 0
    (made.firewalld / "zones").mkdir(parents=True)
    (made.firewalld / "zones" / "public.xml").write_text("<zone/>\n", encoding="utf-8")
    return made


def below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def assert_fails(ended: Ended, code: int, *said: str) -> None:
    assert ended.code == code, ended
    assert ended.out == ""
    assert "Traceback" not in ended.err
    for text in said:
        assert text in ended.err, ended.err


def test_common_options_work_before_and_after_the_command(ready: World) -> None:
    before = run("--config", ready.config, "list")
    after = run("list", "--config", ready.config)
    assert before == after == Ended(0, "198.51.100.0/24\n2001:db8:1::/48\n", "")
    assert run("--json", "list", "--config", ready.config) == run("--config", ready.config, "list", "--json")


def test_the_option_after_the_command_wins(ready: World) -> None:
    assert run("--config", "/nonexistent.toml", "list", "--config", ready.config).code == 0


def test_without_the_option_the_configuration_is_the_one_in_etc(ready: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path("/etc/fwfeed/fwfeed.toml") == session.DEFAULT_CONFIG
    # a test must not depend on what this machine has there
    monkeypatch.setattr(session, "DEFAULT_CONFIG", ready.config)
    assert run("list").out == "198.51.100.0/24\n2001:db8:1::/48\n"


def test_help_names_every_command_and_exit_code() -> None:
    ended = run("--help")
    assert ended.code == 0
    for command in COMMANDS:
        assert f"    {command} " in ended.out
    assert "exit codes:" in ended.out
    assert ended.err == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_help(command: str) -> None:
    ended = run(command, "--help")
    assert ended.code == 0
    assert ended.out.startswith(f"usage: fwfeed {command}")


def test_version_is_printed() -> None:
    assert run("--version") == Ended(0, f"fwfeed {__version__}\n", "")


@pytest.mark.parametrize("arguments", [["nonsense"], [], ["lookup"], ["list", "--family", "5"], ["list", "-v", "-q"]])
def test_an_error_of_usage_exits_2(arguments: Sequence[str]) -> None:
    assert_fails(run(*arguments), 2, "usage: fwfeed")


def test_the_installed_command_exits_2_too() -> None:
    assert_fails(spawn("nonsense"), 2, "invalid choice: 'nonsense'")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("install", "apply"),
        ("remove", "uninstall"),
        ("undo", "rollback"),
        ("version", "--version"),
        ("help", "--help"),
        ("st", "status"),
        ("pre", "preview"),
        ("re", "render or report"),
        ("start", ""),
        ("restart", ""),
        ("reinstall", ""),
        ("upgrade", ""),
        ("rollb", ""),
        ("unistal", ""),
        ("unistall", "uninstall"),
        ("uninstalll", "uninstall"),
        ("rolback", "rollback"),
        ("confrim", "confirm"),
        ("histroy", "history"),
        ("upadte", "update"),
    ],
)
def test_no_change_of_the_firewall_is_suggested_for_more_than_a_slip(given: str, meant: str) -> None:
    ended = run(given)
    hint = f"; did you mean {meant}?" if meant else "; see fwfeed --help"
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.endswith(f"error: argument COMMAND: invalid choice: {given!r}{hint}\n")


def test_what_changes_the_firewall_is_a_command() -> None:
    assert [run(command, "--help").code for command in sorted(CHANGING)] == [0] * len(CHANGING)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("updat", "argument COMMAND: invalid choice: 'updat'; did you mean update?"),
        ("STATUS", "argument COMMAND: invalid choice: 'STATUS'; did you mean status?"),
        ("xyzzy", "argument COMMAND: invalid choice: 'xyzzy'; see fwfeed --help"),
        ("check --nagos", "unrecognized arguments: --nagos; did you mean --nagios?"),
        ("apply --confirm-withn 2m", "unrecognized arguments: --confirm-withn; did you mean --confirm-within?"),
        ("status --cnfig=/x", "unrecognized arguments: --cnfig=/x; did you mean --config?"),
        ("--cnfig /x status", "unrecognized arguments: --cnfig; did you mean --config?"),
        ("--jsno status", "unrecognized arguments: --jsno; did you mean --json?"),
        ("--verison", "unrecognized arguments: --verison; did you mean --version?"),
        ("--help-me", "unrecognized arguments: --help-me; did you mean --help?"),
        ("-c /x status", "unrecognized arguments: -c; did you mean --config?"),
        ("status -json", "unrecognized arguments: -json; did you mean --json?"),
        ("--conf x status", "unrecognized arguments: --conf; did you mean --config?"),
        ("--ver status", "unrecognized arguments: --ver; did you mean --verbose or --version?"),
        ("report --sinc=7d", "unrecognized arguments: --sinc=7d; did you mean --since?"),
        ("render --ful", "unrecognized arguments: --ful; did you mean --full?"),
        ("apply --confirm 2m", "unrecognized arguments: --confirm; did you mean --confirm-within?"),
        ("check --nagio --warning=zz", "unrecognized arguments: --nagio; did you mean --nagios?"),
        ("--why lookup 192.0.2.1", "unrecognized arguments: --why; --why goes after lookup"),
        ("--wyh lookup 192.0.2.1", "unrecognized arguments: --wyh; did you mean --why? It goes after lookup"),
        ("--since 7d report", "unrecognized arguments: --since; --since goes after report"),
        ("--since=7d", "unrecognized arguments: --since=7d; --since goes after report or preview"),
        ("--dry-run render", "unrecognized arguments: --dry-run; --dry-run goes after render"),
        ("fetch --full", "unrecognized arguments: --full; --full is an option of render"),
        ("status --version", "unrecognized arguments: --version; --version goes before the command"),
        ("list --bogus", "unrecognized arguments: --bogus; see fwfeed list --help"),
        ("status extra", "unrecognized arguments: extra; see fwfeed status --help"),
        ("report --lang j", "argument --lang: invalid choice: 'j'; did you mean ja?"),
        ("list --family 5", "argument --family: invalid choice: 5 (choose from 4, 6)"),
    ],
)
def test_what_is_mistyped_is_named_with_what_is_near(words: str, said: str) -> None:
    ended = run(*words.split())
    assert (ended.code, ended.out) == (2, ""), ended
    prog = "fwfeed" if "COMMAND" in said or words.startswith("-") else f"fwfeed {words.partition(' ')[0]}"
    assert ended.err.splitlines()[-1] == f"{prog}: error: {said}"


def test_a_configuration_that_is_not_there_exits_2(tmp_path: Path) -> None:
    missing = tmp_path / "no.toml"
    assert_fails(
        run("--config", missing, "list"), 2, f"fwfeed: {missing}: there is no such file", "way out: correct --config"
    )


def test_a_configuration_that_is_a_folder_exits_2(tmp_path: Path) -> None:
    assert_fails(run("--config", tmp_path, "list"), 2, f"fwfeed: {tmp_path}: Is a directory")


def test_a_configuration_that_is_not_utf8_exits_2(tmp_path: Path) -> None:
    path = tmp_path / "fwfeed.toml"
    path.write_bytes(b'[set]\nname = "\xff"\n')
    assert_fails(run("--config", path, "list"), 2, f"fwfeed: {path}: not UTF-8: ")


def test_a_bad_configuration_exits_2_with_every_problem_on_stderr(tmp_path: Path) -> None:
    path = tmp_path / "fwfeed.toml"
    path.write_text('[set]\ncountries = ["UK"]\n[outbound]\naction = "maybe"\n[bogus]\n', encoding="utf-8")
    ended = run("--config", path, "list")
    assert_fails(ended, 2)
    assert ended.err.splitlines() == [
        f"fwfeed: {path}:2: set.countries[0]: 'UK' is not a country code; did you mean GB?",
        f"fwfeed: {path}:4: outbound.action: 'maybe' is none of off, log, reject, drop",
        f"fwfeed: {path}:5: bogus: unknown key",
    ]


@pytest.mark.parametrize("command", [["render"], ["render", "--dry-run"], ["list"], ["check"], ["lookup", "192.0.2.1"]])
def test_without_a_candidate_the_way_out_is_to_fetch(command: Sequence[str], made: World) -> None:
    before = snapshot(made.root)
    said = f"fwfeed: {made.state / 'candidate/candidate.json'} does not exist yet\nfwfeed: way out: run: fwfeed fetch\n"
    assert made.run(*command) == Ended(1, "", said)
    assert snapshot(made.root) == before


def test_status_without_a_candidate_says_so_and_is_done(made: World) -> None:
    ended = made.run("status")
    assert ended.code == 0
    assert ended.out.splitlines()[0] == "UNKNOWN  no candidate yet; run: fwfeed fetch"
    assert made.run("status", "--json").value["candidate"] is None


@pytest.mark.parametrize("options", [["--dry-run"], [], ["--dry-run", "--json"], ["--dry-run", "--output"]])
def test_a_dry_run_writes_nothing_anywhere(options: Sequence[str], ready: World, tmp_path: Path) -> None:
    arguments: list[str | Path] = [*options]
    if "--output" in options:
        arguments.append(tmp_path / "out")
    before = snapshot(tmp_path)
    ended = ready.run("render", *arguments)
    assert ended.code == 0
    assert ended.err == "4 files would change; nothing was written\n"
    assert snapshot(tmp_path) == before


def test_a_dry_run_prints_the_summary_and_the_diff(ready: World) -> None:
    out = ready.run("render", "--dry-run").out
    assert "set JP (IPv4):      1 prefixes,             256 addresses" in out
    assert "  JP, apnic  " in out
    assert (
        'outbound: log the host\'s own and forwarded, prefix "OUTBOUND_FOREIGN ", limit 10/s, nflog group 243\n' in out
    )
    assert f"files below {ready.firewalld}:" in out
    for path in FILES:
        assert f"  new     {path}\n" in out
        assert f"--- /dev/null\n+++ b/{path}\n" in out
    assert "+  <entry>198.51.100.0/24</entry>\n" in out


def test_a_dry_run_ends_with_the_summary(ready: World) -> None:
    lines = ready.run("render", "--dry-run").out.splitlines()
    assert lines.index("+  <entry>198.51.100.0/24</entry>") < lines.index(
        "set JP (IPv4):      1 prefixes,             256 addresses"
    )
    assert lines[-len(FILES) - 1 :] == [
        f"files below {ready.firewalld}:",
        *(f"  new     {each}" for each in sorted(FILES)),
    ]


def test_a_dry_run_without_full_shows_ten_lines_of_each_file(ready: World) -> None:
    full = ready.run("render", "--full").out
    assert full == ready.run("render").out, "what is no terminal gets every line"
    brief = ready.run("render", "--no-full").out
    shown = brief[: brief.index("\n\n")].split("--- /dev/null\n")
    whole = full[: full.index("\n\n")].split("--- /dev/null\n")
    assert len(shown) == len(whole) == 1 + len(FILES)
    for some, every in zip(shown[1:], whole[1:], strict=True):
        lines = every.splitlines()  # without ---: +++, @@, and what would be new
        more = len(lines) - 12
        assert some.splitlines() == [*lines[:12], *([f"… {more} more lines: --full"] if more > 0 else [])]
    assert "… 17 more lines: --full" in brief
    assert brief[brief.index("\n\n") :] == full[full.index("\n\n") :]


def test_a_terminal_shows_ten_lines_of_each_file(ready: World) -> None:
    assert "more lines: --full" in ready.on_terminal("render")
    assert "more lines: --full" not in ready.on_terminal("render", "--full")


def test_a_dry_run_diffs_against_an_older_file(ready: World) -> None:
    ready.run("render", "--output", ready.root / "out")
    content = (ready.root / "out" / "ipsets" / "JP.xml").read_text(encoding="utf-8")
    (ready.firewalld / "ipsets").mkdir()
    old = content.replace("198.51.100.0/24", "198.51.100.0/25")
    (ready.firewalld / "ipsets" / "JP.xml").write_text(old, encoding="utf-8")
    before = snapshot(ready.root)
    out = ready.run("render", "--dry-run").out
    assert "  change  ipsets/JP.xml\n" in out
    assert "--- a/ipsets/JP.xml\n+++ b/ipsets/JP.xml\n@@ " in out
    assert "\n-  <entry>198.51.100.0/25</entry>\n+  <entry>198.51.100.0/24</entry>\n" in out
    assert "IN THE WAY: " in out, "no manifest says that it is fwfeed's"
    assert snapshot(ready.root) == before


def test_a_dry_run_where_all_is_installed_has_nothing_to_change(ready: World) -> None:
    ready.run("render", "--output", ready.root / "out")
    ready.configure(paths=f'firewalld = "{ready.root / "out"}"')
    ended = ready.run("render")
    assert f"files below {ready.root / 'out'}: nothing to change\n" in ended.out
    assert ended.err == "0 files would change; nothing was written\n"


def test_quiet_leaves_the_closing_remark_out(ready: World) -> None:
    assert ready.run("-q", "render").err == ""


def test_json_of_every_command_parses(made: World) -> None:
    fetched = made.run("fetch", "--json").value
    assert [fetched.pop(key) for key in ("held", "stale", "warnings")] == [None, [], []]
    assert [(source["name"], source["taken"]) for source in fetched["sources"]] == [("apnic", 2), ("ripencc", 0)]
    assert [(part["source"], part["term"], part["excluded"], part["ip"]) for part in fetched["parts"]] == [
        ("apnic", "JP", False, 4),
        ("apnic", "JP", False, 6),
    ]
    assert fetched["prefixes"] == {"4": 1, "6": 1}
    assert fetched["addresses"] == {"4": 256, "6": 1 << 80}
    rendered = made.run("render", "--json").value
    assert rendered["changes"] == dict.fromkeys(sorted(FILES), "new")
    assert rendered["held"] == []
    assert rendered["candidate"] == fetched
    assert made.run("list", "--json").value == ["198.51.100.0/24", "2001:db8:1::/48"]
    status = made.run("status", "--json").value
    assert status["candidate"] == fetched
    assert status["held"] is None
    assert status["refused"] == []
    assert status["installed"] is None
    assert status["pending"] is True
    (looked_up,) = made.run("lookup", "--json", "198.51.100.7").value
    assert looked_up["address"] == "198.51.100.7"
    assert looked_up["special_purpose"] is True
    assert looked_up["prefix"] == "198.51.100.0/24"
    assert looked_up["set"] == "JP"
    assert looked_up["delegations"] == [
        {"country": "JP", "registry": "apnic", "status": "allocated", "date": "2010-01-01"}
    ]


def test_output_writes_the_files_into_a_new_folder(ready: World) -> None:
    out = ready.root / "deep" / "out"
    installed = snapshot(ready.firewalld, ready.state, ready.cache)
    ended = ready.run("render", "--output", out)
    assert ended.code == 0
    assert ended.err == f"4 files written below {out}\n"
    assert below(out) == FILES
    assert "<entry>198.51.100.0/24</entry>" in (out / "ipsets" / "JP.xml").read_text(encoding="utf-8")
    assert snapshot(ready.firewalld, ready.state, ready.cache) == installed


def test_output_leaves_other_files_of_its_folder_alone(ready: World) -> None:
    out = ready.root / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    assert ready.run("render", "--output", out).code == 0
    assert below(out) == FILES | {"notes.txt"}


def in_the_way(ready: World) -> Path:
    out = ready.root / "out"
    (out / "ipsets").mkdir(parents=True)
    (out / "ipsets" / "JP.xml").write_text("<mine/>", encoding="utf-8")
    return out


def test_output_refuses_a_file_that_is_there_and_changes_nothing(ready: World) -> None:
    out = in_the_way(ready)
    before = snapshot(ready.root)
    ended = ready.run("render", "--output", out)
    assert ended.code == 1
    assert f"fwfeed: {out / 'ipsets' / 'JP.xml'}: is there already, and differs\n" in ended.err
    assert "way out: name an empty folder" in ended.err
    assert snapshot(ready.root) == before


def test_output_refuses_a_file_that_is_there_also_once_a_generation_was_applied(ready: World) -> None:
    # the manifest speaks of /etc/firewalld: it is no proof that a file in another folder is fwfeed's
    config = parse(ready.config.read_text(encoding="utf-8"), file="fwfeed.toml")
    files = {"ipsets/JP.xml": b"<ours/>", "policies/gone.xml": b"<ours/>"}
    Generations.below(ready.state).write(
        Generation(
            number=1,
            root=str(ready.firewalld),
            created=datetime.now(UTC),
            outcome=Outcome.APPLIED,
            reason="",
            recipe=recipe(config),
            restores=None,
            config="",
            firewalld="2.3.1",
            sources=(),
            prefixes=dict.fromkeys(Family, 1),
            addresses={Family.IPV4: 256, Family.IPV6: 1 << 80},
            files={path: digest(raw) for path, raw in files.items()},
            default_zone=None,
            replaced_zone=None,
        ),
        files,
    )
    out = in_the_way(ready)
    (out / "policies").mkdir()
    (out / "policies" / "gone.xml").write_text("<mine/>", encoding="utf-8")
    before = snapshot(ready.root)
    assert ready.run("render", "--output", out).code == 1
    assert snapshot(ready.root) == before


@pytest.mark.parametrize("way", ["itself", "a link", "a detour"])
def test_output_refuses_the_firewalld_folder_itself(way: str, ready: World) -> None:
    named = {"itself": ready.firewalld, "a link": ready.root / "link", "a detour": ready.root / "state/../firewalld"}[
        way
    ]
    if way == "a link":
        named.symlink_to(ready.firewalld)
    before = snapshot(ready.firewalld)
    assert_fails(
        ready.run("render", "--output", named),
        2,
        f"fwfeed: --output {named}: that is where firewalld looks",
        "fwfeed apply",
    )
    assert snapshot(ready.firewalld) == before


def test_output_into_a_file_fails(ready: World) -> None:
    out = ready.root / "out"
    out.write_text("mine", encoding="utf-8")
    ended = ready.run("render", "--output", out)
    assert ended.code == 1
    assert "Traceback" not in ended.err
    assert out.read_text(encoding="utf-8") == "mine"


def test_list_prints_one_family_or_both(ready: World) -> None:
    assert ready.run("list", "--family", "4").out == "198.51.100.0/24\n"
    assert ready.run("list", "--family", "6").out == "2001:db8:1::/48\n"
    assert ready.run("list").out == "198.51.100.0/24\n2001:db8:1::/48\n"


def test_lookup_tells_whose_an_address_is(ready: World) -> None:
    lines = ready.run("lookup", "198.51.100.7", "2001:db8:2::1", "203.0.113.255").out.splitlines()
    kernel = "  in the kernel's set: "
    assert [line for line in lines if not line.startswith(kernel)] == [
        "198.51.100.7",
        "  special-purpose range (RFC 6890)",
        "  JP, apnic, allocated since 2010-01-01",
        "  in set JP: 198.51.100.0/24",
        "2001:db8:2::1",
        "  special-purpose range (RFC 6890)",
        "  DE, ripencc, allocated since 2011-02-03",
        "  in set JP6: no",
        "203.0.113.255",
        "  special-purpose range (RFC 6890)",
        "  DE, ripencc, assigned since 2011-02-03",
        "  in set JP: no",
    ]
    assert len([line for line in lines if line.startswith(kernel)]) == 3


def test_lookup_of_an_address_that_is_only_special_purpose(ready: World) -> None:
    (found,) = ready.run("lookup", "--json", "192.0.2.1").value
    assert (found["special_purpose"], found["delegations"], found["prefix"]) == (True, [], None)
    assert "  special-purpose range (RFC 6890), delegated to nobody\n" in ready.run("lookup", "192.0.2.1").out


def test_lookup_of_an_address_that_is_nobodys(ready: World) -> None:
    # the anycast prefix of 6to4 relays, given up by RFC 7526
    assert (
        "192.88.99.1\n  not delegated by any registry in use\n  in set JP: no\n"
        in ready.run("lookup", "192.88.99.1").out
    )


def test_lookup_writes_addresses_in_their_canonical_form(ready: World) -> None:
    assert ready.run("lookup", "2001:DB8:0001:0::0001").out.startswith("2001:db8:1::1\n")


@pytest.mark.parametrize("garbage", ["garbage", "192.0.2.0/24", "192.0.2.256", "", "192.0.2", "fe80::1%eth0", "1"])
def test_lookup_of_what_is_no_address_exits_2(garbage: str, ready: World) -> None:
    assert_fails(ready.run("lookup", "192.0.2.1", garbage), 2, f"fwfeed: {garbage!r} is not an IP address\n")


def test_lookup_names_everything_that_is_no_address(ready: World) -> None:
    ended = ready.run("lookup", "this", "192.0.2.1", "that")
    assert_fails(ended, 2, "'this' is not", "'that' is not", "way out: give single addresses")


@pytest.mark.parametrize("prefix", ["198.51.100.3/32", "198.51.100.0/24", "2001:db8:1::/48"])
def test_lookup_of_a_prefix_points_to_why(prefix: str, ready: World) -> None:
    before = snapshot(ready.root)
    ended = ready.run("lookup", "192.0.2.1", prefix)
    assert_fails(
        ended, 2, f"fwfeed: {prefix!r} is not an IP address\n", f"way out: for prefixes: fwfeed lookup --why {prefix}\n"
    )
    assert snapshot(ready.root) == before
    assert ready.run("lookup", "--why", prefix).code == 0, "the way out is one"


def test_after_a_change_of_the_set_render_asks_for_a_fetch(ready: World) -> None:
    ready.configure(set_table='countries = ["DE"]\ninclude = []')
    before = snapshot(ready.root)
    assert_fails(
        ready.run("render"),
        1,
        "the candidate was compiled for other settings of [set] or [sources]",
        "run: fwfeed fetch",
    )
    assert snapshot(ready.root) == before


def test_a_change_of_what_is_not_compiled_needs_no_fetch(ready: World) -> None:
    ready.configure(set_table='name = "NIPPON"\ninclude = []', more='[outbound]\naction = "off"')
    assert set(ready.run("render", "--json").value["changes"]) == {"ipsets/NIPPON.xml", "ipsets/NIPPON6.xml"}


def test_an_undefined_name_in_an_overriding_template_exits_2(ready: World) -> None:
    ready.templates.mkdir()
    own = ready.templates / "policy.xml.j2"
    own.write_text(shipped("policy").replace("policy.ingress", "polcy.ingress"), encoding="utf-8")
    assert_fails(ready.run("render"), 2, f"fwfeed: {own}:5: 'polcy' is undefined\n", "way out: correct the template")


def test_an_overriding_template_that_is_not_utf8_is_told(ready: World) -> None:
    ready.templates.mkdir()
    (ready.templates / "zone.xml.j2").write_bytes(b"\xff")
    ended = ready.run("render")
    assert_fails(ended, ended.code, f"{ready.templates / 'zone.xml.j2'}: not UTF-8: ")


def test_an_overriding_template_takes_the_place_of_its_own_only(ready: World) -> None:
    ready.templates.mkdir()
    (ready.templates / "ipset.xml.j2").write_text(f"<!-- ours -->\n{shipped('ipset')}", encoding="utf-8")
    out = ready.run("render").out
    assert out.count("+<!-- ours -->") == 2


def shell(made: World, line: str) -> Ended:
    fwfeed = f"{shlex.quote(str(FWFEED))} --config {shlex.quote(str(made.config))}"
    done = subprocess.run(
        ["bash", "-c", line.replace("fwfeed", fwfeed)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=ENVIRONMENT,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def large(made: World) -> World:
    """Give it a set whose list is longer than a pipe holds (64 KiB)."""
    records = [
        f"JP|ipv4|198.{18 + i // 32768}.{i // 128 % 256}.{i * 2 % 256}|1|20240101|allocated" for i in range(8000)
    ]
    made.publish("apnic", delegated("apnic", [*JAPAN, *records]))
    assert made.run("fetch").code == 0
    return made


def test_a_reader_that_stops_early_ends_it_quietly(made: World) -> None:
    ended = shell(large(made), "set -o pipefail; fwfeed list | head -1")
    assert (ended.out, ended.err) == ("198.18.0.0/32\n", "")
    assert ended.code == 0


@pytest.mark.parametrize("command", [["list"], ["status"], ["render"], ["lookup", "192.0.2.1"], ["list", "--json"]])
def test_a_reader_that_is_gone_before_the_first_line_ends_it_quietly(command: Sequence[str], ready: World) -> None:
    # so little is printed that it stays in Python's buffer until the very end
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [FWFEED, "--config", ready.config, "-q", *command],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
            env=ENVIRONMENT,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", ["list", "list --family 6"])
def test_a_full_disk_is_no_traceback(command: str, made: World) -> None:
    # a short list meets it only when the buffer is flushed at the end
    ended = shell(large(made), f"fwfeed {command} >/dev/full")
    assert ended.code == 1
    assert ended.err.startswith("fwfeed: ")
    assert "Traceback" not in ended.err
