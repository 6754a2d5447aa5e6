"""What a report says of flows, as text, for JSON, as evidence; and the commands on a ledger of their own."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import re
import stat
import subprocess
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwfeed import names
from fwfeed.attribution import executables
from fwfeed.flow import Direction, Known, Sender, Sent
from fwfeed.ledger import Ledger, path
from fwfeed.report.evidence import Basis, evidence, inert
from fwfeed.report.page import page
from fwfeed.report.traffic import traffic_json, traffic_lines
from fwfeed.store import delegations
from fwfeed.traffic import Traffic
from tests.unit.builders import World, remarks, snapshot, world
from tests.unit.flows import NOW, record, sender, sent, week
from tests.unit.summaries import tallies, traffic
from tests.unit.test_ledger import FLOWS

HOSTILE = "\x1b[2J\x07\u202eOUTBOUND_FOREIGN \n</script>"


def lines(shown: Traffic) -> str:
    return "\n".join(traffic_lines(shown, UTC))


@given(st.lists(FLOWS, min_size=1, max_size=30))
def test_sums_are_what_one_counts_on_fingers(flows: list[Sent]) -> None:
    shown = traffic(flows)
    leaving = [each for each in flows if each.flow.direction is not Direction.IN]
    assert shown.left == len(leaving) == sum(each.count for each in shown.countries)
    assert shown.counts == {direction: sum(f.flow.direction is direction for f in flows) for direction in Direction}
    assert shown.attributed == sum(each.sender.known is Known.SOCKET for each in leaving)
    assert shown.addresses == len({each.flow.destination for each in leaving})
    by_endpoint = Counter(
        (each.flow.destination, each.flow.destination_port, each.flow.protocol, each.flow.direction) for each in leaving
    )
    assert {tuple(each.endpoint): each.seen.count for each in shown.destinations} == by_endpoint
    unknown = [shown.unattributed] if shown.unattributed else []
    assert sum(each.seen.count for each in (*shown.activities, *unknown)) == len(leaving)
    for each in shown.destinations:
        assert sum(count for _doer, count in each.doers) == each.seen.count
        moments = [f.flow.at for f in leaving if f.flow.destination == each.endpoint.foreign]
        assert min(moments) <= each.seen.first <= each.seen.last <= max(moments)
    assert sum(hour.attributed + hour.others + hour.came_in for hour in shown.hours) == len(flows)


def test_the_report_names_who_and_where() -> None:
    evil = sender("/tmp/.x/miner", unit="evil.service", user="apache", command="/tmp/.x/miner -o pool", deleted=True)
    text = lines(traffic([sent(at=NOW - timedelta(days=2)), *[sent(evil, destination="203.0.113.66")] * 3]))
    assert "4 left to 2 addresses" in text
    assert "/tmp/.x/miner (deleted) NEW\n      unit evil.service, user apache" in text
    assert "203.0.113.66 NEW" in text
    assert "program known of 100.0%; 0 events lost" in text
    assert "203.0.113.2 NEW" not in text


def test_only_what_was_not_there_before_yesterday_is_new() -> None:
    old, new = sent(at=NOW - timedelta(hours=25)), sent(destination="203.0.113.3")
    assert {each.endpoint.foreign: each.seen.new for each in traffic([old, sent(), new]).destinations} == {
        "203.0.113.2": False,
        "203.0.113.3": True,
    }


def test_on_its_first_day_a_ledger_has_nothing_but_news_and_says_so_once() -> None:
    flows = [sent(at=NOW - timedelta(minutes=1), destination=f"203.0.113.{end}") for end in range(1, 30)]
    shown = traffic(flows)
    assert shown.news is None
    text = lines(shown)
    assert "  the ledger began 1 minute ago, at 2026-11-25 07:37:33 UTC: everything is new\n" in text
    assert "NEW" not in text
    assert "new since yesterday" not in text
    value = traffic_json(shown)
    assert (value["new_destinations"], value["everything_is_new"]) == (None, True)
    assert {each["new"] for each in (*value["destinations"], *value["programs"])} == {None}
    made = page(shown, language="en", host="www1", version="1.0", zone=UTC).decode()
    assert '<span lang="en">The ledger began 1 minute ago: everything is new.</span>' in made
    assert '<span lang="ja">記録の開始は 1 分前です。すべてが新規です。</span>' in made
    assert '<dd><span lang="en">all of them</span><span lang="ja">すべて</span></dd>' in made
    assert 'class="mark"' not in made
    packed = pack(shown, flows)
    said = "The ledger began at 2026-11-25T07:37:33+00:00: everything is new, and nothing is marked so.\n"
    assert said in packed["README.txt"].decode()
    assert b",yes," not in packed["destinations.csv"]


def test_from_the_second_day_on_what_is_new_is_told() -> None:
    day = timedelta(days=1)
    young, old = (traffic([sent(at=NOW - age)]) for age in (day, day + timedelta(milliseconds=1)))
    assert (young.news, old.news) == (None, 0)
    assert "the ledger began 1 day ago" in lines(young)
    assert "0 destinations new since yesterday\n  the ledger begins at 2026-11-24 07:38:32 UTC\n" in lines(old)
    assert traffic_json(old)["everything_is_new"] is False
    assert "The ledger began" not in pack(old, [sent(at=NOW - 2 * day)])["README.txt"].decode()


NOBODY = Sender(known=Known.NOT)


def test_what_nobody_is_known_to_have_sent_is_no_program() -> None:
    yesterday = NOW - timedelta(days=2)
    flows = [
        *[sent(at=yesterday)] * 5,
        *[sent(NOBODY, uid=None, destination="203.0.113.7"), sent(NOBODY, uid=None, destination="203.0.113.8")] * 2,
        sent(Sender(known=Known.USER, user="www"), uid=48),
    ]
    shown = traffic(flows)
    assert [each.doer.program.executable for each in shown.activities] == ["/usr/bin/curl", ""]
    text = lines(shown)
    assert "10 left to 3 addresses" in text
    assert ", sent by 1 program and 1 sender whose program is not known\n" in text
    assert "  program known of 50.0%; nothing known of who sent 40.0%; 0 events lost\n" in text
    programs = text.partition("\nprograms\n")[2]
    assert "  4  not attributed: who sent it is not known (40.0%)\n      to 203.0.113.7 443/tcp, " in programs
    assert "  4  not known" not in programs
    value = traffic_json(shown)
    assert [each["known"] for each in value["programs"]] == ["socket", "user"]
    assert (value["not_attributed"]["count"], value["not_attributed"]["addresses"]) == (4, 2)
    assert value["not_attributed"]["first"] == "2026-11-25T06:38:33+00:00"
    made = page(shown, language="en", host="www1", version="1.0", zone=UTC).decode()
    table = made[made.index('id="programs"') : made.index('id="destinations"')]
    assert "<tr>" in table
    assert "not known" not in table.partition("</table>")[0]
    assert '<span lang="en">Not attributed: 4 connections (40.0%): nothing tells who sent them.</span>' in table
    assert '<span lang="ja">送信元不明: 4 件 (40.0%)。送信元が分からない接続は、この表にありません。</span>' in table
    packed = pack(shown, flows)
    assert len(packed["programs.csv"].splitlines()) == 3
    assert "of 5 of them, and nothing tells who sent 4; 0 events" in packed["README.txt"].decode()


def test_where_nobody_is_known_there_is_no_program() -> None:
    shown = traffic([sent(NOBODY, uid=None), sent(NOBODY, uid=None, at=NOW - timedelta(days=3))])
    text = lines(shown)
    assert "2 left to 1 address in 1 country\n" in text
    assert "program" not in text.partition("\ncountries\n")[0].replace("program known of 0.0%", "")
    assert traffic_json(shown)["programs"] == []
    assert traffic([sent()]).unattributed is None
    assert traffic_json(traffic([sent()]))["not_attributed"] is None


@pytest.mark.parametrize(
    ("who", "uid", "called"),
    [
        (Sender(known=Known.USER, user="www"), 48, "user www"),
        (Sender(known=Known.NOT), 48, "user 48"),
        (Sender(known=Known.NOT, unit="web.service"), None, "unit web.service"),
        (Sender(known=Known.NAMESPACE, container="web"), None, "container web"),
        (Sender(known=Known.SUSPECTS), None, "a raw socket"),
    ],
)
def test_of_whom_something_is_known_is_told_by_it(who: Sender, uid: int | None, called: str) -> None:
    shown = traffic([sent(who, uid=uid)])
    assert shown.unattributed is None
    assert f"\n  1  {called}\n" in lines(shown)


def test_what_is_not_known_is_said_to_be_so() -> None:
    raw = Sender(known=Known.SUSPECTS, suspects=("/usr/bin/nping (pid 7)",))
    text = lines(traffic([sent(raw, destination_port=None, protocol="ICMP"), sent(Sender(known=Known.NOT), uid=None)]))
    assert "a raw socket" in text
    assert "who could have been it: /usr/bin/nping (pid 7)" in text
    assert "program known of 0.0%" in text
    assert "not known" in text


def test_what_came_in_is_not_counted_among_what_left() -> None:
    coming = sent(direction=Direction.IN, source="203.0.113.9", destination="198.51.100.1", destination_port=22)
    shown = traffic([sent(), coming])
    assert (shown.left, len(shown.visitors)) == (1, 1)
    assert shown.visitors[0].endpoint.foreign == "203.0.113.9"
    assert "1 came in" in lines(shown)


def test_nothing_of_a_hostile_name_reaches_a_terminal() -> None:
    who = sender(f"/tmp/{HOSTILE}", unit=HOSTILE, user=HOSTILE, command=HOSTILE, container=HOSTILE, package=HOSTILE)
    suspects = Sender(known=Known.SUSPECTS, suspects=(HOSTILE,))
    shown = traffic(
        [sent(who), sent(suspects), sent(protocol=HOSTILE)], names={"203.0.113.2": HOSTILE}, remarks=[HOSTILE]
    )
    for line in traffic_lines(shown, UTC):
        assert line.isprintable()
    assert all(line.isprintable() for line in traffic_lines(traffic([], remarks=[HOSTILE]), UTC))
    assert json.loads(json.dumps(traffic_json(shown)))["programs"]


def test_where_only_the_log_told_nobody_knows_what_was_lost() -> None:
    flows = [sent()]
    shown = traffic(flows, only_log="10/s")
    assert "events lost: not known, the log is limited to 10/s" in lines(shown)
    assert traffic_json(shown)["lost"] is None
    made = page(shown, language="en", host="www1", version="1.0", zone=UTC).decode()
    assert '<dd><span lang="en">not known</span>' in made
    assert "the log is limited to 10/s: what was lost then is not known." in made
    assert "not known, as the log is limited to 10/s.\nThe ledger began" in pack(shown, flows)["README.txt"].decode()
    assert traffic_json(shown)["lost_is_all"] is False
    partly = traffic(flows, only_log="10/s", lost={NOW: 3})
    assert (traffic_json(partly)["lost"], traffic_json(partly)["lost_is_all"]) == (3, False)
    assert "; 3 events lost while watched, else not known, the log is limited to 10/s" in lines(partly)
    assert "3 events were lost while it was watched, and how many " in pack(partly, flows)["README.txt"].decode()


def test_whoever_watched_knows_what_was_lost(tmp_path: Path) -> None:
    made = world(tmp_path)
    now = datetime.now(UTC)
    with Ledger.open(path(made.state)) as ledger:
        record(ledger, [sent(at=now - timedelta(hours=1))])
        assert made.run("--json", "report").value["lost"] is None
        ledger.watched(now - timedelta(seconds=10), now)  # not when this went abroad
        assert made.run("--json", "report").value["lost"] is None
        ledger.watched(now - timedelta(hours=2), now - timedelta(minutes=30))
        assert made.run("--json", "report").value["lost"] is None
        ledger.watched(now - timedelta(minutes=28), now)
        value = made.run("--json", "report").value
        assert (value["lost"], value["lost_is_all"]) == (0, True)


SPECIAL = {
    "10.1.2.3": ("private", "プライベート"),
    "100.64.0.1": ("shared (CGN)", "共有 (CGN)"),
    "127.0.0.53": ("loopback", "ループバック"),
    "169.254.169.254": ("link-local", "リンクローカル"),
    "192.0.2.7": ("documentation", "文書・例示用"),
    "224.0.0.251": ("multicast", "マルチキャスト"),
    "255.255.255.255": ("broadcast", "ブロードキャスト"),
    "2002:c000:204::1": ("6to4", "6to4"),
    "fd00::1": ("unique-local", "ユニークローカル"),
    "fe80::1": ("link-local", "リンクローカル"),
    "ff02::fb": ("multicast", "マルチキャスト"),
}


@pytest.mark.parametrize("fetched", [True, False])
def test_an_address_for_a_special_purpose_is_called_what_it_is(tmp_path: Path, fetched: bool) -> None:  # noqa: FBT001
    made = world(tmp_path)
    assert not fetched or made.run("fetch").code == 0
    now = datetime.now(UTC) - timedelta(hours=2)
    coming = sent(at=now, direction=Direction.IN, source="192.168.9.9", destination_port=22)
    with Ledger.open(path(made.state)) as ledger:
        record(ledger, [coming, *[sent(at=now, destination=each) for each in (*SPECIAL, "203.0.113.9", "8.8.8.8")]])
    text = made.run("report").out
    for address, (english, _japanese) in SPECIAL.items():
        assert re.search(rf"  {re.escape(address)} +{re.escape(english)}  +443/tcp ", text), address
    assert re.search(r"  192.168.9.9 +private  +22/tcp ", text)
    assert re.search(r"  8.8.8.8 +\?\?  +443/tcp ", text)
    # what a registry has delegated is its country's; without its files the block is documentation
    assert re.search(rf"  203.0.113.9 +{'DE ripencc' if fetched else 'documentation'}  +443/tcp ", text)
    assert re.search(r"\n  multicast +2 ", text)
    assert f" in {'1 country' if fetched else '0 countries'}, " in text
    value = made.run("report", "--json").value
    assert {each["address"]: each["purpose"] for each in value["destinations"]} == {
        **{address: english for address, (english, _japanese) in SPECIAL.items()},
        "203.0.113.9": None if fetched else "documentation",
        "8.8.8.8": None,
    }
    assert {each["country"] for each in value["countries"] if each["purpose"]} == {"??"}
    assert sum(each["count"] for each in value["countries"]) == len(SPECIAL) + 2
    assert sum(value["programs"][0]["countries"].values()) == len(SPECIAL) + 2
    assert made.run("report", "--html", tmp_path / "page.html", "--evidence", tmp_path / "case").code == 0
    page = (tmp_path / "page.html").read_text()
    cells = dict(re.findall(r'<span class="address">([^<]*)</span>.*?</td><td data-k="[^"]*"><div>(.*?)</div>', page))
    for address, (english, japanese) in SPECIAL.items():
        assert cells[address] == f'<span lang="en">{english}</span><span lang="ja">{japanese}</span>', address
    assert "プライベート" in cells["192.168.9.9"]
    assert 'data-ja="不明"' in cells["8.8.8.8"]
    table = csv.DictReader(io.StringIO((tmp_path / "case/destinations.csv").read_text()))
    assert {row["address"]: row["purpose"] for row in table}["fd00::1"] == "unique-local"
    table = csv.DictReader(io.StringIO((tmp_path / "case/timeline.csv").read_text()))
    assert {row["address"]: row["purpose"] for row in table}["192.168.9.9"] == "private"
    (row,) = csv.DictReader(io.StringIO((tmp_path / "case/programs.csv").read_text()))
    assert {"multicast", "shared-(CGN)", "??"} <= set(row["countries"].split(" "))
    assert "  private  " in made.run("preview").out


def test_what_nobody_knows_the_country_of_is_in_none_and_a_sum_is_no_address() -> None:
    flows = [sent(destination="203.0.113.3"), sent(destination=""), sent(destination="203.0.113.4")]
    shown = traffic(flows)
    assert {each.where.country: each.addresses for each in shown.countries} == {"US": 1, "??": 1}
    assert "3 left to 2 addresses in 1 country" in lines(shown)
    assert shown.activities[0].addresses == 2


def test_who_came_in_has_a_country_in_the_timeline() -> None:
    flows = [sent(direction=Direction.IN, source="203.0.113.4")]
    (row,) = csv.DictReader(io.StringIO(pack(traffic(flows), flows)["timeline.csv"].decode()))
    assert row["country"] == "US"


def test_a_scan_is_summed_up_by_program_beyond_what_is_told_apart(
    place: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fwfeed.traffic.PAIRS", 5)
    now = datetime.now(UTC)
    scan = [sent(sender("/tmp/scan"), at=now, destination=f"203.0.113.{end}") for end in range(100, 150)]
    late = [sent(sender("/tmp/late"), at=now, destination="203.0.113.7", destination_port=port) for port in (1, 2)]
    often = [sent(sender("/usr/bin/curl"), at=now, destination="203.0.113.9")] * 60
    with Ledger.open(path(place.state)) as ledger:
        record(ledger, [*scan, *late, *often])
    value = place.run("--json", "report").value
    assert value["left"] == 2 + 50 + 2 + 60
    assert {each["executable"] for each in value["programs"]} >= {"/tmp/scan", "/tmp/late", "/usr/bin/curl"}
    assert value["destinations"][0]["address"] == "203.0.113.9"
    assert len([each for each in value["destinations"] if each["address"]]) == 5
    assert sum(each["count"] for each in value["destinations"] if not each["address"]) == 2 + 50 + 2 - 4
    assert "addresses and ports are told apart; 50 connections were to others" in value["remarks"][0]
    assert "told apart; 50 connections" in place.run("preview").out
    is_told_in_both(place, "50 connections were to others", "ほかに 50 件の接続")


def test_beyond_the_cap_countries_are_of_the_busiest(place: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fwfeed.reporting._PLACES", 1)
    with Ledger.open(path(place.state)) as ledger:
        record(ledger, [sent(at=datetime.now(UTC) - timedelta(hours=1), destination="2001:db8:2::7")])
    value = place.run("--json", "report").value
    assert {each["address"]: bool(each["registry"]) for each in value["destinations"]} == {
        "2001:db8:2::7": True,
        "203.0.113.2": False,
    }
    assert "the 1 busiest of 2 addresses" in value["remarks"][0]
    is_told_in_both(place, "the 1 busiest of 2 addresses", "全 2 アドレスのうち接続の多い 1 アドレス")


def test_why_countries_are_not_known_is_told_in_both_languages(place: World) -> None:
    delegations.path(place.state).write_bytes(b"damaged")
    is_told_in_both(place, "countries are not known: ", "国は不明です: ")


def test_why_the_candidate_is_not_known_is_told_in_both_languages(place: World) -> None:
    (place.state / "candidate" / "candidate.json").write_text("[1]", encoding="utf-8")
    is_told_in_both(place, "candidate.json", "候補を読み込めません: ")


def is_told_in_both(place: World, english: str, japanese: str) -> None:
    """Assert that the page has a remark in English, and in Japanese."""
    file = place.root / "page.html"
    assert place.run("report", "--html", file).code == 0
    made = file.read_text(encoding="utf-8")
    told = made.partition('<ul class="remarks">')[2].partition("</ul>")[0]
    both = re.findall(r'<span lang="en">(.*?)</span><span lang="ja">(.*?)</span>', told)
    assert any(english in one and japanese in other for one, other in both), told


def test_an_empty_ledger_says_what_to_do() -> None:
    assert "systemctl enable --now fwfeed-watch.service" in lines(traffic([]))
    assert traffic_json(traffic([]))["ledger_begins"] is None


def pack(shown: Traffic, flows: list[Sent]) -> dict[str, bytes]:
    basis = Basis(hashes={}, configuration=None, generation=None, version="1.0", host="www1")
    return evidence(shown, tallies(flows), basis, b"<html>")


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t=", "\uff1d", " =", '"=', "'="])
def test_no_cell_of_the_evidence_is_a_formula(begin: str) -> None:
    text = f"{begin}HYPERLINK(1)"
    assert inert(text)[0] in "'?"
    flows = [sent(sender(text, unit=text, user=text, command=text, package=text), protocol=text)]
    for name, raw in pack(traffic(flows, names={"203.0.113.2": text}), flows).items():
        if name.endswith(".csv"):
            for row in csv.reader(io.StringIO(raw.decode())):
                assert not [cell for cell in row if cell.lstrip(' "').startswith(tuple("=+-@\uff1d"))]


def test_evidence_has_every_flow_in_its_tables() -> None:
    flows = week(400)
    shown = traffic(flows)
    packed = pack(shown, flows)
    for name in ("timeline.csv", "destinations.csv", "programs.csv"):
        table = list(csv.DictReader(io.StringIO(packed[name].decode())))
        unknown = 0
        if name == "programs.csv" and shown.unattributed is not None:
            unknown = shown.unattributed.seen.count
        assert sum(int(row["connections"]) for row in table) + unknown == len(flows), name


@pytest.fixture
def place(tmp_path: Path) -> World:
    """A world with places, and a ledger: an hour old, with a program that is there."""
    made = world(tmp_path)
    assert made.run("fetch").code == 0
    program = tmp_path / "miner"
    program.write_bytes(b"#!/bin/sh\n")
    now = datetime.now(UTC)
    with Ledger.open(path(made.state)) as ledger:
        record(
            ledger,
            [
                sent(sender(str(program), unit="evil.service", command="miner -o <pool>"), at=now - timedelta(hours=1)),
                sent(at=now - timedelta(days=3), destination="2001:db8:2::7"),
                sent(at=now - timedelta(days=20)),
            ],
        )
        ledger.lost(5, now)
    return made


def test_the_command_reports_with_countries_of_the_registries(place: World) -> None:
    done = place.run("report")
    assert (done.code, remarks(done)) == (0, [])
    assert "2 left to 2 addresses in 1 country" in done.out
    assert "DE ripencc" in done.out
    assert "unit evil.service" in done.out
    assert "5 events lost" in done.out
    value = place.run("--json", "report").value
    assert {each["delegated"] for each in value["destinations"]} == {"203.0.113.0/24", "2001:db8:2::/48"}
    assert value["lost"] == 5


def test_a_program_has_the_package_that_owns_its_file(
    place: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """rpm is a stand-in, which notes what it was asked of."""
    rpm = tmp_path / "tools/rpm"
    rpm.parent.mkdir()
    rpm.write_text(f'#!/bin/sh\nfor last; do :; done\necho "$last" >>"{tmp_path}/asked"\necho curl-8.9.1-5.el10\n')
    rpm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{rpm.parent}:/usr/bin:/bin")
    executables.owner.cache_clear()
    with Ledger.open(path(place.state)) as ledger:
        now = datetime.now(UTC)
        record(ledger, [sent(sender("/usr/bin/curl"), at=now), sent(sender("/app/x", container="web"), at=now)])
    programs = {each["executable"]: each["package"] for each in place.run("--json", "report").value["programs"]}
    executables.owner.cache_clear()
    assert (programs["/usr/bin/curl"], programs["/app/x"]) == ("curl-8.9.1-5.el10", "")
    asked = (tmp_path / "asked").read_text().split()
    assert "/usr/bin/curl" in asked
    assert "/app/x" not in asked


def test_new_is_what_the_whole_ledger_did_not_have_before_yesterday(place: World) -> None:
    with Ledger.open(path(place.state)) as ledger:
        late = datetime.now(UTC) - timedelta(hours=2)
        came = sent(Sender(known=Known.NOT), at=late - timedelta(days=3), source="203.0.113.9", direction=Direction.IN)
        record(ledger, [came])
        record(ledger, [sent(at=late, destination="203.0.113.9"), sent(at=late, destination="2001:db8:2::7")])
    value = place.run("--json", "report").value
    # who came in three days ago was no destination;
    # 203.0.113.2 was there 20 days ago, before the time of this report
    assert {each["address"] for each in value["destinations"] if each["new"]} == {"203.0.113.9"}
    assert [each["unit"] for each in value["programs"] if each["new"]] == ["evil.service"]


def test_it_looks_as_far_back_as_it_is_asked_to(place: World) -> None:
    assert [place.run("--json", "report", "--since", since).value["left"] for since in ("2h", "7d", "30d", "off")] == [
        1,
        2,
        3,
        3,
    ]
    assert place.run("report", "--since", "yesterday").code == 2


def test_the_command_writes_a_page_for_its_owner_alone(place: World, tmp_path: Path) -> None:
    file = tmp_path / "new/report.html"
    done = place.run("report", "--html", file, "--lang", "ja")
    assert (done.code, done.out) == (0, "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text()
    assert '<html lang="ja"' in text
    assert "miner -o &lt;pool&gt;" in text
    assert "<pool>" not in text


def test_the_command_packs_evidence(place: World, tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    assert place.run("report", "--evidence", folder).code == 0
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    programs = list(csv.DictReader(io.StringIO((folder / "programs.csv").read_text())))
    miner = next(row for row in programs if row["unit"] == "evil.service")
    assert miner["sha256"] == hashlib.sha256(b"#!/bin/sh\n").hexdigest()
    assert (folder / "fwfeed.toml").read_bytes() == place.config.read_bytes()
    provenance = json.loads((folder / "provenance.json").read_text())
    assert [source["name"] for source in provenance["candidate"]["sources"]] == ["apnic", "ripencc"]
    assert {path.name for path in folder.iterdir()} == {
        "README.txt",
        "report.html",
        "timeline.csv",
        "destinations.csv",
        "programs.csv",
        "fwfeed.toml",
        "provenance.json",
        "SHA256SUMS",
    }


def test_evidence_goes_into_an_empty_folder_and_no_other(place: World, tmp_path: Path) -> None:
    empty, full, link, file = (tmp_path / name for name in ("empty", "full", "link", "file"))
    empty.mkdir()
    full.mkdir()
    (full / "mine").write_text("mine")
    link.symlink_to(empty)
    file.write_text("mine")
    before = snapshot(full)
    for refused in (full, link, file):
        done = place.run("report", "--evidence", refused)
        assert done.code == 1
        assert "is there already" in done.err
    assert snapshot(full) == before
    assert file.read_text() == "mine"
    assert not list(empty.iterdir())
    assert place.run("report", "--evidence", empty).code == 0
    assert (empty / "SHA256SUMS").exists()


def test_a_program_that_is_a_pipe_does_not_hold_up_the_evidence(place: World, tmp_path: Path) -> None:
    (tmp_path / "miner").unlink()
    subprocess.run(["mkfifo", tmp_path / "miner"], check=True)
    assert place.run("report", "--evidence", tmp_path / "evidence").code == 0
    assert "not a regular file" in (tmp_path / "evidence/programs.csv").read_text()


@pytest.mark.parametrize("broken", ["/proc/version", "/proc/self/mem"])
def test_what_the_kernel_makes_up_is_not_read_for_a_sum(broken: str) -> None:
    assert executables.digest(os.path.realpath(broken)) == ("", "empty, or no file of a disk")


def test_of_what_a_link_leads_to_by_now_nothing_is_opened_and_nobody_is_said_to_own_it(
    place: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where somebody has put a link to /dev/watchdog, or to dnf, in the place of what he ran."""
    (tmp_path / "miner").unlink()
    device = Path("/dev/null")
    (tmp_path / "miner").symlink_to(device)
    (tmp_path / "real").mkdir()
    (tmp_path / "real/dnf").write_bytes(b"1")
    (tmp_path / "folder").symlink_to("real")
    opened: list[str] = []
    real = os.open

    def spied(path: str, *how: int) -> int:
        opened.append(path)
        return real(path, *how)

    monkeypatch.setattr("os.open", spied)
    for linked in (tmp_path / "miner", tmp_path / "folder/dnf"):
        assert executables.digest(str(linked)) == ("", "a link leads elsewhere from there by now")
        assert executables.owner(str(linked)) == ""
    assert opened == []
    assert executables.digest(str(device)) == ("", "not a regular file of at most 1,024 MiB")
    assert executables.digest(str(tmp_path / "real/dnf")) == (hashlib.sha256(b"1").hexdigest(), "")


def test_on_a_host_without_rpm_nothing_is_owned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    executables.owner.cache_clear()
    assert executables.owner("/usr/bin/env") == ""
    executables.owner.cache_clear()


def test_a_disk_that_fails_is_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_read: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    (tmp_path / "miner").write_bytes(b"1")
    monkeypatch.setattr("fwfeed.attribution.executables._blocks", fail)
    assert executables.digest(str(tmp_path / "miner")) == ("", "cannot be read: Input/output error")


def test_without_a_ledger_it_says_what_to_do_and_makes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)  # root makes one, of the log
    made = world(tmp_path)
    for command in ("report", "preview"):
        done = made.run(command)
        assert done.code == 0
        assert "fwfeed-watch.service" in done.out
    assert not made.state.exists()


def test_without_places_it_reports_all_the_same(place: World) -> None:
    (place.state / "candidate/delegations.sqlite").write_bytes(b"broken")
    done = place.run("report")
    assert done.code == 0
    assert "countries are not known" in done.out
    assert "unit evil.service" in done.out


def test_a_damaged_ledger_is_an_error_with_a_way_out(place: World) -> None:
    for each in place.state.glob("ledger.sqlite*"):
        each.write_bytes(b"broken" * 999)
    done = place.run("report")
    assert done.code == 1
    assert "damaged" in done.err
    assert "move it aside" in done.err


def test_without_root_an_error_is_all_that_is_said(place: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    for command in ("report", "preview"):
        assert "without root" in place.run(command).err
    path(place.state).unlink()
    path(place.state).mkdir()
    for command in ("report", "preview"):
        done = place.run(command)
        assert done.code == 1
        assert "cannot write" in done.err
        assert "without root" not in done.err


def test_names_are_asked_for_only_on_request(place: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(address: str) -> tuple[str, list[str], list[str]]:
        asked.append(address)
        return ("host.example.net" if ":" in address else "<b>\x1b[31m", [], [])

    monkeypatch.setattr("socket.gethostbyaddr", answer)
    place.run("report")
    assert asked == []
    done = place.run("report", "--names")
    assert sorted(asked) == ["2001:db8:2::7", "203.0.113.2"]
    assert "host.example.net" in done.out
    assert "<b>" not in done.out


def test_a_resolver_that_does_not_answer_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading
    import time

    ended = threading.Event()

    def answer(address: str) -> tuple[str, list[str], list[str]]:
        if address != "203.0.113.1":
            ended.wait(120)
        return ("host.example.net", [], [])

    monkeypatch.setattr("socket.gethostbyaddr", answer)
    began = time.monotonic()
    assert names.reverse([f"203.0.113.{end}" for end in range(1, 90)], 3) == {"203.0.113.1": "host.example.net"}
    assert time.monotonic() - began < 60
    ended.set()
