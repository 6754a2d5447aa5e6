"""The preview says what blocking would cut, all of it and nothing else, and what would spare it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwfeed.flow import Direction, Known, Sender, Sent
from fwfeed.ledger import Ledger, path
from fwfeed.preview import Named, Preview, Role, preview
from fwfeed.report.preview import preview_json, preview_lines
from fwfeed.traffic import Window
from tests.unit.builders import remarks, world
from tests.unit.flows import NOW, PROGRAMS, record, sender, sent
from tests.unit.summaries import gathered, places
from tests.unit.test_ledger import FLOWS

BEGIN = NOW - timedelta(days=7)


def cut(flows: list[Sent], *, passes: frozenset[str] = frozenset(), forwarded: bool = True) -> Preview:
    found = gathered(flows)
    return preview(
        found,
        places(found.addresses),
        passes.__contains__,
        Window(BEGIN, NOW, BEGIN),
        refuses=False,
        forwarded=forwarded,
        allowed=("198.51.100.0/28",),
    )


@pytest.mark.parametrize("forwarded", [True, False])
@given(
    flows=st.lists(FLOWS, max_size=30),
    passes=st.frozensets(st.sampled_from([f"203.0.113.{end}" for end in range(4)])),
)
def test_what_would_be_cut_is_what_leaves_and_does_not_pass(
    *, forwarded: bool, flows: list[Sent], passes: frozenset[str]
) -> None:
    kinds = {Direction.OUT, Direction.FORWARDED} if forwarded else {Direction.OUT}
    leaving = [each.flow for each in flows if each.flow.direction in kinds]
    found = cut(flows, passes=passes, forwarded=forwarded)
    assert found.count == sum(each.destination not in passes for each in leaving)
    assert found.spared == sum(each.destination in passes for each in leaving)
    named = {each.foreign for victim in found.victims for each in victim.cuts}
    assert named == {each.destination for each in leaving} - passes
    assert sum(each.count for victim in found.victims for each in victim.cuts) == found.count


ROLES = {
    "dnf-makecache.service": Role.UPDATES,
    "certbot-renew.service": Role.CERTIFICATES,
    "chronyd.service": Role.TIME,
    "unbound.service": Role.NAMES,
    "php-fpm.service": None,
    "evil.service": None,
}


def test_what_a_host_needs_is_named_as_such() -> None:
    found = cut([sent(who, **values) for _weight, who, values in PROGRAMS])
    roles = {victim.doer.program.unit: victim.named for victim in found.victims if victim.doer.program.unit}
    assert roles == {unit: None if role is None else Named(role, sure=True) for unit, role in ROLES.items()}
    assert [victim.named is None for victim in found.victims] == sorted(
        victim.named is None for victim in found.victims
    )


@pytest.mark.parametrize(
    ("who", "port", "named"),
    [
        (sender("/usr/bin/dnf5"), 443, Named(Role.UPDATES, sure=True)),
        (
            sender("/usr/bin/python3.12", command="/usr/bin/python3 /usr/bin/dnf update"),
            443,
            Named(Role.UPDATES, sure=False),
        ),
        (sender("/usr/bin/curl"), 53, Named(Role.NAMES, sure=False)),
        (sender("/usr/bin/curl"), 853, Named(Role.NAMES, sure=False)),
        (sender("/usr/bin/curl"), 123, Named(Role.TIME, sure=False)),
        (sender("/usr/bin/curl"), 443, None),
        # anybody can call a program dnf
        (sender("/tmp/dnf"), 443, None),
        (sender("/home/eve/usr/bin/dnf"), 443, None),
        (sender("/usr/bin/dnf5", deleted=True), 443, None),
        (sender("/usr/bin/dnf5", container="eve"), 443, None),
        (sender("/tmp/x", unit="dnf-makecache.service"), 443, None),
        (sender("/tmp/x"), 53, Named(Role.NAMES, sure=False)),
        (sender("/tmp/x", command="dnf makecache"), 443, Named(Role.UPDATES, sure=False)),
        (sender("/usr/bin/python3.12", unit="dnf-evil.scope"), 443, None),
        (sender("/usr/bin/python3.12", unit="dnf-makecache.service"), 443, Named(Role.UPDATES, sure=False)),
        (sender("/usr/bin/python3.12", unit="user@1000.service/dnf-makecache.service"), 443, None),
        (sender("/usr/bin/python3.12", unit="fwfeed-refresh.service"), 443, Named(Role.FEEDS, sure=True)),
    ],
)
def test_who_only_calls_himself_so_is_not_sure(who: Sender, port: int, named: Named | None) -> None:
    (victim,) = cut([sent(who, destination_port=port)]).victims
    assert victim.named == named


def test_one_port_of_another_kind_is_enough_to_be_nothing_special() -> None:
    (victim,) = cut([sent(destination_port=53), sent(destination_port=443)]).victims
    assert victim.named is None


def test_each_address_comes_with_what_would_spare_it() -> None:
    found = cut([sent(), sent(destination="2001:db8:2::7")])
    text = "\n".join(preview_lines(found, UTC))
    for spare in ('"203.0.113.2/32"', '"203.0.113.0/24"', '"2001:db8:2::7/128"', '"2001:db8:2::/48"'):
        assert spare in text
    assert 'always_allow = ["198.51.100.0/28", ' in text
    assert preview_json(found)["programs"][0]["addresses"][0]["always_allow"]


@pytest.mark.parametrize("port", [443, 53, 123])
def test_nothing_is_offered_to_what_a_container_calls_itself(port: int) -> None:
    inside = sent(sender("/usr/bin/dnf5", container="mnt:[4026532001]"), destination_port=port)
    alone = cut([inside])
    assert "always_allow" not in "\n".join(preview_lines(alone, UTC))
    assert "203.0.113.2/32" not in "\n".join(preview_lines(alone, UTC))
    assert preview_json(alone)["programs"][0]["addresses"][0]["always_allow"] == ""
    assert not (alone.victims[0].named and alone.victims[0].named.sure)
    both = cut([inside, inside, sent(sender("/usr/bin/dnf5"), destination="203.0.113.3")])
    assert 'always_allow = ["198.51.100.0/28", "203.0.113.3/32"]' in "\n".join(preview_lines(both, UTC))


def test_no_address_that_could_be_an_intruders_is_put_where_it_would_be_pasted_in() -> None:
    evil = [sent(sender("/tmp/m", command="/tmp/m dnf makecache"), destination="203.0.113.66")] * 29
    unnamed = [sent(sender("/tmp/x"), destination="203.0.113.67")] * 50
    found = cut([*evil, *unnamed, sent(sender("/usr/bin/dnf5"), destination="203.0.113.3")])
    assert [victim.doer.program.executable for victim in found.victims] == ["/usr/bin/dnf5", "/tmp/m", "/tmp/x"]
    assert list(preview_lines(found, UTC))[-1] == '  always_allow = ["198.51.100.0/28", "203.0.113.3/32"]'
    assert list(preview_lines(cut([*evil, *unnamed]), UTC))[-1] == '  always_allow = ["198.51.100.0/28", "ADDRESS"]'


def test_what_nobody_is_known_to_have_sent_is_cut_and_no_program() -> None:
    nobody = [sent(Sender(known=Known.NOT), uid=None, destination=f"203.0.113.{end}") for end in (7, 7, 8)]
    found = cut([sent(), sent(Sender(known=Known.USER, user="www")), *nobody])
    text = "\n".join(preview_lines(found, UTC))
    assert "  5 connections of 1 program and 1 sender whose program is not known\n" in text
    assert "  of 3 of them (60.0%) nothing tells who sent them\n" in text
    assert "\nnot attributed: who sent it is not known\n  3 connections, last 2026-" in text
    assert '"203.0.113.7/32"' in text
    value = preview_json(found)
    assert (value["count"], {each["known"] for each in value["programs"]}) == (5, {"socket", "user"})
    assert [each["address"] for each in value["not_attributed"]["addresses"]] == ["203.0.113.7", "203.0.113.8"]
    alone = cut(nobody)
    assert alone.victims == ()
    assert "  3 connections\n" in "\n".join(preview_lines(alone, UTC))
    assert list(preview_lines(alone, UTC))[-1] == '  always_allow = ["198.51.100.0/28", "ADDRESS"]'
    assert preview_json(cut([sent()]))["not_attributed"] is None


def test_nothing_of_a_hostile_name_reaches_a_terminal() -> None:
    name = "\x1b[2J\u202e\n"
    who = sender(f"/tmp/{name}", unit=name, user=name, command=name, container=name)
    assert all(
        line.isprintable()
        for line in preview_lines(cut([sent(who), sent(Sender(known=Known.NOT), protocol=name)]), UTC)
    )


def configured(folder: Path, more: str, set_table: str = "include = []") -> object:
    made = world(folder)
    made.configure(more=more, set_table=set_table)
    assert made.run("fetch").code == 0
    now = datetime.now(UTC) - timedelta(hours=1)
    with Ledger.open(path(made.state)) as ledger:
        record(
            ledger,
            [
                sent(at=now),
                sent(at=now, destination="198.51.100.7"),
                sent(at=now, destination="10.0.0.7"),
                sent(at=now, destination="169.254.1.1"),
                sent(at=now, destination="203.0.113.77"),
                sent(at=now, destination="203.0.113.80", direction=Direction.FORWARDED, source="10.88.0.2"),
                sent(at=now, source="203.0.113.81", direction=Direction.IN),
            ],
        )
    done = made.run("--json", "preview")
    assert (done.code, remarks(done)) == (0, [])
    assert made.run("preview").code == 0
    return sorted(each["address"] for program in done.value["programs"] for each in program["addresses"])


def test_the_command_spares_what_the_set_and_the_configuration_spare(tmp_path: Path) -> None:
    assert configured(tmp_path, '[apply]\nalways_allow = ["203.0.113.77"]') == [
        "10.0.0.7",
        "203.0.113.2",
        "203.0.113.80",
    ]


def test_private_addresses_are_cut_only_where_they_are_not_in_the_set(tmp_path: Path) -> None:
    # the documentation addresses are special-purpose, too
    assert configured(tmp_path, "", 'include = ["special-purpose"]') == []


def test_what_is_forwarded_is_cut_only_where_the_policy_says_so(tmp_path: Path) -> None:
    assert configured(tmp_path, "[outbound]\nforwarded = false") == ["10.0.0.7", "203.0.113.2", "203.0.113.77"]
