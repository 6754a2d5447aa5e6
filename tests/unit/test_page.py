"""What the page says; how it looks in a browser is tested in tests/browser."""

from __future__ import annotations

from datetime import UTC

import pytest

from fwfeed.report.page import page
from tests.unit.flows import sent
from tests.unit.summaries import traffic


@pytest.mark.parametrize(
    ("host", "shown"), [("<b>&\x1b", "&lt;b&gt;&amp;?"), (b"www\xff\xfe".decode(errors="surrogateescape"), "www??")]
)
def test_a_host_can_have_any_name(host: str, shown: str) -> None:
    made = page(traffic([sent()]), language="en", host=host, version="1.0", zone=UTC).decode()
    assert f"<title>Foreign connections of {shown}</title>" in made
    assert f'<h1><span lang="en">Foreign connections of {shown}</span><span lang="ja">{shown} の国外接続</span>' in made
    assert host not in made
