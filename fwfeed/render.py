"""Turn a candidate and a configuration into the files that go below /etc/firewalld, as bytes.

The same input gives the same bytes on every host and day, so nothing that merely changes (a date, a serial)
is written into a file. Templates come in as text; where they lie is the business of `store`.
Whether what was rendered is sound is the business of `checks`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from fwfeed.config import FOREIGN_ZONE, Config, Inbound, Outbound
from fwfeed.errors import TemplateFault
from fwfeed.model import Candidate, IntendedSet
from fwfeed.prefixes import Family, Ranges, cover, format_prefix, merge, parse_prefix, spans, subtract

TEMPLATES = ("ipset.xml.j2", "policy.xml.j2", "zone.xml.j2")

_ANY = "ANY"
_HOST = "HOST"
_RULE_FAMILY = {Family.IPV4: "ipv4", Family.IPV6: "ipv6"}
_SET_FAMILY = {Family.IPV4: "inet", Family.IPV6: "inet6"}
_BY_HAND = "Written by fwfeed; changes made by hand are lost."

# What never leaves for abroad, whatever the set is made of, and what a host cannot live without: neighbours' link-local
# addresses, multicast groups, broadcast (DHCP), itself.
_ON_LINK = {
    Family.IPV4: ("127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32"),
    Family.IPV6: ("::1/128", "fe80::/10", "ff00::/8"),
}
_LINK_LOCAL = {Family.IPV4: "169.254.0.0/16", Family.IPV6: "fe80::/10"}
# Neighbour discovery goes to a neighbour's own address, too, which may be foreign.
_DISCOVERY = ("neighbour-advertisement", "neighbour-solicitation", "router-advertisement", "router-solicitation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """What fwfeed wants firewalld to hold: files by their path below /etc/firewalld, and what they mean.

    By policy, `blocks` says what is refused there: what goes outside these sets; `watched`, to which group of NFLOG it
    hands what goes outside the sets.
    """

    files: Mapping[str, bytes]
    sets: tuple[IntendedSet, ...]
    default_zone: str | None
    blocks: Mapping[str, Block] = field(default_factory=dict)
    watched: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Block:
    """How a policy refuses ("reject" or "drop"), the sets outside which it does, the ICMPv6 types it has to spare."""

    verdict: str
    ipsets: tuple[str, ...]
    discovery: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Log:
    prefix: str
    limit: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """What is outside a set as somebody's peer: `ipset` says what is foreign, `passing` what is not refused."""

    family: str
    peer: str
    ipset: str
    passing: str


@dataclass(frozen=True, slots=True)
class _Peer:
    """A source: `kind` is ipset or address."""

    family: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ipset:
    name: str
    description: str
    family: str
    maxelem: int
    entries: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Policy:
    name: str
    description: str
    ingress: str
    egress: str
    rules: list[_Rule]
    log: _Log
    nflog: int | None
    verdict: str | None
    discovery: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Zone:
    name: str
    description: str
    rules: list[_Rule]
    log: _Log
    services: tuple[str, ...]
    domestic: list[_Peer]
    domestic_services: tuple[str, ...]
    always_allowed: list[_Peer]


def render(candidate: Candidate, config: Config, templates: Mapping[str, tuple[str, str]]) -> Rendered:
    """Render every file of a generation.

    `templates` maps each name of TEMPLATES to (the path to show in messages, the text).
    Raises TemplateFault, with path and line, for a template that has an error or an undefined name.
    """
    sets = _sets(candidate, config)
    passing = {each.family: each.name for each in sets}  # the last of a family has the most
    engine = _Engine(templates)
    files: dict[str, bytes] = {}
    blocks: dict[str, Block] = {}
    watched: dict[str, int] = {}
    for intended in sets:
        files[f"ipsets/{intended.name}.xml"] = engine.render("ipset.xml.j2", ipset=_ipset(intended, candidate, config))
    for policy in _policies(config, passing):
        files[f"policies/{policy.name}.xml"] = engine.render("policy.xml.j2", policy=policy)
        if policy.verdict is not None:
            blocks[policy.name] = Block(policy.verdict, tuple(passing.values()), policy.discovery)
        if policy.nflog is not None:
            watched[policy.name] = policy.nflog
    for zone in _zones(candidate, config):
        files[f"zones/{zone.name}.xml"] = engine.render("zone.xml.j2", zone=zone)
    return Rendered(
        files=files,
        sets=sets,
        default_zone=FOREIGN_ZONE if config.inbound.action is Inbound.RESTRICT else None,
        blocks=blocks,
        watched=watched,
    )


def exempt(config: Config, family: Family) -> Ranges:
    """Return the addresses that outbound = reject or drop lets pass whatever the set is made of."""
    return merge([*_ranges(_ON_LINK[family], family), *_ranges(_allowed(config, family), family)])


def maxelem(entries: int) -> int:
    """Return the size to give a set: a power of two with at least as much room again, and 65536 at least.

    A power of two moves seldom, and a move needs a reload. The factor of two also covers kernels that count
    both ends of an interval as elements.
    """
    return max(65536, 1 << (2 * entries).bit_length())


def _sets(candidate: Candidate, config: Config) -> tuple[IntendedSet, ...]:
    """Return the country's sets and, of a family that needs one, the set of what a block lets pass beside them.

    A rule has one set, and one that accepts an exempt address would end the evaluation: it would open what somebody
    else's policy closes, and forward what no zone forwards. So what is exempt is in the set that the block spares.
    """
    sets = [
        IntendedSet(name=config.set.ipset(family), family=family, ranges=candidate.ranges(family)) for family in Family
    ]
    if config.outbound.action.refuses:
        for family in Family:
            ranges = candidate.ranges(family)
            if subtract(exempt(config, family), merge(ranges)):
                passing = merge([*ranges, *exempt(config, family)])
                sets.append(IntendedSet(name=config.set.passing(family), family=family, ranges=passing))
    return tuple(sets)


def _allowed(config: Config, family: Family) -> tuple[str, ...]:
    return tuple(each for each in config.apply.always_allow if (":" in each) is (family is Family.IPV6))


def _ranges(prefixes: tuple[str, ...], family: Family) -> Ranges:
    return list(spans((parse_prefix(prefix, family) for prefix in prefixes), family))


def _ipset(intended: IntendedSet, candidate: Candidate, config: Config) -> _Ipset:
    family = intended.family
    prefixes = cover(intended.ranges, family) if intended.passing else candidate.prefixes(family)
    members = " ".join((*config.set.countries, *config.set.include))
    what = f"addresses of {members}"
    if intended.passing:
        what = f"addresses that nothing is refused to: set {config.set.ipset(family)}, always_allow, those on the link"
    return _Ipset(
        name=intended.name,
        description=f"IPv{family.value} {what}. {_BY_HAND}",
        family=_SET_FAMILY[family],
        maxelem=maxelem(len(prefixes)),
        entries=[format_prefix(prefix, family) for prefix in prefixes],
    )


_WORDS = {Outbound.LOG: "Logs", Outbound.REJECT: "Logs and rejects", Outbound.DROP: "Logs and drops"}


def _policies(config: Config, passing: Mapping[Family, str]) -> Iterator[_Policy]:
    name, action = config.set.name, config.outbound.action
    outbound = _Log(config.outbound.prefix, config.outbound.limit)
    verdict = action.value if action.refuses else None
    if action is not Outbound.OFF:
        yield _Policy(
            name="fwfeed-outbound",
            description=f"{_WORDS[action]} new connections of this host to outside {name}. {_BY_HAND}",
            ingress=_HOST,
            egress=_ANY,
            rules=_rules(config, "destination", passing),
            log=outbound,
            nflog=config.watch.group,
            verdict=verdict,
            discovery=_DISCOVERY if verdict else (),
        )
    if action is not Outbound.OFF and config.outbound.forwarded:
        yield _Policy(
            name="fwfeed-forwarded",
            description=f"{_WORDS[action]} new connections forwarded by this host to outside {name}. {_BY_HAND}",
            ingress=_ANY,
            egress=_ANY,
            rules=_rules(config, "destination", passing),
            log=outbound,
            nflog=config.watch.group,
            verdict=verdict,
            discovery=(),
        )
    if config.inbound.action is Inbound.LOG:
        yield _Policy(
            name="fwfeed-inbound",
            description=f"Logs new connections to this host from outside {name}. {_BY_HAND}",
            ingress=_ANY,
            egress=_HOST,
            rules=_rules(config, "source", passing),
            log=_Log(config.inbound.prefix, config.inbound.limit),
            nflog=None,  # who sent it is not on this host
            verdict=None,
            discovery=(),
        )


def _rules(config: Config, peer: str, passing: Mapping[Family, str]) -> list[_Rule]:
    return [
        _Rule(family=_RULE_FAMILY[family], peer=peer, ipset=config.set.ipset(family), passing=passing[family])
        for family in Family
    ]


def _zones(candidate: Candidate, config: Config) -> Iterator[_Zone]:
    """Yield the default zone of inbound = restrict.

    It is one zone, in which the set's members are told by rules: a zone bound to the set would go before the zones of
    interfaces, and so judge containers and virtual machines, too, by the addresses they have.
    """
    inbound = config.inbound
    if inbound.action is not Inbound.RESTRICT:
        return
    name = config.set.name
    strangers = {
        family: bool(subtract(_ranges((_LINK_LOCAL[family],), family), merge(candidate.ranges(family))))
        for family in Family
    }
    yield _Zone(
        name=FOREIGN_ZONE,
        description=f"The default zone: admits {name} to some services, logs all others. {_BY_HAND}",
        rules=_rules(config, "source", {family: config.set.ipset(family) for family in Family}),
        log=_Log(inbound.prefix, inbound.limit),
        services=inbound.foreign_services,
        domestic=[
            *(_Peer(_RULE_FAMILY[family], "ipset", config.set.ipset(family)) for family in Family),
            *(_Peer(_RULE_FAMILY[each], "address", _LINK_LOCAL[each]) for each, apart in strangers.items() if apart),
        ],
        domestic_services=inbound.services,
        always_allowed=[
            _Peer(_RULE_FAMILY[family], "address", each) for family in Family for each in _allowed(config, family)
        ],
    )


class _Engine:
    """The Jinja2 environment: strict about undefined names, escaping for XML."""

    def __init__(self, templates: Mapping[str, tuple[str, str]]) -> None:
        import jinja2  # takes longer to import than the rest of fwfeed together

        self._jinja2 = jinja2
        self._paths = {name: path for name, (path, _text) in templates.items()}
        self._environment = jinja2.Environment(
            loader=jinja2.DictLoader({name: text for name, (_path, text) in templates.items()}),
            undefined=jinja2.StrictUndefined,
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )

    def render(self, name: str, **context: object) -> bytes:
        try:
            return self._environment.get_template(name).render(context).encode()
        except self._jinja2.TemplateSyntaxError as error:
            place = f"{self._paths.get(error.name or name, name)}:{error.lineno}"
            raise TemplateFault(f"{place}: {error.message}", "correct the template, or remove the override") from None
        except Exception as error:  # a template is a program of the administrator's; it can raise anything
            place = f"{self._paths[name]}{_template_line(error)}"
            way_out = "correct the template, or remove the override"
            raise TemplateFault(f"{place}: {error or type(error).__name__}", way_out) from error


def _template_line(error: Exception) -> str:
    """Return `:line` of the innermost template line of a rendering error; Jinja2 rewrites tracebacks to templates."""
    line, trace = "", error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = f":{trace.tb_lineno}"
        trace = trace.tb_next
    return line
