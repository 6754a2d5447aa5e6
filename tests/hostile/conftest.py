"""The server, the authority that is trusted, and a host that fetches from the server."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.hostile.place import RECORDS, Place
from tests.hostile.server import Server, context_of
from tests.unit.builders import delegated


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def good_context(authority: trustme.CA) -> ssl.SSLContext:
    return context_of(authority.issue_cert("127.0.0.1").configure_cert)


@pytest.fixture(scope="session")
def bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(autouse=True)
def environment(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the authority, as an administrator would a private one, and keep clear of the machine's proxies."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))


@pytest.fixture
def server(good_context: ssl.SSLContext) -> Iterator[Server]:
    with Server(good_context) as running:
        yield running


@pytest.fixture
def place(server: Server, tmp_path: Path) -> Place:
    """A host that has fetched nothing yet, and five good files on the server."""
    made = Place(tmp_path, server)
    server.folder = made.site
    for registry, records in RECORDS.items():
        made.publish(registry, delegated(registry, records))
    made.configure()
    return made


@pytest.fixture(params=["accepted", "first"])
def before(request: pytest.FixtureRequest, place: Place) -> str:
    """The two worlds: with what a good first run accepted, and without."""
    if request.param == "accepted":
        place.accept()
    return str(request.param)
