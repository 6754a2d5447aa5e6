"""What a configuration holds once it is read: frozen values and their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time, timedelta
from enum import StrEnum
from fractions import Fraction
from types import MappingProxyType

from fwfeed.countries import CODES
from fwfeed.feeds import SPECIAL_PURPOSE, Feed
from fwfeed.model import PASSING
from fwfeed.prefixes import Family

REGISTRY_URLS: Mapping[str, str] = MappingProxyType(
    {
        "afrinic": "https://ftp.afrinic.net/pub/stats/afrinic/delegated-afrinic-extended-latest",
        "apnic": "https://ftp.apnic.net/stats/apnic/delegated-apnic-extended-latest",
        "arin": "https://ftp.arin.net/pub/stats/arin/delegated-arin-extended-latest",
        "lacnic": "https://ftp.lacnic.net/pub/stats/lacnic/delegated-lacnic-extended-latest",
        "ripencc": "https://ftp.ripe.net/pub/stats/ripencc/delegated-ripencc-extended-latest",
    }
)


FOREIGN_ZONE = "log-outbound"
"""The default zone under inbound = restrict."""


class Checksum(StrEnum):
    """Whether a delegated file without its .md5 is accepted."""

    REQUIRED = "required"
    OPTIONAL = "optional"


class Outbound(StrEnum):
    """What happens to new connections that leave for outside the set."""

    OFF = "off"
    LOG = "log"
    REJECT = "reject"
    DROP = "drop"

    @property
    def refuses(self) -> bool:
        """Whether they are kept from leaving."""
        return self in {Outbound.REJECT, Outbound.DROP}


class Inbound(StrEnum):
    """What happens to new connections that come in from outside the set."""

    OFF = "off"
    LOG = "log"
    RESTRICT = "restrict"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetConfig:
    """[set]: what the set is called and made of. `include` and `exclude` hold canonical CIDRs, groups and feeds.

    Where the configuration has no name, a set of one country has that country's code.
    """

    name: str = "JP"
    countries: tuple[str, ...] = ("JP",)
    include: tuple[str, ...] = (SPECIAL_PURPOSE,)
    exclude: tuple[str, ...] = ()

    @property
    def warning(self) -> str:
        """What is odd about the name: it is the code of a country that is not in the set. Empty where nothing is."""
        if self.name not in CODES or self.name in self.countries:
            return ""
        held = ", ".join(self.countries) or "no country"
        return f'set.name is "{self.name}", but set.countries has {held}: correct one of them, or leave the name out'

    def ipset(self, family: Family) -> str:
        """Return the name of the family's ipset."""
        return self.name if family is Family.IPV4 else f"{self.name}6"

    def passing(self, family: Family) -> str:
        """Return the name of the family's ipset of all that outbound = reject or drop lets pass."""
        return f"{self.ipset(family)}{PASSING}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcesConfig:
    """[sources]: where the registries' files come from, and how old they may be (None: any age).

    `deadline` is how long one location of one file may take, `retries` how often a transfer that failed on its way is
    begun again within it; both are for feeds too.
    """

    registries: tuple[str, ...] = tuple(REGISTRY_URLS)
    mirrors: tuple[str, ...] = ()
    checksum: Checksum = Checksum.REQUIRED
    max_age: timedelta | None = timedelta(days=7)
    deadline: timedelta = timedelta(minutes=10)
    retries: int = 3
    urls: Mapping[str, str] = field(default_factory=lambda: REGISTRY_URLS)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundConfig:
    """[outbound]: the policies for what the host sends, and what it forwards.

    `limit` is of log lines, never of what is refused; None: log all.
    """

    action: Outbound = Outbound.LOG
    prefix: str = "OUTBOUND_FOREIGN "
    limit: str | None = "10/s"
    forwarded: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundConfig:
    """[inbound]: the policy or zone for what comes in. `limit` None: log all."""

    action: Inbound = Inbound.OFF
    prefix: str = "INBOUND_FOREIGN "
    limit: str | None = "10/s"
    services: tuple[str, ...] = ("ssh", "http", "https", "dhcpv6-client")
    foreign_services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GatesConfig:
    """[gates]: how far numbers of addresses may move in one step, and how much of a family's space is too much.

    All are fractions; `max_space` is of all IPv4 addresses, and of the IPv6 global unicast space in use.
    """

    max_shrink: Fraction = Fraction(10, 100)
    max_growth: Fraction = Fraction(25, 100)
    max_space: Fraction = Fraction(60, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyConfig:
    """[apply]: how generations go in.

    `confirm` is how long a change of rules waits for `fwfeed confirm` before it is rolled back (None: it does not),
    `keep` how many generations stay on disk, `always_allow` the addresses and CIDRs that nothing of fwfeed's may cut.
    """

    confirm: timedelta | None = None
    keep: int = 10
    always_allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonConfig:
    """[daemon]: when fwfeed daemon updates: at this time of the host's day, put off at random by up to `spread`."""

    at: time = time(3, 30)
    spread: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchConfig:
    """[watch]: how `fwfeed watch` learns of connections abroad, and how long the ledger keeps them.

    `group` is the nflog group to which the policies hand each first packet (None: to none).
    """

    group: int | None = 243
    keep: timedelta = timedelta(days=90)


@dataclass(frozen=True, slots=True, kw_only=True)
class PathsConfig:
    """[paths]: where fwfeed works."""

    cache: str = "/var/cache/fwfeed"
    state: str = "/var/lib/fwfeed"
    run: str = "/run/fwfeed"
    firewalld: str = "/etc/firewalld"
    templates: str = "/etc/fwfeed/templates"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole configuration; `digest` is the sha256 of its text, empty where there is none."""

    set: SetConfig = field(default_factory=SetConfig)
    sources: SourcesConfig = field(default_factory=SourcesConfig)
    feeds: tuple[Feed, ...] = ()
    outbound: OutboundConfig = field(default_factory=OutboundConfig)
    inbound: InboundConfig = field(default_factory=InboundConfig)
    gates: GatesConfig = field(default_factory=GatesConfig)
    apply: ApplyConfig = field(default_factory=ApplyConfig)
    daemon: DaemonConfig = field(default_factory=DaemonConfig)
    watch: WatchConfig = field(default_factory=WatchConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)
    digest: str = field(default="", compare=False)

    def max_age(self, source: str) -> timedelta | None:
        """Return how old the file of a registry or feed may be; None: any age."""
        return next((feed.max_age for feed in self.feeds if feed.name == source), self.sources.max_age)
