"""Turn results into what is printed: text for people, JSON-ready values for machines. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from difflib import unified_diff
from typing import Any

from fwfeed.candidate import remarks_to_json
from fwfeed.config import Config, Inbound, Outbound
from fwfeed.model import Candidate, Found, Kernel, Review, Source, Trace, Verdict
from fwfeed.prefixes import Family, count, format_prefix
from fwfeed.times import local_text, utc_text

_DIFF_HEADER = 3  # ---, +++ and the first @@
_DIFF_LINES = 10


def candidate_lines(candidate: Candidate, config: Config, zone: tzinfo) -> Iterator[str]:
    """Yield the sets with what each origin gave, and the sources."""
    for family in Family:
        total = count(candidate.ranges(family))
        yield f"set {config.set.ipset(family)} (IPv{family.value}): {_size(len(candidate.prefixes(family)), total)}"
        for part in candidate.parts:
            if part.family is family:
                yield f"  {_origin(part.source, part.term, part.excluded):<24} {_size(part.prefixes, part.addresses)}"
    yield f"compiled {local_text(candidate.compiled, zone)} from"
    for source in candidate.sources:
        yield f"  {_source(source)}"


def policy_lines(config: Config) -> Iterator[str]:
    """Yield what the configuration does with foreign connections."""
    outbound, inbound = config.outbound, config.inbound
    if outbound.action is Outbound.OFF:
        yield "outbound: off"
    else:
        forwarded = "the host's own and forwarded" if outbound.forwarded else "the host's own"
        limit = f"{outbound.limit or 'none'}{' (of the log)' if outbound.action.refuses else ''}"
        nflog = "off" if config.watch.group is None else f"group {config.watch.group}"
        yield f'outbound: {outbound.action} {forwarded}, prefix "{outbound.prefix}", limit {limit}, nflog {nflog}'
    if inbound.action is Inbound.OFF:
        yield "inbound: off"
    elif inbound.action is Inbound.LOG:
        yield f'inbound: log, prefix "{inbound.prefix}", limit {inbound.limit or "none"}'
    else:
        services, foreign = (", ".join(names) or "nothing" for names in (inbound.services, inbound.foreign_services))
        yield f"inbound: restrict; {config.set.name} may reach {services}; all others {foreign}"
    if config.apply.always_allow and (outbound.action.refuses or inbound.action is Inbound.RESTRICT):
        yield f"never refused: {', '.join(config.apply.always_allow)}"


def change_lines(changes: Mapping[str, bytes | None], installed: Mapping[str, bytes | None]) -> Iterator[str]:
    """Yield a line a file that is to be written or removed."""
    for path, new in changes.items():
        kind = "remove" if new is None else "new" if installed[path] is None else "change"
        yield f"  {kind:<7} {path}"


def diff_lines(
    changes: Mapping[str, bytes | None], installed: Mapping[str, bytes | None], *, full: bool
) -> Iterator[str]:
    """Yield a unified diff from what is installed to what would be; unless `full`, the first lines of each file."""
    for path, new in changes.items():
        old = installed[path]
        before, after = ((raw or b"").decode(errors="replace").splitlines() for raw in (old, new))
        names = ("/dev/null" if old is None else f"a/{path}", "/dev/null" if new is None else f"b/{path}")
        lines = list(unified_diff(before, after, *names, lineterm=""))
        shown = len(lines) if full else _DIFF_HEADER + _DIFF_LINES
        yield from lines[:shown]
        if more := len(lines[shown:]):
            yield f"… {more:,} more line{'' if more == 1 else 's'}: --full"


def verdict_lines(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Yield what the gates found."""
    for verdict in verdicts:
        yield f"HELD by gate {verdict.gate}: {verdict.reason}"


def set_change_lines(changes: str, redefined: Sequence[Verdict]) -> Iterator[str]:
    """Yield how a candidate's definition differs from the installed one, and whether that holds back a timer."""
    if changes:
        held = "; an apply by a timer leaves it out: fwfeed apply" if redefined else ""
        yield f"the set changes: {changes}{held}"


def refreshed_json(
    candidate: Candidate | None,
    held: Candidate | None,
    verdicts: Sequence[Verdict],
    stale: Sequence[str],
    warnings: Sequence[str],
) -> dict[str, Any]:
    """Return how a refresh ended for JSON; `warnings` is of sources that are stale and give the set nothing."""
    return {
        **(candidate_json(candidate) if candidate else {"compiled": None}),
        "held": held and held_json(held, verdicts),
        "stale": list(stale),
        "warnings": list(warnings),
    }


def review_lines(review: Review, config: Config, zone: tzinfo) -> Iterator[str]:
    """Yield how one set differs from another: in numbers, by origin, and each prefix."""

    def at(moment: datetime) -> str:
        return local_text(moment, zone)

    yield f"{_compared(review.after, at)} against {_compared(review.before, at)}"
    for delta in review.deltas:
        before, after = count(delta.before), count(delta.after)
        yield f"set {config.set.ipset(delta.family)} (IPv{delta.family.value}): {_move(before, after)}"
        for (source, term, excluded), (old, new) in review.parts.items():
            if old[delta.family] != new[delta.family]:
                moved = _move(old[delta.family], new[delta.family])
                yield f"  {_origin(source, term, excluded):<24} {moved}"
        for sign, prefixes in (("-", delta.removed), ("+", delta.added)):
            yield from (f"{sign} {format_prefix(prefix, delta.family)}" for prefix in prefixes)
    if not any(delta.added or delta.removed for delta in review.deltas):
        yield "no difference"


def review_json(review: Review) -> dict[str, Any]:
    """Return how one set differs from another for JSON."""
    return {
        "before": _compared(review.before, utc_text),
        "after": _compared(review.after, utc_text),
        "families": {
            str(delta.family.value): {
                "addresses": {"before": count(delta.before), "after": count(delta.after)},
                "parts": [
                    {
                        "source": source or None,
                        "term": term,
                        "excluded": excluded,
                        "before": old[delta.family],
                        "after": new[delta.family],
                    }
                    for (source, term, excluded), (old, new) in review.parts.items()
                    if old[delta.family] != new[delta.family]
                ],
                "added": [format_prefix(prefix, delta.family) for prefix in delta.added],
                "removed": [format_prefix(prefix, delta.family) for prefix in delta.removed],
            }
            for delta in review.deltas
        },
        "held": [{"gate": verdict.gate, "reason": verdict.reason} for verdict in review.verdicts],
        "set_changes": review.set_changes or None,
        "held_unattended": [{"gate": verdict.gate, "reason": verdict.reason} for verdict in review.redefined],
    }


def trace_lines(trace: Trace) -> Iterator[str]:
    """Yield from where an address or prefix came into a set, or why it is not in it."""
    yield f"  why {trace.asked} is {'in' if trace.inside else 'not in'} set {trace.ipset}:"
    for origin in trace.origins:
        sign = "exclude" if origin.excluded else "include"
        yield f"    {sign} {_origin(origin.source, origin.term, origin.excluded).removeprefix('exclude ')}"
        if origin.place:
            serial = "" if origin.serial is None else f", serial {origin.serial}"
            yield f"      {origin.place}{serial}, from {origin.url}"
            yield f"      {origin.text}"
    if not trace.origins:
        yield "    nothing that the set is made of has it"


def trace_json(trace: Trace) -> dict[str, Any]:
    """Return from where an address or prefix came into a set for JSON."""
    return {
        "asked": trace.asked,
        "inside": trace.inside,
        "origins": [
            {
                "excluded": origin.excluded,
                "source": origin.source or None,
                "term": origin.term,
                "place": origin.place or None,
                "serial": origin.serial,
                "url": origin.url or None,
                "text": origin.text or None,
            }
            for origin in trace.origins
        ],
    }


def lookup_lines(found: Found) -> Iterator[str]:
    """Yield what is known of one address."""
    yield found.address
    if found.special_purpose:
        yield "  special-purpose range (RFC 6890)" + ("" if found.delegations else ", delegated to nobody")
    for delegation in found.delegations:
        since = f" since {_day(delegation.date)}" if delegation.date.strip("0") else ""
        yield f"  {delegation.country or 'no country'}, {delegation.registry}, {delegation.status}{since}"
    if not found.delegations and not found.special_purpose:
        yield "  not delegated by any registry in use"
    yield f"  in set {found.ipset}: {found.prefix or 'no'}"
    if found.exempt:
        yield "  exempt: connections to it are not refused"
    yield f"  in the kernel's set: {_kernel_answer(found)}"


def lookup_json(found: Found) -> dict[str, Any]:
    """Return what is known of one address for JSON."""
    return {
        "address": found.address,
        "special_purpose": found.special_purpose,
        "delegations": [
            {
                "country": delegation.country,
                "registry": delegation.registry,
                "status": delegation.status,
                "date": _day(delegation.date) if delegation.date.strip("0") else None,
            }
            for delegation in found.delegations
        ],
        "set": found.ipset,
        "prefix": found.prefix,
        "exempt": found.exempt,
        "kernel": found.kernel,
    }


def candidate_json(candidate: Candidate) -> dict[str, Any]:
    """Return a candidate without its prefixes for JSON."""
    return {
        "compiled": utc_text(candidate.compiled),
        "sources": [
            {
                "name": source.name,
                "url": source.url,
                "serial": source.serial,
                "end_date": source.end_date.isoformat(),
                "records": source.records,
                "taken": source.taken,
                "remarks": remarks_to_json(source.remarks),
            }
            for source in candidate.sources
        ],
        "parts": [
            {
                "source": part.source or None,
                "term": part.term,
                "excluded": part.excluded,
                "ip": part.family.value,
                "prefixes": part.prefixes,
                "addresses": part.addresses,
            }
            for part in candidate.parts
        ],
        "prefixes": {str(family.value): len(candidate.prefixes(family)) for family in Family},
        "addresses": {str(family.value): count(candidate.ranges(family)) for family in Family},
    }


def held_json(held: Candidate, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return what is held for JSON."""
    return {
        "compiled": utc_text(held.compiled),
        "verdicts": [{"gate": verdict.gate, "reason": verdict.reason} for verdict in verdicts],
    }


def _compared(one: tuple[str, datetime | None], at: Callable[[datetime], str]) -> str:
    name, compiled = one
    return name if compiled is None else f"{name} of {at(compiled)}"


def _kernel_answer(found: Found) -> str:
    if found.kernel is Kernel.UNKNOWN:
        return f"not known: {found.unknown}"
    if found.kernel is Kernel.NO_SET:
        return "no, there is no such set"
    held = found.kernel is Kernel.HOLDS
    differs = "" if held is (found.prefix is not None) else ", unlike the candidate; see: fwfeed status"
    return ("yes" if held else "no") + differs


def _origin(source: str, term: str, excluded: bool) -> str:  # noqa: FBT001 - the three parts of a key
    name = term if source in ("", term) else f"{term}, {source}"
    return f"exclude {name}" if excluded else name


def _move(before: int, after: int) -> str:
    share = f" ({(after - before) / before:+.1%})" if before and after != before else ""
    return f"{_number(before)} -> {_number(after)} addresses{share}"


def _number(addresses: int) -> str:
    return f"{addresses:,}" if addresses < 10**12 else f"{addresses:.2e}"


def _size(prefixes: int, addresses: int) -> str:
    return f"{prefixes:>6,} prefixes, {_number(addresses):>15} addresses"


def _source(source: Source) -> str:
    taken = f"{source.taken:,} of {source.records:,} records taken"
    serial = "" if source.serial is None else f"serial {source.serial}, "
    return f"{source.name:<8} {serial}to {source.end_date}: {taken}"


def _day(text: str) -> str:
    return f"{text[:4]}-{text[4:6]}-{text[6:]}"
