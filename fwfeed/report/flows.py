"""Say of one flow where it went and who sent it: for machines, and for people."""

from __future__ import annotations

import json
from datetime import tzinfo
from typing import Any

from fwfeed.errors import printable
from fwfeed.flow import Sender, Sent
from fwfeed.times import local_text, utc_text


def flow_json(sent: Sent) -> dict[str, Any]:
    """Return a flow and its sender as one object; what is not known is null or empty."""
    flow, sender = sent.flow, sent.sender
    return {
        "at": flow.at.isoformat(timespec="microseconds"),
        "direction": str(flow.direction),
        "family": flow.family.value,
        "protocol": flow.protocol,
        "source": flow.source,
        "source_port": flow.source_port,
        "destination": flow.destination,
        "destination_port": flow.destination_port,
        "interface": flow.interface,
        "uid": flow.uid,
        "prefix": flow.prefix,
        "known": str(sender.known),
        "pid": sender.pid,
        "executable": sender.executable,
        "deleted": sender.deleted,
        "command": sender.command,
        "user": sender.user,
        "unit": sender.unit,
        "container": sender.container,
        "started": None if sender.started is None else utc_text(sender.started),
        "parents": list(sender.parents),
        "suspects": list(sender.suspects),
        "delay": None if sent.delay is None else round(sent.delay, 6),
    }


def flow_line(sent: Sent, zone: tzinfo) -> str:
    """Return a flow and its sender as one line; what whoever attacks may choose is quoted."""
    flow, sender = sent.flow, sent.sender
    words = [
        local_text(flow.at, zone, timespec="milliseconds"),
        str(flow.direction),
        flow.protocol,
        end_text(flow.source, flow.source_port),
        "->",
        end_text(flow.destination, flow.destination_port),
        flow.interface,
        *_who(sender),
    ]
    return printable(" ".join(words))


def _who(sender: Sender) -> list[str]:
    found: list[tuple[str, str]] = [
        ("pid", "" if sender.pid is None else str(sender.pid)),
        ("user", sender.user),
        ("unit", sender.unit),
        ("container", sender.container),
        ("executable", sender.executable),
    ]
    words = [f"known={_quoted(str(sender.known))}", *(f"{name}={_quoted(text)}" for name, text in found if text)]
    if sender.deleted:
        words.append("deleted")
    if sender.command:
        words.append(f"command={_quoted(sender.command)}")
    if sender.suspects:
        words.append(f"suspects={_quoted(', '.join(sender.suspects))}")
    return words


def _quoted(text: str) -> str:
    plain = text and all(character.isalnum() or character in "/._:@+-" for character in text)
    return text if plain else json.dumps(text, ensure_ascii=False)


def end_text(address: str, port: int | None) -> str:
    """Return an address and a port as one text."""
    shown = f"[{address}]" if ":" in address and port is not None else address
    return shown if port is None else f"{shown}:{port}"


def sender_text(sender: Sender) -> str:
    """Return a sender in few words."""
    name = sender.executable.rpartition("/")[2] + (" (deleted)" if sender.deleted else "")
    whose = [each for each in (sender.container, sender.unit, sender.user) if each]
    if not name:
        name = f"? {', '.join(sender.suspects)}".rstrip() if sender.suspects else f"? {sender.known}"
    return f"{name} [{whose[0]}]" if whose else name
