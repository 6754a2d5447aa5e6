"""What a gate holds, from end to end: kept beside, shown, and let through or dropped, while what is live stays."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network
from pathlib import Path

import pytest

from fwfeed import config, review
from fwfeed.apply.plan import plan
from fwfeed.compile import recipe
from fwfeed.errors import FwfeedError
from fwfeed.fetch import file_name
from fwfeed.gates import moving
from fwfeed.model import Generation, Outcome
from fwfeed.prefixes import Family, count
from fwfeed.refresh import refresh
from fwfeed.store import candidates, manifests
from fwfeed.store.cache import Cache
from fwfeed.store.files import Staging
from fwfeed.store.generations import Generations
from tests.unit.builders import GERMANY, Ended, World, delegated, snapshot, world

APNIC, RIPENCC = file_name("apnic"), file_name("ripencc")
ALL = 40  # of so many pieces of 64 addresses each, Japan is made in apnic's file
CUT = 28  # 30 % less
OF_SET = "IPv4: the set would shrink by 29.3%, from 2,624 to 1,856 addresses; allowed is 10.0%"
OF_PART = "IPv4: what apnic delegates to JP would shrink by 30.0%, from 2,560 to 1,792 addresses; allowed is 10.0%"
ELSEWHERE = "JP|ipv4|192.0.2.0|64|20120101|assigned"  # ripencc has a little of Japan, too


def piece(number: int) -> str:
    return f"JP|ipv4|198.18.{number // 2}.{number % 2 * 128}|64|20100101|allocated"


def apnic(pieces: int | Iterable[int], *more: str, serial: int = 1) -> bytes:
    """Write a delegated file in which all counts are right; Japan's pieces do not touch each other."""
    numbers = range(pieces) if isinstance(pieces, int) else pieces
    return delegated(
        "apnic", [*map(piece, numbers), "JP|ipv6|2001:db8:1::|48|20100101|allocated", *more], serial=serial
    )


def ripencc(*more: str, serial: int = 1) -> bytes:
    return delegated("ripencc", [*GERMANY, *more], serial=serial)


@pytest.fixture
def made(tmp_path: Path) -> World:
    """A world that has fetched a good set."""
    made = world(tmp_path)
    made.publish("apnic", apnic(ALL))
    made.publish("ripencc", ripencc(ELSEWHERE))
    ended = made.run("fetch")
    assert (ended.code, ended.err) == (0, ""), ended
    return made


@pytest.fixture
def holding(made: World) -> World:
    """The same world a night later: a gate holds."""
    made.publish("apnic", apnic(CUT, serial=2))
    assert made.run("fetch").code == 3
    return made


def settings(made: World) -> config.Config:
    return config.parse(made.config.read_text(), file="fwfeed.toml")


def live(made: World) -> dict[str, tuple[bytes | None, int]]:
    """Return all that is accepted: content and time of each file, without what is held."""
    held = (str(candidates.held_folder(made.state)), str(Cache(made.cache).held.root))
    everything = snapshot(made.cache, made.state, folders=False)
    return {path: what for path, what in everything.items() if not path.startswith(held)}


def held(made: World) -> dict[str, tuple[bytes | None, int]]:
    return snapshot(candidates.held_folder(made.state), Cache(made.cache).held.root, folders=False)


def assert_nothing_held(made: World) -> None:
    assert not candidates.held_folder(made.state).exists()
    assert not Cache(made.cache).held.root.exists()
    assert made.run("status", "--json").value["held"] is None
    assert "held" not in made.run("status").out


def assert_consistent(made: World, raw: bytes, pieces: int) -> None:
    """Check that cache, candidate and database all speak of one file of apnic's."""
    assert (made.cache / "apnic" / APNIC).read_bytes() == raw
    found = candidates.load(made.state)
    digest = manifests.digest(raw)
    assert next(source.sha256 for source in found.sources if source.name == "apnic") == digest
    accepted = Cache(made.cache).accepted("apnic")
    assert accepted is not None
    assert accepted.source.sha256 == digest
    inside, outside = (piece(number).split("|")[2] for number in (pieces - 1, pieces))
    looked = made.run("lookup", "--json", inside, outside).value
    assert [(bool(each["delegations"]), each["prefix"] is not None) for each in looked] == [
        (True, True),
        (False, False),
    ]


def assert_held(ended: Ended, gate: str, *reasons: str) -> None:
    """Check what a held fetch says: these reasons of this gate, and the way out."""
    assert ended.code == 3, ended
    *told, way_out = ended.err.splitlines()
    assert told == [f"fwfeed: held by gate {gate}: {reason}" for reason in reasons]
    assert way_out == (
        "fwfeed: way out: what is live stays; see the change: fwfeed diff; if it is right: fwfeed approve"
    )


def gates_of(ended: Ended) -> list[str]:
    assert ended.code == 3, ended
    return [line.split()[4].rstrip(":") for line in ended.err.splitlines() if " held by gate " in line]


# Holding


def test_a_cut_of_30_percent_is_held_beside_and_what_is_live_stays_to_the_byte(made: World) -> None:
    before, listed = live(made), made.run("list").out
    raw = apnic(CUT, serial=2)
    made.publish("apnic", raw)
    assert_held(made.run("fetch"), "max_shrink", OF_SET, OF_PART)
    assert live(made) == before
    assert made.run("list").out == listed
    assert {str(Path(path).relative_to(made.root)) for path in held(made)} == {
        "state/candidate/held/candidate.json",
        "state/candidate/held/delegations.sqlite",
        f"cache/.held/apnic/{APNIC}",
        f"cache/.held/apnic/{APNIC}.md5",
        "cache/.held/apnic/meta.json",
    }
    assert (made.cache / ".held/apnic" / APNIC).read_bytes() == raw
    kept = candidates.find_held(made.state)
    assert kept is not None
    assert count(kept.ranges(Family.IPV4)) == (CUT + 1) * 64


def test_fetch_prints_what_is_live_and_as_json_what_is_held_too(made: World) -> None:
    accepted = made.run("fetch").out
    made.publish("apnic", apnic(CUT, serial=2))
    assert made.run("fetch").out == accepted
    printed = made.run("fetch", "--json").value
    assert printed["addresses"]["4"] == (ALL + 1) * 64
    assert [verdict["gate"] for verdict in printed["held"]["verdicts"]] == ["max_shrink", "max_shrink"]
    assert datetime.fromisoformat(printed["held"]["compiled"]).tzinfo is not None


def test_status_shows_what_is_held_and_why_and_the_ways_on(holding: World) -> None:
    shown = holding.run("status")
    assert shown.code == 0
    lines = shown.out.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("  WARNING: held by a gate since "))
    assert lines[first + 1 : first + 4] == [
        f"    {OF_SET}",
        f"    {OF_PART}",
        "    way out: see the change: fwfeed diff; if it is right: fwfeed approve",
    ]
    assert "set JP (IPv4):     41 prefixes,           2,624 addresses" in holding.run("status", "-v").out, (
        "what is live"
    )
    value = holding.run("status", "--json").value
    assert value["candidate"]["addresses"]["4"] == 2624
    assert [verdict["gate"] for verdict in value["held"]["verdicts"]] == ["max_shrink", "max_shrink"]
    assert value["held"]["verdicts"][1]["reason"].startswith("IPv4: what apnic delegates to JP would shrink by 30.0%")


def test_looking_at_it_moves_nothing(holding: World) -> None:
    before = snapshot(holding.root)
    for command in (["status"], ["diff"], ["diff", "--json"], ["list"], ["render", "--dry-run"]):
        assert holding.run(*command).code == 0
    assert snapshot(holding.root) == before


def test_the_same_on_the_next_night_is_still_held_and_nothing_is_rewritten(holding: World) -> None:
    before, beside = live(holding), held(holding)
    first = holding.run("fetch")
    assert gates_of(first) == ["max_shrink", "max_shrink"]
    assert (live(holding), held(holding)) == (before, beside)
    assert holding.run("fetch") == first


def test_what_has_no_date_of_its_own_is_not_rewritten_on_the_next_day_either(made: World) -> None:
    offices = made.root / "offices"
    offices.write_text("".join(f"198.19.{number}.0/24\n" for number in range(10)))
    feed = f'[[feed]]\nname = "offices"\nurl = "{offices.as_uri()}"\n'
    made.configure(set_table='include = ["offices"]', sources='max_age = "off"', more=feed)
    now = datetime.now(UTC)
    assert refresh(settings(made), now=now, tell=lambda _: None).verdicts == ()
    offices.write_text("198.19.0.0/24\n")
    assert refresh(settings(made), now=now, tell=lambda _: None).verdicts != ()
    beside = held(made)
    assert refresh(settings(made), now=now + timedelta(days=1), tell=lambda _: None).verdicts != ()
    assert held(made) == beside


def test_a_revert_of_the_publisher_drops_what_is_held(holding: World) -> None:
    before = live(holding)
    holding.publish("apnic", apnic(ALL))
    ended = holding.run("fetch")
    assert (ended.code, ended.err) == (0, "nothing changed\n")
    assert_nothing_held(holding)
    assert live(holding) == before


def test_another_change_that_is_held_takes_the_place_of_the_first_without_leftovers(holding: World) -> None:
    before = live(holding)
    holding.publish("apnic", apnic(ALL))
    holding.publish("ripencc", ripencc(serial=2))
    assert gates_of(holding.run("fetch")) == ["max_shrink"]
    assert {Path(path).parent.name for path in held(holding)} == {"held", "ripencc"}, "apnic's is held no more"
    assert live(holding) == before
    assert holding.run("diff", "--json").value["families"]["4"]["removed"] == ["192.0.2.0/26"]


def test_a_good_change_while_something_was_held_is_accepted_and_what_was_held_is_dropped(holding: World) -> None:
    raw = apnic(ALL - 1, serial=3)
    holding.publish("apnic", raw)
    ended = holding.run("fetch")
    assert (ended.code, ended.err) == (0, "")
    assert_nothing_held(holding)
    assert_consistent(holding, raw, ALL - 1)


def test_what_is_held_outlasts_a_night_on_which_its_publisher_cannot_be_reached(holding: World) -> None:
    before, beside = live(holding), held(holding)
    shutil.move(holding.published, holding.root / "unreachable")
    ended = holding.run("fetch")
    assert ended.code == 3
    assert "the file accepted last" in ended.err
    refusals = str(holding.state / "candidate/refusals.json")
    assert {path: what for path, what in live(holding).items() if path != refusals} == before
    assert held(holding) == beside
    assert holding.run("approve").code == 0
    assert_consistent(holding, apnic(CUT, serial=2), CUT)


def test_what_is_held_does_not_reach_those_who_take_the_cache_for_a_mirror(holding: World, tmp_path: Path) -> None:
    other = World(tmp_path / "other")
    other.root.mkdir()
    other.configure(sources=f'mirrors = ["{holding.cache.as_uri()}/{{registry}}"]')  # its own URLs have nothing
    assert other.run("fetch").code == 0
    assert (other.cache / "apnic" / APNIC).read_bytes() == apnic(ALL)
    assert other.run("list").out == holding.run("list").out


def test_the_serial_of_a_file_that_is_held_does_not_shut_out_true_ones(made: World) -> None:
    far = int(f"{datetime.now(UTC) + timedelta(days=1):%Y%m%d}")
    made.publish("apnic", apnic(CUT, serial=far))
    assert made.run("fetch").code == 3
    raw = apnic(ALL - 1, serial=2)
    made.publish("apnic", raw)
    ended = made.run("fetch")
    assert (ended.code, ended.err) == (0, "")
    assert_consistent(made, raw, ALL - 1)


# Every gate


def test_growth_is_held(made: World) -> None:
    before = live(made)
    made.publish("apnic", apnic(ALL + 20, serial=2))
    assert_held(
        made.run("fetch"),
        "max_growth",
        "IPv4: the set would grow by 48.8%, from 2,624 to 3,904 addresses; allowed is 25.0%",
        "IPv4: what apnic delegates to JP would grow by 50.0%, from 2,560 to 3,840 addresses; allowed is 25.0%",
    )
    assert live(made) == before


def test_a_part_of_a_registry_that_vanishes_is_held_however_small_its_share_of_the_set(made: World) -> None:
    before = live(made)
    made.publish("ripencc", ripencc(serial=2))
    assert_held(
        made.run("fetch"),
        "max_shrink",
        "IPv4: what ripencc delegates to JP would shrink by 100.0%, from 64 to 0 addresses; allowed is 10.0%",
    )
    assert live(made) == before


def test_what_the_configuration_gives_does_not_hide_how_far_the_rest_moves(made: World) -> None:
    made.configure(set_table='include = ["198.19.0.0/16"]')
    assert made.run("fetch").code == 0
    before = live(made)
    made.publish("apnic", apnic(CUT, serial=2))
    assert_held(made.run("fetch"), "max_shrink", OF_SET, OF_PART)
    assert live(made) == before


def test_ipv6_is_held_by_itself(made: World) -> None:
    before = live(made)
    half = "JP|ipv6|2001:db8:1::|49|20100101|allocated"
    made.publish("apnic", delegated("apnic", [*map(piece, range(ALL)), half], serial=2))
    ended = made.run("fetch")
    assert gates_of(ended) == ["max_shrink", "max_shrink"]
    assert "IPv6: what apnic delegates to JP would shrink by 50.0%" in ended.err
    assert "IPv4" not in ended.err
    assert live(made) == before


def test_the_part_of_a_feed_is_held(made: World) -> None:
    offices = made.root / "offices"
    offices.write_text("198.19.1.0/26\n198.19.2.0/26\n")
    feed = f'[[feed]]\nname = "offices"\nurl = "{offices.as_uri()}"\n'
    made.configure(set_table='include = ["offices"]', more=feed)
    assert made.run("fetch").code == 0
    before = live(made)
    offices.write_text("198.19.1.0/26\n")
    assert_held(
        made.run("fetch"),
        "max_shrink",
        "IPv4: feed offices would shrink by 50.0%, from 128 to 64 addresses; allowed is 10.0%",
    )
    assert live(made) == before
    assert (made.cache / ".held/offices/offices").read_text() == "198.19.1.0/26\n"
    assert "  offices                  128 -> 64 addresses (-50.0%)" in made.run("diff").out.splitlines()
    assert made.run("approve").code == 0
    assert (made.cache / "offices/offices").read_text() == "198.19.1.0/26\n"
    assert made.run("fetch").err == "nothing changed\n"


def test_an_attack_in_the_night_of_a_change_of_the_configuration_is_held(made: World) -> None:
    before = live(made)
    made.configure(set_table='name = "JP"\ncountries = ["JP", "DE"]\ninclude = []')
    made.publish("apnic", apnic(CUT, serial=2))
    assert_held(made.run("fetch"), "max_shrink", OF_PART)
    assert live(made) == before
    shown = made.run("diff").out.splitlines()
    assert "  JP, apnic                2,560 -> 1,792 addresses (-30.0%)" in shown
    assert "  DE, ripencc              0 -> 256 addresses" in shown


def test_a_change_of_the_configuration_alone_is_not_held(made: World) -> None:
    made.configure(set_table='countries = ["DE"]\ninclude = []')
    assert made.run("fetch").code == 0
    assert made.run("list", "--family", "4").out == "203.0.113.0/24\n"


def test_the_first_candidate_ever_can_be_held_and_approved(tmp_path: Path) -> None:
    made = world(tmp_path)
    raw = apnic(ALL, "JP|ipv4|198.19.0.0|65536|20240101|allocated")
    made.publish("apnic", raw)
    made.configure(more='[gates]\nmax_space = "0.001%"')
    ended = made.run("fetch")
    assert gates_of(ended) == ["max_space"]
    assert "IPv4: the set would hold 0.0% of the address space" in ended.err
    assert ended.out == ""
    assert made.run("fetch", "--json").value["compiled"] is None
    assert made.run("list").code == 1, "there is none yet"
    assert made.run("status", "--json").value["candidate"] is None
    shown = made.run("diff").out.splitlines()
    assert shown[0].endswith(" against no candidate")
    assert shown[1] == "set JP (IPv4): 0 -> 68,096 addresses"
    assert "+ 198.19.0.0/16" in shown
    assert made.run("approve").code == 0
    assert_nothing_held(made)
    assert_consistent(made, raw, ALL)
    assert made.run("fetch").err == "nothing changed\n"
    assert made.run("list", "--family", "4").out.endswith("\n198.19.0.0/16\n")


# diff


def addresses(networks: Iterable[str]) -> set[int]:
    return {int(address) for text in networks for address in IPv4Network(text)}


def subnets(networks: Iterable[str]) -> set[IPv6Network]:
    return {subnet for text in networks for subnet in IPv6Network(text).subnets(new_prefix=64)}


def test_diff_shows_numbers_and_each_origin_and_exact_prefixes(holding: World) -> None:
    shown = holding.run("diff")
    assert (shown.code, shown.err) == (0, "")
    lines = shown.out.splitlines()
    assert lines[0].startswith("the held candidate of ")
    assert " against the accepted candidate of " in lines[0]
    gone = [f"- 198.18.{number // 2}.{number % 2 * 128}/26" for number in range(CUT, ALL)]
    assert lines[1:-2] == [
        "set JP (IPv4): 2,624 -> 1,856 addresses (-29.3%)",
        "  JP, apnic                2,560 -> 1,792 addresses (-30.0%)",
        *gone,
        "set JP6 (IPv6): 1.21e+24 -> 1.21e+24 addresses",
    ]
    assert [line[:28] for line in lines[-2:]] == ["HELD by gate max_shrink: IPv"] * 2


def test_diff_of_what_does_not_differ_says_so(made: World) -> None:
    install(made)
    ended = made.run("diff")
    assert (ended.code, ended.err) == (0, "")
    head, *lines = ended.out.splitlines()
    assert head.endswith(" against generation 1")
    assert lines == [
        "set JP (IPv4): 2,624 -> 2,624 addresses",
        "set JP6 (IPv6): 1.21e+24 -> 1.21e+24 addresses",
        "no difference",
    ]
    made.publish("apnic", apnic(ALL - 1, serial=2))
    assert made.run("fetch").code == 0
    assert "no difference" not in made.run("diff").out


def test_diff_says_the_same_as_json(holding: World) -> None:
    value = holding.run("diff", "--json").value
    assert value["families"]["4"] == {
        "addresses": {"before": 2624, "after": 1856},
        "parts": [{"source": "apnic", "term": "JP", "excluded": False, "before": 2560, "after": 1792}],
        "added": [],
        "removed": [f"198.18.{number // 2}.{number % 2 * 128}/26" for number in range(CUT, ALL)],
    }
    assert value["families"]["6"] == {
        "addresses": {"before": 1 << 80, "after": 1 << 80},
        "parts": [],
        "added": [],
        "removed": [],
    }
    assert [verdict["gate"] for verdict in value["held"]] == ["max_shrink", "max_shrink"]


@pytest.mark.parametrize("seed", range(10))
def test_diff_shows_what_a_naive_oracle_finds(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    made = world(tmp_path)
    made.configure(
        set_table='include = ["192.0.2.0/25"]\nexclude = ["198.18.2.0/25", "2001:db8:1:100::/56"]',
        more='[gates]\nmax_shrink = "0%"\nmax_growth = "0%"',
    )
    slots4 = [f"198.18.{number // 4}.{number % 4 * 64}" for number in range(32)]
    slots6 = [f"2001:db8:1:{number * 64:x}::" for number in range(1, 16)]

    def night(serial: int) -> tuple[set[int], set[IPv6Network], dict[str, int]]:
        """Publish something random, and return what the set is then, and how much IPv4 each registry gives."""
        ipv4: set[int] = set()
        ipv6: set[IPv6Network] = set()
        given = {}
        for name in ("apnic", "ripencc"):
            # not a power of two: these registries delegate what is no prefix
            sizes = {at: dice.randrange(1, 65) for at in dice.sample(slots4, 8)}
            networks = [f"{at}/{dice.randrange(58, 65)}" for at in dice.sample(slots6, 4)]
            records = [f"JP|ipv4|{at}|{size}|20100101|allocated" for at, size in sorted(sizes.items(), key=_place)]
            records += (f"JP|ipv6|{each.replace('/', '|')}|20100101|allocated" for each in sorted(networks, key=_place))
            made.publish(name, delegated(name, records, serial=serial))
            mine = {int(ip_address(at)) + offset for at, size in sizes.items() for offset in range(size)}
            given[name] = len(mine)
            ipv4 |= mine
            ipv6 |= subnets(networks)
        ipv4 = (ipv4 | addresses(["192.0.2.0/25"])) - addresses(["198.18.2.0/25"])
        return ipv4, ipv6 - subnets(["2001:db8:1:100::/56"]), given

    old4, old6, gave = night(1)
    assert made.run("fetch").code == 0
    new4, new6, gives = night(2)
    assert made.run("fetch").code == 3
    families = made.run("diff", "--json").value["families"]
    assert families["4"]["addresses"] == {"before": len(old4), "after": len(new4)}
    assert families["6"]["addresses"] == {"before": len(old6) << 64, "after": len(new6) << 64}
    for key, more, less in (("added", new4, old4), ("removed", old4, new4)):
        naive4 = collapse_addresses(IPv4Network(address) for address in more - less)
        assert families["4"][key] == [str(network) for network in naive4]
    for key, more6, less6 in (("added", new6, old6), ("removed", old6, new6)):
        assert families["6"][key] == [str(network) for network in collapse_addresses(more6 - less6)]
    moves = {each["source"]: (each["before"], each["after"]) for each in families["4"]["parts"] if not each["excluded"]}
    assert moves == {name: (gave[name], gives[name]) for name in gave if gave[name] != gives[name]}


def _place(record: object) -> int:
    text = record[0] if isinstance(record, tuple) else str(record)
    return int(ip_network(text, strict=False).network_address)


# approve


def test_approve_makes_what_is_held_the_accepted(holding: World) -> None:
    beside = held(holding)
    germany = (holding.cache / "ripencc" / RIPENCC).stat().st_mtime_ns
    ended = holding.run("approve")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == (f"approved: {OF_SET}\napproved: {OF_PART}\nthe next apply takes it; now: fwfeed apply\n")
    assert_nothing_held(holding)
    assert_consistent(holding, apnic(CUT, serial=2), CUT)
    now = {path: content for path, (content, _) in live(holding).items()}
    for path, (content, _) in beside.items():
        assert now[path.replace("/candidate/held/", "/candidate/").replace("/.held/", "/")] == content
    assert not [path for path in now if "fwfeed-" in Path(path).name], "no temporary file is left"
    assert (holding.cache / "ripencc" / RIPENCC).stat().st_mtime_ns == germany
    before = live(holding)
    quiet = holding.run("fetch")
    assert (quiet.code, quiet.err) == (0, "nothing changed\n")
    assert live(holding) == before


def test_approve_says_as_json_what_it_overruled(holding: World) -> None:
    reasons = holding.run("diff", "--json").value["held"]
    assert holding.run("approve", "--json").value == {"approved": reasons}
    assert holding.run("approve", "--json").value == {"approved": []}


def test_approve_where_nothing_is_held_says_so_and_changes_nothing(made: World) -> None:
    before = snapshot(made.root)
    ended = made.run("approve")
    assert (ended.code, ended.out, ended.err) == (0, "nothing is held\n", "")
    assert snapshot(made.root) == before


def test_approve_before_the_first_fetch_names_the_way_out(tmp_path: Path) -> None:
    ended = world(tmp_path).run("approve")
    assert ended.code == 1
    assert ended.err.endswith("does not exist yet\nfwfeed: way out: run: fwfeed fetch\n")


def test_approve_takes_what_is_held_even_where_wider_gates_would_let_it_through_by_now(holding: World) -> None:
    holding.configure(more='[gates]\nmax_shrink = "50%"')
    ended = holding.run("approve")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "the next apply takes it; now: fwfeed apply\n", "status says that something is held"
    assert_nothing_held(holding)
    assert_consistent(holding, apnic(CUT, serial=2), CUT)


def test_an_approval_is_for_exactly_these_sets(holding: World) -> None:
    assert holding.run("approve").code == 0
    before = live(holding)
    holding.publish("apnic", apnic(CUT // 2, serial=3))
    assert gates_of(holding.run("fetch")) == ["max_shrink", "max_shrink"]
    assert live(holding) == before
    holding.publish("apnic", apnic(ALL, serial=4))
    assert gates_of(holding.run("fetch")) == ["max_growth", "max_growth"], "and the way back is a change too"
    assert live(holding) == before


def test_an_approval_of_the_same_size_but_other_addresses_is_none(holding: World) -> None:
    review.approve(settings(holding), now=datetime.now(UTC))
    holding.publish("apnic", apnic(range(ALL - CUT, ALL), serial=3))
    before = live(holding)
    assert gates_of(holding.run("fetch")) == ["max_shrink", "max_shrink"]
    assert live(holding) == before


def test_the_next_fetch_takes_what_was_approved_where_a_crash_came_before_it_took_its_place(holding: World) -> None:
    review.approve(settings(holding), now=datetime.now(UTC))
    ended = holding.run("fetch")
    assert (ended.code, ended.err) == (0, "")
    assert_nothing_held(holding)
    assert_consistent(holding, apnic(CUT, serial=2), CUT)
    assert holding.run("fetch").err == "nothing changed\n"


@pytest.mark.parametrize("again", ["fetch", "approve"])
@pytest.mark.parametrize("moved", range(6))
def test_a_crash_amid_the_moving_of_what_was_approved_is_mended(
    moved: int, again: str, holding: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(staging: Staging) -> None:
        for path, scratch in list(staging._assigned.items())[:moved]:
            scratch.replace(path)
        raise KeyboardInterrupt("power cut")

    review.approve(settings(holding), now=datetime.now(UTC))
    with monkeypatch.context() as patch:
        patch.setattr(Staging, "commit", crash)
        with pytest.raises(KeyboardInterrupt):
            review.promote(settings(holding), tell=lambda _: None)
    ended = holding.run(again)
    assert (ended.code, ended.err.replace("nothing changed\n", "")) == (0, "")
    assert_nothing_held(holding)
    assert_consistent(holding, apnic(CUT, serial=2), CUT)
    assert holding.run("fetch").err == "nothing changed\n"


def test_where_what_was_approved_cannot_take_its_place_all_stays(holding: World) -> None:
    blocked = holding.cache / "apnic" / f"{APNIC}.md5"
    blocked.unlink()
    blocked.mkdir()
    before, beside = live(holding), held(holding)
    ended = holding.run("approve")
    assert ended.code == 1
    assert f"cannot write {blocked}" in ended.err
    assert ended.out == ""
    after = live(holding)
    assert after.pop(str(holding.state / "approved.json"))
    assert (after, held(holding)) == (before, beside)
    blocked.rmdir()
    assert holding.run("approve").code == 0
    assert_consistent(holding, apnic(CUT, serial=2), CUT)


def test_what_came_to_be_held_after_the_look_is_not_let_through(holding: World) -> None:
    """Between what was approved and the moving of files, a fetch can have put another candidate there."""
    review.approve(settings(holding), now=datetime.now(UTC))
    holding.publish("apnic", apnic(CUT // 2, serial=3))
    assert holding.run("fetch").code == 3
    before, beside = live(holding), held(holding)
    with pytest.raises(FwfeedError, match="another candidate is held by now than the one approved"):
        review.promote(settings(holding), tell=lambda _: None)
    assert (live(holding), held(holding)) == (before, beside)


def test_what_an_older_hold_left_in_a_crash_is_not_taken_over_with_the_new_one(made: World) -> None:
    """The older one's files are removed after the newer one's are there; a crash can come in between."""
    made.publish("ripencc", ripencc(serial=1000))
    assert made.run("fetch").code == 3
    leftover = Cache(made.cache).held.root / "ripencc"
    shutil.copytree(leftover, made.root / "older")
    made.publish("ripencc", ripencc(ELSEWHERE))
    made.publish("apnic", apnic(CUT, serial=2))
    assert made.run("fetch").code == 3
    assert not leftover.exists()
    shutil.copytree(made.root / "older", leftover)
    (leftover.parent / "apnic" / f".{APNIC}.fwfeed-new").write_text("half a file")
    assert made.run("approve").code == 0
    assert (made.cache / "ripencc" / RIPENCC).read_bytes() == ripencc(ELSEWHERE)
    assert not [path for path in live(made) if "fwfeed-" in Path(path).name]
    assert_nothing_held(made)
    assert_consistent(made, apnic(CUT, serial=2), CUT)
    assert made.run("fetch").err == "nothing changed\n"


def test_what_is_held_and_damaged_is_said_and_replaced_by_the_next_fetch(holding: World) -> None:
    path = candidates.held_folder(holding.state) / candidates.NAME
    path.write_text("{}")
    before = live(holding)
    for command in ("status", "diff", "approve"):
        ended = holding.run(command)
        assert ended.code == 1
        assert f"{path}: not a candidate" in ended.err
        assert "Traceback" not in ended.err
    assert gates_of(holding.run("fetch")) == ["max_shrink", "max_shrink"]
    assert live(holding) == before
    assert holding.run("approve").code == 0


# What an apply holds


def install(made: World) -> None:
    """Have the candidate installed as generation 1, without a firewalld."""
    assert made.run("render", "--output", made.firewalld).code == 2, "that is what apply is for"
    planned = plan(settings(made))
    Generations.below(made.state).write(
        Generation(
            number=1,
            root=str(made.firewalld),
            created=datetime.now(UTC),
            outcome=Outcome.APPLIED,
            reason="",
            recipe=recipe(settings(made)),
            restores=None,
            config="",
            firewalld="2.3.1",
            sources=(),
            prefixes=dict.fromkeys(Family, 1),
            addresses=moving(planned.candidate),
            files={path: manifests.digest(raw) for path, raw in planned.target.rendered.files.items()},
            default_zone=None,
            replaced_zone=None,
        ),
        planned.target.rendered.files,
    )
    for path, raw in planned.target.rendered.files.items():
        (made.firewalld / path).parent.mkdir(parents=True, exist_ok=True)
        (made.firewalld / path).write_bytes(raw)


@pytest.fixture
def drifted(made: World) -> World:
    """A world in which each fetch passed, but all of them together are more than one apply may change."""
    install(made)
    for serial, pieces in enumerate((37, 34), 2):
        made.publish("apnic", apnic(pieces, serial=serial))
        ended = made.run("fetch")
        assert (ended.code, ended.err) == (0, "")
    return made


HELD = "HELD by gate max_shrink: IPv4: the set would shrink by 14.6%, from 2,624 to 2,240 addresses; allowed is 10.0%"


def shown_as_held(made: World, *command: str) -> Sequence[str]:
    ended = made.run(*command)
    assert ended.code == 0, ended
    return [line for line in ended.out.splitlines() if line.startswith("HELD")]


def test_steps_that_each_pass_are_held_where_they_add_up(drifted: World) -> None:
    before = snapshot(drifted.root)
    assert shown_as_held(drifted, "render", "--dry-run") == [HELD]
    assert [each["gate"] for each in drifted.run("render", "--json").value["held"]] == ["max_shrink"]
    assert shown_as_held(drifted, "diff") == [HELD]
    assert drifted.run("diff").out.splitlines()[0].endswith(" against generation 1")
    families = drifted.run("diff", "--json").value["families"]
    assert families["4"]["removed"] == [f"198.18.{number // 2}.{number % 2 * 128}/26" for number in range(34, ALL)]
    assert families["4"]["added"] == families["6"]["added"] == families["6"]["removed"] == []
    assert snapshot(drifted.root) == before


def test_approve_lets_such_an_apply_through_and_no_other(drifted: World) -> None:
    ended = drifted.run("approve")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"approved: {HELD.partition('max_shrink: ')[2]}\nthe next apply takes it; now: fwfeed apply\n"
    assert plan(settings(drifted)).comparison.verdicts == ()
    assert shown_as_held(drifted, "render", "--dry-run") == []
    assert drifted.run("approve").out == "nothing is held\n"
    drifted.publish("apnic", apnic(32, serial=5))
    assert drifted.run("fetch").code == 0
    assert [verdict.gate for verdict in plan(settings(drifted)).comparison.verdicts] == ["max_shrink"]
    assert len(shown_as_held(drifted, "render", "--dry-run")) == 1


def test_one_approval_of_what_is_held_lets_it_through_to_the_apply(made: World) -> None:
    install(made)
    made.publish("apnic", apnic(CUT, serial=2))
    assert made.run("fetch").code == 3
    assert made.run("approve").code == 0
    assert shown_as_held(made, "render", "--dry-run") == []
    assert plan(settings(made)).target.changes.keys() == {"ipsets/JP.xml"}


OTHER_SETS = [
    ('countries = ["DE"]', "name JP -> DE, countries JP -> DE"),
    ('name = "JP"\ncountries = ["DE"]', "countries JP -> DE"),
    ('name = "HOME"', "name JP -> HOME"),
]


@pytest.mark.parametrize(("table", "what"), OTHER_SETS)
def test_another_set_is_told_and_left_to_somebody_who_asks(table: str, what: str, made: World) -> None:
    install(made)
    made.configure(set_table=f"{table}\ninclude = []")
    assert made.run("fetch").code == 0
    before = snapshot(made.root)
    verdict = {"gate": "set_changed", "reason": f"the set changes: {what}"}
    shown = made.run("render", "--dry-run").out
    assert f"\nthe set changes: {what}; an apply by a timer leaves it out: fwfeed apply\n" in shown
    value = made.run("render", "--json").value
    assert (value["set_changes"], value["held"], value["held_unattended"]) == (what, [], [verdict])
    assert shown_as_held(made, "diff") == []
    assert made.run("diff").out.endswith(
        f"\nthe set changes: {what}; an apply by a timer leaves it out: fwfeed apply\n"
    )
    assert made.run("diff", "--json").value["held_unattended"] == [verdict]
    assert f"  WARNING: timers leave the candidate out: the set changes: {what}\n" in made.run("status").out
    assert made.run("status", "--json").value["held_unattended"] == [verdict]
    assert "\nfwfeed_set_change_held 1\n" in made.run("metrics").out
    assert snapshot(made.root) == before
    assert made.run("approve").out.startswith(f"approved: the set changes: {what}\n")
    assert made.run("render", "--json").value["held_unattended"] == []
    assert f"\nthe set changes: {what}\n" in made.run("render", "--dry-run").out, "though a timer takes it now"


def test_how_far_another_set_goes_that_cannot_be_read_is_for_somebody_to_say(made: World) -> None:
    install(made)
    (made.state / "generations/000001/files/ipsets/JP.xml").write_text("<ipset><entry>no address</entry></ipset>")
    made.configure(set_table='include = ["192.0.2.0/25"]')
    assert made.run("fetch").code == 0
    (verdict,) = made.run("render", "--json").value["held_unattended"]
    assert verdict["gate"] == "set_changed"
    assert "the set changes: include" in verdict["reason"]
    assert "how far cannot be told: generation 1: " in verdict["reason"]


def test_a_damaged_set_of_what_is_installed_is_said_by_diff(drifted: World) -> None:
    (drifted.state / "generations/000001/files/ipsets/JP.xml").write_text("<ipset><entry>no address</entry></ipset>")
    for command in ("diff", "approve", "status"):
        ended = drifted.run(command)
        assert ended.code == 1, ended
        assert "damaged" in ended.err


def test_approvals_that_are_damaged_approve_nothing(drifted: World) -> None:
    assert drifted.run("approve").code == 0
    path = drifted.state / "approved.json"
    good = path.read_bytes()
    digest = json.loads(good)["sets"]
    for raw in (b"", b"{}", good[:20], good.replace(digest.encode(), b"0" * 64)):
        path.write_bytes(raw)
        assert shown_as_held(drifted, "render", "--dry-run") == [HELD]
    path.write_bytes(good)
    assert shown_as_held(drifted, "render", "--dry-run") == []


def test_what_is_held_for_other_settings_cannot_be_approved(holding: World) -> None:
    holding.configure(set_table='include = ["special-purpose"]')
    before = snapshot(holding.cache, holding.state, folders=False)
    ended = holding.run("approve")
    assert ended.code == 1
    assert "fwfeed: what is held was compiled for other settings of [set]" in ended.err
    assert "way out: run: fwfeed fetch" in ended.err
    assert snapshot(holding.cache, holding.state, folders=False) == before
