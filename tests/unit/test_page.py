"""What the page says; how it looks in a browser is tested in tests/browser."""

from __future__ import annotations

import re
from datetime import UTC
from typing import Any

import pytest

from fwfeed.feeds import Purpose
from fwfeed.flow import Direction, Known, Sender
from fwfeed.report.page import page
from fwfeed.report.page.markup import purpose
from tests.unit.flows import sender, sent
from tests.unit.summaries import traffic


@pytest.mark.parametrize(
    ("host", "shown"), [("<b>&\x1b", "&lt;b&gt;&amp;?"), (b"www\xff\xfe".decode(errors="surrogateescape"), "www??")]
)
def test_a_host_can_have_any_name(host: str, shown: str) -> None:
    made = page(traffic([sent()]), language="en", host=host, version="1.0", zone=UTC).decode()
    assert f"<title>Foreign connections of {shown}</title>" in made
    assert f'<h1><span lang="en">Foreign connections of {shown}</span><span lang="ja">{shown} の国外接続</span>' in made
    assert host not in made


SENDERS: tuple[tuple[Sender, dict[str, Any], str, str], ...] = (
    (Sender(known=Known.USER, user="www"), {"uid": 33}, "user www", "ユーザー www"),
    (Sender(known=Known.USER), {"uid": 33}, "user 33", "ユーザー 33"),
    (
        Sender(known=Known.NOT),
        {"uid": None, "direction": Direction.FORWARDED, "source": "192.0.2.2"},
        "from 192.0.2.2",
        "192.0.2.2 から",
    ),
    (Sender(known=Known.NAMESPACE, container="web"), {"uid": None}, "container web", "コンテナー web"),
    (sender(container="web"), {}, "container web", "コンテナー web"),
    (Sender(known=Known.NOT, unit="web.service"), {"uid": None}, "unit web.service", "ユニット web.service"),
    (Sender(known=Known.SUSPECTS), {}, "a raw socket", "raw ソケット"),
    (Sender(known=Known.USER, user="<b>"), {"uid": 33}, "user &lt;b&gt;", "ユーザー &lt;b&gt;"),
)


@pytest.mark.parametrize(("who", "values", "english", "japanese"), SENDERS)
def test_a_sender_is_told_in_both_languages(who: Sender, values: dict[str, Any], english: str, japanese: str) -> None:
    made = page(traffic([sent(who, **values)]), language="ja", host="www1", version="1.0", zone=UTC).decode()
    tables = made[made.index('id="programs"') :]
    both = f'<span lang="en">{english}</span><span lang="ja">{japanese}</span>'
    assert tables.count(both) == (1 if who.executable else 2)
    outside = re.sub(r'<span lang="en">.*?</span>|data-k="[^"]*"', "", tables)
    assert english not in outside


def test_every_purpose_has_a_name_in_japanese_but_those_of_protocols() -> None:
    same = {what for what in Purpose if purpose(what) == f'<span lang="en">{what}</span><span lang="ja">{what}</span>'}
    assert same == {Purpose.TEREDO, Purpose.SIX_TO_FOUR, Purpose.AMT, Purpose.AS112, Purpose.ORCHID}


def test_what_stands_for_addresses_without_room_is_told_in_both_languages() -> None:
    made = page(traffic([sent(destination="")]), language="ja", host="www1", version="1.0", zone=UTC).decode()
    assert made.count('<span lang="en">(others)</span><span lang="ja">(その他)</span>') == 2
    assert "(others)" not in re.sub(r'<span lang="en">.*?</span>|data-k="[^"]*"', "", made)
