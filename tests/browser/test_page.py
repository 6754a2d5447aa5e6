"""The page in a real browser: it sorts, filters, speaks two languages, fits a phone and paper, asks for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path

import pytest

from fwfeed.feeds import Purpose
from fwfeed.flow import Direction, Known, Sender
from fwfeed.report.page import page
from fwfeed.traffic import Place, Traffic
from tests.browser.chromium import Tab, browsing, find
from tests.skipping import leave_out
from tests.unit.flows import NOW, sender, sent, week
from tests.unit.summaries import traffic

HOSTILE = (
    "<script>document.title='owned'</script>",
    "<img src=https://example.net/x onerror=\"document.title='owned'\">",
    "\"><svg onload=document.title='owned'>",
    "' onmouseover='document.title=1",
    "</style></script><b>x",
    "\u202e\x1b[31m\x07",
    "x" * 390,
)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    program = find()
    if program is None:
        leave_out("needs Chromium: tests/setup browser, as root")
    with browsing(program, tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture(scope="module")
def usual() -> Traffic:
    coming = [
        sent(sender("/usr/sbin/sshd"), direction=Direction.IN, source=f"203.0.113.{end}", destination_port=22)
        for end in range(9)
    ]
    return traffic([*week(3000), *coming], names={"203.0.113.3": "mirror.example.net"}, lost={NOW: 7})


def show(tab: Tab, shown: Traffic, folder: Path, *, language: str = "en", width: int = 1280, media: str = "") -> None:
    file = folder / "page.html"
    file.write_bytes(page(shown, language=language, host="www1.example.net", version="1.0", zone=UTC))
    tab.size(width, 900, mobile=width < 600)
    tab.prefer(media=media)
    tab.open(file)


def column(tab: Tab, table: str, number: int) -> list[str]:
    script = f"""[...document.querySelectorAll("#{table} tbody tr:not([data-none]) td:nth-child({number})")].map(
        (each) => each.dataset.k ?? each.textContent)"""
    found: list[str] = tab.run(script)
    return found


def order(tab: Tab, table: str, number: int) -> str | None:
    said: str | None = tab.run(
        f"""document.querySelector("#{table} th:nth-child({number})").getAttribute("aria-sort")"""
    )
    return said


def click(tab: Tab, table: str, number: int) -> None:
    tab.run(f"""document.querySelector("#{table} th:nth-child({number}) button").click()""")


@pytest.mark.parametrize("media", ["", "print"])
@pytest.mark.parametrize("language", ["en", "ja"])
def test_it_says_nothing_to_the_console_and_asks_for_nothing(
    language: str, media: str, tab: Tab, usual: Traffic, tmp_path: Path
) -> None:
    show(tab, usual, tmp_path, language=language, media=media)
    tab.run("document.querySelector('.language').click()")
    assert tab.said == []
    assert tab.requests == [(tmp_path / "page.html").as_uri()]
    assert tab.run("performance.getEntriesByType('resource').length") == 0


def test_its_policy_lets_nothing_else_in(tab: Tab, usual: Traffic, tmp_path: Path) -> None:
    show(tab, usual, tmp_path)
    tab.run("""(() => {
        const script = document.createElement("script");
        script.textContent = "document.title = 'owned'";
        document.body.append(script);
        const image = new Image(); image.src = "https://www.example.net/x.png"; document.body.append(image);
    })()""")
    tab.run("fetch('https://www.example.net/').catch(() => 'no')")
    assert tab.run("document.title") == "Foreign connections of www1.example.net"
    assert not [url for url in tab.requests if url.startswith("http")] or all("Content Security" in s for s in tab.said)
    assert len([said for said in tab.said if "Content Security Policy" in said]) >= 2


def test_numbers_are_sorted_as_numbers(tab: Tab, usual: Traffic, tmp_path: Path) -> None:
    show(tab, usual, tmp_path)
    counts = [int(each) for each in column(tab, "destinations", 5)]
    assert order(tab, "destinations", 5) == "descending"
    assert counts == sorted(counts, reverse=True)
    assert len({len(str(count)) for count in counts}) > 1  # else they would be in order as texts, too
    click(tab, "destinations", 5)
    assert order(tab, "destinations", 5) == "ascending"
    assert [int(each) for each in column(tab, "destinations", 5)] == sorted(counts)


def test_addresses_are_sorted_by_their_numbers(tab: Tab, usual: Traffic, tmp_path: Path) -> None:
    show(tab, usual, tmp_path)
    click(tab, "destinations", 1)
    assert order(tab, "destinations", 1) == "ascending"
    assert order(tab, "destinations", 5) is None
    ends = [int(each.rpartition(".")[2]) for each in column(tab, "destinations", 1) if "." in each]
    assert ends == sorted(ends)
    assert len({len(str(end)) for end in ends}) > 1
    click(tab, "destinations", 1)
    assert order(tab, "destinations", 1) == "descending"


def test_it_is_sorted_by_keyboard(tab: Tab, usual: Traffic, tmp_path: Path) -> None:
    show(tab, usual, tmp_path)
    tab.run("document.querySelector('.find input').focus()")
    tab.press("Tab")
    assert tab.run("document.activeElement.closest('th').cellIndex") == 0
    tab.press("Tab")
    tab.press("Enter")
    assert order(tab, "programs", 2) == "ascending"
    units = column(tab, "programs", 2)
    assert units == sorted(units)
    tab.press(" ")
    assert order(tab, "programs", 2) == "descending"


def test_the_filter_leaves_the_rows_that_have_every_word(tab: Tab, usual: Traffic, tmp_path: Path) -> None:
    show(tab, usual, tmp_path)

    def type_in(words: str) -> None:
        tab.run(f"""(() => {{ const box = document.querySelector(".find input"); box.value = {words!r};
            box.dispatchEvent(new Event("input")); }})()""")

    def left(table: str) -> list[str]:
        found: list[str] = tab.run(
            f"""[...document.querySelectorAll("#{table} tbody tr:not([hidden])")].map((each) => each.innerText)"""
        )
        return found

    type_in("KWORKERDS 203.0.113.201")
    assert len(left("programs")) == 1
    assert all("203.0.113.201" in each for each in left("destinations"))
    assert len(left("destinations")) == 1
    type_in("there is no such thing")
    assert [each.strip() for each in left("destinations")] == ["nothing of that kind"]
    type_in("")
    assert len(left("destinations")) == len(usual.destinations)


def test_it_speaks_english_and_japanese(tab: Tab, usual: Traffic, tmp_path: Path) -> None:
    show(tab, usual, tmp_path)

    def titles() -> list[str]:
        found: list[str] = tab.run("[...document.querySelectorAll('h2')].map((each) => each.innerText)")
        return found

    assert titles() == ["Timeline", "Countries", "Programs", "Destinations", "Came in from"]
    assert "Germany" in tab.run("document.querySelector('.countries').innerText")
    tab.run("document.querySelector('.language').click()")
    assert titles() == ["推移", "国別", "プログラム", "宛先", "着信元"]
    assert tab.run("document.documentElement.lang") == "ja"
    assert tab.run("document.title") == "www1.example.net の国外接続"
    assert "ドイツ" in tab.run("document.querySelector('.countries').innerText")
    assert "アドレス" in tab.run("document.querySelector('.find input').placeholder")
    show(tab, usual, tmp_path, language="ja")
    assert titles()[0] == "推移"


def test_senders_and_special_purposes_speak_both_languages(tab: Tab, tmp_path: Path) -> None:
    flows = [
        sent(Sender(known=Known.USER, user="www"), uid=33),
        sent(Sender(known=Known.NOT), uid=None, direction=Direction.FORWARDED, source="192.0.2.2"),
        sent(Sender(known=Known.NOT), uid=None),
    ]
    shown = traffic(flows)
    private = [replace(each, place=Place(purpose=Purpose.PRIVATE)) for each in shown.destinations]
    shown = replace(shown, destinations=tuple(private))
    words = {"en": ("user www", "from 192.0.2.2", "private"), "ja": ("ユーザー www", "192.0.2.2 から", "プライベート")}
    for language, others in (("en", "ja"), ("ja", "en")):
        show(tab, shown, tmp_path, language=language)
        said = tab.run("document.querySelector('main').innerText")
        assert [word for word in words[language] if word not in said] == []
        assert [word for word in words[others] if word in said] == []


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize(("width", "media"), [(320, ""), (375, ""), (768, ""), (1280, ""), (700, "print")])
def test_it_fits_without_scrolling_sideways(
    width: int, media: str, language: str, tab: Tab, usual: Traffic, tmp_path: Path
) -> None:
    for shown in (usual, traffic([sent(sender(f"/{word}", unit=word, command=word)) for word in HOSTILE])):
        show(tab, shown, tmp_path, language=language, width=width, media=media)
        assert tab.run("document.documentElement.scrollWidth") <= width


def test_light_and_dark_differ_and_can_both_be_read(tab: Tab, usual: Traffic, tmp_path: Path) -> None:
    show(tab, usual, tmp_path)
    brightness = """(() => { const of = (name) => {
        const [r, g, b] = getComputedStyle(document.body)[name].match(/\\d+/g);
        return 0.3 * r + 0.6 * g + 0.1 * b; }; return [of("backgroundColor"), of("color")]; })()"""
    paper, ink = tab.run(brightness)
    assert paper - ink > 150
    tab.prefer(scheme="dark")
    paper, ink = tab.run(brightness)
    assert ink - paper > 150


def test_it_can_be_printed(tab: Tab, usual: Traffic, tmp_path: Path) -> None:
    show(tab, usual, tmp_path)
    assert tab.paper().startswith(b"%PDF")
    show(tab, usual, tmp_path, media="print")
    assert tab.run("getComputedStyle(document.querySelector('.find')).display") == "none"


def test_what_others_are_called_stays_text(tab: Tab, tmp_path: Path) -> None:
    flows = [sent(sender(f"/tmp/{word}", unit=word, command=word, user=word, container=word)) for word in HOSTILE]
    flows += [sent(sender(word, package=word), direction=Direction.FORWARDED, source=word) for word in HOSTILE]
    shown = traffic(flows, names={"203.0.113.2": HOSTILE[1]}, remarks=HOSTILE)
    show(tab, replace(shown, ipset=HOSTILE[0]), tmp_path)
    tab.run("document.querySelector('.language').click()")
    assert tab.said == []
    assert len(tab.requests) == 1
    assert tab.run("document.title") == "www1.example.net の国外接続"
    assert tab.run("document.querySelectorAll('img, b > script, td script, svg[onload], [onmouseover]').length") == 0
    assert HOSTILE[0] in tab.run("document.querySelector('#programs').textContent")


def test_an_empty_ledger_says_what_to_do(tab: Tab, tmp_path: Path) -> None:
    show(tab, traffic([]), tmp_path)
    assert "systemctl enable --now fwfeed-watch.service" in tab.run("document.querySelector('main').innerText")
    assert tab.said == []


def test_a_long_time_becomes_fewer_bars(tab: Tab, tmp_path: Path) -> None:
    shown = traffic(week(500, days=80), since=timedelta(days=90))
    show(tab, shown, tmp_path)
    assert 40 < tab.run("document.querySelectorAll('.chart g').length") <= 192
