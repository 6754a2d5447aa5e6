"""Turn a candidate and a configuration into the files that go below /etc/firewalld, as bytes.

The same input gives the same bytes on every host and day, so nothing that merely changes (a date, a serial)
is written into a file. Templates come in as text; where they lie is the business of `store`.
Whether what was rendered is sound is the business of `checks`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fwfeed.config import FOREIGN_ZONE, Config, Inbound, Outbound
from fwfeed.errors import TemplateFault
from fwfeed.model import Candidate, IntendedSet
from fwfeed.prefixes import Family, format_prefix

TEMPLATES = ("ipset.xml.j2", "policy.xml.j2", "zone.xml.j2")

_ANY = "ANY"
_HOST = "HOST"
_RULE_FAMILY = {Family.IPV4: "ipv4", Family.IPV6: "ipv6"}
_SET_FAMILY = {Family.IPV4: "inet", Family.IPV6: "inet6"}
_BY_HAND = "Written by fwfeed; changes made by hand are lost."


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """What fwfeed wants firewalld to hold: files by their path below /etc/firewalld, and what they mean."""

    files: Mapping[str, bytes]
    sets: tuple[IntendedSet, ...]
    default_zone: str | None


@dataclass(frozen=True, slots=True)
class _Log:
    prefix: str
    limit: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    family: str
    peer: str
    ipset: str


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Zone:
    name: str
    description: str
    sources: list[str]
    services: tuple[str, ...]
    log: _Log | None


def render(candidate: Candidate, config: Config, templates: Mapping[str, tuple[str, str]]) -> Rendered:
    """Render every file of a generation.

    `templates` maps each name of TEMPLATES to (the path to show in messages, the text).
    Raises TemplateFault, with path and line, for a template that has an error or an undefined name.
    """
    ipsets = [_ipset(candidate, config, family) for family in Family]
    engine = _Engine(templates)
    files: dict[str, bytes] = {}
    for ipset in ipsets:
        files[f"ipsets/{ipset.name}.xml"] = engine.render("ipset.xml.j2", ipset=ipset)
    for policy in _policies(config):
        files[f"policies/{policy.name}.xml"] = engine.render("policy.xml.j2", policy=policy)
    for zone in _zones(config):
        files[f"zones/{zone.name}.xml"] = engine.render("zone.xml.j2", zone=zone)
    return Rendered(
        files=files,
        sets=tuple(
            IntendedSet(name=config.set.ipset(family), family=family, ranges=candidate.ranges(family))
            for family in Family
        ),
        default_zone=FOREIGN_ZONE if config.inbound.action is Inbound.RESTRICT else None,
    )


def maxelem(entries: int) -> int:
    """Return the size to give a set: a power of two with at least as much room again, and 65536 at least.

    A power of two moves seldom, and a move needs a reload. The factor of two also covers kernels that count
    both ends of an interval as elements.
    """
    return max(65536, 1 << (2 * entries).bit_length())


def _ipset(candidate: Candidate, config: Config, family: Family) -> _Ipset:
    entries = [format_prefix(prefix, family) for prefix in candidate.prefixes(family)]
    members = " ".join((*config.set.countries, *config.set.include))
    return _Ipset(
        name=config.set.ipset(family),
        description=f"IPv{family.value} addresses of {members}. {_BY_HAND}",
        family=_SET_FAMILY[family],
        maxelem=maxelem(len(entries)),
        entries=entries,
    )


def _policies(config: Config) -> Iterator[_Policy]:
    name = config.set.name
    outbound = _Log(config.outbound.prefix, config.outbound.limit)
    if config.outbound.action is Outbound.LOG:
        yield _Policy(
            name="fwfeed-outbound",
            description=f"Logs new connections of this host to outside {name}. {_BY_HAND}",
            ingress=_HOST,
            egress=_ANY,
            rules=_rules(config, "destination"),
            log=outbound,
        )
    if config.outbound.action is Outbound.LOG and config.outbound.forwarded:
        yield _Policy(
            name="fwfeed-forwarded",
            description=f"Logs new connections forwarded by this host to outside {name}. {_BY_HAND}",
            ingress=_ANY,
            egress=_ANY,
            rules=_rules(config, "destination"),
            log=outbound,
        )
    if config.inbound.action is Inbound.LOG:
        yield _Policy(
            name="fwfeed-inbound",
            description=f"Logs new connections to this host from outside {name}. {_BY_HAND}",
            ingress=_ANY,
            egress=_HOST,
            rules=_rules(config, "source"),
            log=_Log(config.inbound.prefix, config.inbound.limit),
        )


def _rules(config: Config, peer: str) -> list[_Rule]:
    return [_Rule(family=_RULE_FAMILY[family], peer=peer, ipset=config.set.ipset(family)) for family in Family]


def _zones(config: Config) -> Iterator[_Zone]:
    inbound = config.inbound
    if inbound.action is not Inbound.RESTRICT:
        return
    name = config.set.name
    yield _Zone(
        name=name.lower(),
        description=f"Admits {name} to some services. {_BY_HAND}",
        sources=[config.set.ipset(family) for family in Family],
        services=inbound.services,
        log=None,
    )
    yield _Zone(
        name=FOREIGN_ZONE,
        description=f"The default zone: all that does not come from {name}, logged. {_BY_HAND}",
        sources=[],
        services=inbound.foreign_services,
        log=_Log(inbound.prefix, inbound.limit),
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
