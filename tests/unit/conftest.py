"""What tests that fetch over the loopback need; and that none reads the journal of the machine it runs on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from fwfeed.fetch import http
from tests.unit.server import Server, server_context, serving


@pytest.fixture(autouse=True)
def no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this machine's log hold nothing: to root, a report is of it, too."""
    monkeypatch.setattr("fwfeed.kernlog.of_this_host", lambda *_prefixes, **_options: iter(()))


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def loopback(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust our own authority, the way an administrator would trust a private one; wait no seconds between tries."""
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    # a proxy of the machine would be asked for 127.0.0.1 too
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(http, "_BACKOFF_SECONDS", 0.01)


@pytest.fixture
def https(authority: trustme.CA, loopback: None) -> Iterator[Server]:
    """A server whose certificate is trusted."""
    with serving(server_context(authority)) as server:
        yield server
