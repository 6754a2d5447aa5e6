"""Where things stand: the candidate, what is installed and what it does, and whether the kernel holds it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fwfeed.config import Inbound, Outbound
from fwfeed.model import Candidate, Generation, IntendedSet, Refusal, Verdict
from fwfeed.ruleset import Action, Content, names, parse, policy_of

OWN_POLICY, FORWARDED_POLICY, INBOUND_POLICY = (
    f"policies/fwfeed-{name}.xml" for name in ("outbound", "forwarded", "inbound")
)
_DENYING = {"REJECT": Outbound.REJECT, "DROP": Outbound.DROP}


@dataclass(frozen=True, slots=True, kw_only=True)
class Actions:
    """What installed files do with foreign connections; `groups` are those of NFLOG that get their first packets."""

    outbound: Outbound
    forwarded: bool
    inbound: Inbound
    groups: frozenset[int]

    @property
    def text(self) -> tuple[str, str]:
        """What is done with those that go out, and with those that come in."""
        own = "off" if self.outbound is Outbound.OFF else f"{self.outbound}, own{' and forwarded' * self.forwarded}"
        return f"outbound: {own}", f"inbound: {self.inbound}"


def read_actions(content: Content, default_zone: str | None) -> Actions:
    """Read what files below /etc/firewalld do, whatever templates they came from. Raises ValueError.

    `default_zone` is the zone that they make the default, which only inbound = restrict does.
    """
    inbound = Inbound.LOG if content.get(INBOUND_POLICY) is not None else Inbound.OFF
    trees = [parse(content[f"policies/{name}.xml"]) for name in names(content, "policies")]
    return Actions(
        outbound=_outbound(content.get(OWN_POLICY)),
        forwarded=content.get(FORWARDED_POLICY) is not None,
        inbound=inbound if default_zone is None else Inbound.RESTRICT,
        groups=frozenset(int(each.get("group", "0")) for tree in trees for each in tree.iter("nflog")),
    )


def _outbound(raw: bytes | None) -> Outbound:
    if raw is None:
        return Outbound.OFF
    policy = policy_of(parse(raw))
    refusing = {rule.action for rule in policy.rules}
    for action, outbound in ((Action.REJECT, Outbound.REJECT), (Action.DROP, Outbound.DROP)):
        if action in refusing:
            return outbound
    return _DENYING.get(policy.target, Outbound.LOG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """Whether `fwfeed watch` listens, and what it lost.

    `listening`: None where it is not known, as without root. `lost` counts events in the ledger's last 24 hours; None
    where there is no ledger, or it cannot be read.
    """

    listening: bool | None
    lost: int | None


def unreached_text(interface: str, zone: str, ipset: str, default: str) -> str:
    """Say that inbound = restrict does not reach an interface."""
    return (
        f"interface {interface} is bound to zone {zone}: what comes in there from outside {ipset} "
        f"is judged by that zone, not by {default}"
    )


@dataclass(frozen=True, slots=True)
class Run:
    """How a systemd unit of ours ended last; after a signal `exit_code` is 128 and its number, as in shells."""

    unit: str
    exit_code: int
    ended: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Where things stand.

    `problems` says where files, runtime and kernel are not what the generation says: empty is the proof that they
    are, None that it is not known, and `unknown` why. `pending` is whether the candidate has another set than the
    generation. `held` is the candidate that the gates hold, and `verdicts` why; `refusals` is of the last refresh.
    `waits` is until when the generation has to be confirmed; `held_back` says how somebody went back. `installed` has
    the generation's sets of the country. `last` is the newest generation, however it ended; `unfinished`: an apply is
    under way, or was cut off. `fires` is when the timer starts `runs` again, as far as systemd tells; `systemd` is
    whether it runs this host. `actions` is what the generation's files do, None where nothing is installed or they are
    damaged; `watching` None where they hand nothing to `fwfeed watch`. `unreached` has the zone of each interface that
    inbound = restrict does not reach, None where that is not known. `outdated` says how the configuration differs from
    the one that the candidate was compiled for, and `redefined` why a timer leaves the candidate out.
    """

    candidate: Candidate | None
    held: Candidate | None
    verdicts: tuple[Verdict, ...]
    refusals: tuple[Refusal, ...]
    generation: Generation | None
    waits: datetime | None
    held_back: str
    pending: bool
    problems: tuple[str, ...] | None
    unknown: str
    installed: tuple[IntendedSet, ...]
    last: Generation | None
    unfinished: bool
    runs: tuple[Run, ...]
    fires: datetime | None
    systemd: bool
    actions: Actions | None
    watching: Watching | None
    unreached: Mapping[str, str] | None
    outdated: str
    redefined: tuple[Verdict, ...]

    @property
    def no_candidate(self) -> str:
        """What to say where there is no candidate: to fetch, unless that has just come to nothing."""
        tried = self.held is not None or any(not refusal.name for refusal in self.refusals)
        return "none yet" if tried else "none yet; run: fwfeed fetch"
