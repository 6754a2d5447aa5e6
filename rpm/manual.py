"""Make the manual pages and the completion for bash: of the argument parser, and of the commented configuration.

    python3 rpm/manual.py fwfeed.1 | fwfeed.toml.5 | fwfeed.bash

argparse-manpage would do for the first, but leaves out what whatis(1) and apropos(1) go by, and repeats every common
option at each of the commands. SOURCE_DATE_EPOCH dates the pages, so that builds can be reproduced.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from fwfeed import __version__  # noqa: E402 - only now it can be found
from fwfeed.cli import parser  # noqa: E402
from fwfeed.errors import ExitCode  # noqa: E402
from fwfeed.report.probe import Level  # noqa: E402

_EXAMPLES = {
    "sudo fwfeed fetch; fwfeed render --dry-run": "Compile the set, and show what it would change.",
    "sudo fwfeed update": "Fetch what is new, and apply it, also where the configuration now says another set.",
    "sudo fwfeed apply --confirm-within 2m": "Apply, and undo it after two minutes unless you say: fwfeed confirm",
    "fwfeed diff; sudo fwfeed approve": "See what a gate holds, and let it through.",
    "sudo fwfeed rollback; sudo fwfeed history": "Go back to the generation before, and list what was installed.",
    "sudo fwfeed lookup --why 192.0.2.1": "Say whose an address is, and which line of which file put it into the set.",
    "sudo fwfeed report --since 30d --html report.html": "Write a page of 30 days: what went abroad, and who sent it.",
    "sudo https_proxy=http://proxy.example.net:3128 fwfeed update": "Do it through a proxy.",
    "fwfeed check --nagios --warning 3d --critical 6d": "Answer as a plugin of Nagios, with limits on sources' age.",
}
_ENVIRONMENT = {
    "https_proxy, http_proxy, all_proxy": "the proxy for URLs of that scheme, or of any, as in "
    "http://proxy.example.net:3128. Upper-case names are read, too. Units do not get the variables of a shell: set "
    "them with Environment= (systemctl edit) for fwfeed-refresh.service, which uses the proxy, and for "
    "fwfeed-apply.service, which must not cut it",
    "no_proxy": "the hosts and domains, separated by commas, to reach without a proxy",
    "REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE": "a file or folder of the certificates to trust, instead of the system's",
    "SSH_CONNECTION": "set by sshd: the session that an apply must not cut; it is found, too, where sudo removed it",
    "TZ": "the time zone of times in text and of [daemon] at, instead of the host's",
    "JOURNAL_STREAM, NOTIFY_SOCKET": "set by systemd: whether errors go to the journal, and whom fwfeed watch tells "
    "that it listens",
}
_FILES = {
    "/etc/fwfeed/fwfeed.toml": "the configuration, see fwfeed.toml(5)",
    "/etc/fwfeed/templates/": "templates of your own, in place of those in /usr/share/fwfeed/templates",
    "/usr/lib64/nagios/plugins/check_fwfeed": "fwfeed check --nagios, for Nagios and NRPE",
}
_PROBE = {
    "OK": "the kernel holds what it should, and no source is too old",
    "WARNING": "somebody should look: something is held, refused, unfinished or not confirmed; a source is older than "
    "--warning; or it is not asked as root, and so cannot be proved",
    "CRITICAL": "the kernel does not hold the generation, firewalld does not answer, or nothing is installed; the last "
    "apply failed or was rolled back; or a source is older than --critical",
    "UNKNOWN": "configuration or state cannot be read, there is no candidate, or there was no answer in time",
}
_UNITS = {
    "fwfeed.timer": "starts both halves each night; not enabled unless you do",
    "fwfeed-refresh.service": "fwfeed fetch, as user fwfeed, who cannot see the firewall",
    "fwfeed-apply.service": "fwfeed apply --unattended, as root, which cannot reach the network",
    "fwfeed-recover.service": "fwfeed recover, at boot, before firewalld starts, where something is left to end",
    "fwfeed-watch.service": "fwfeed watch, which records who makes each connection abroad; not enabled unless you do",
}


def command_page() -> Iterator[str]:
    """Yield fwfeed(1)."""
    whole = parser()
    yield _heading("FWFEED", 1, "User Commands")
    yield from [".SH NAME", rf"fwfeed \- {_roff(_lower(whole.description or ''))}"]
    yield from [".SH SYNOPSIS", _synopsis(whole)]
    yield from [".SH DESCRIPTION"]
    yield _roff(
        "fwfeed fetches what the five regional internet registries publish of who holds which addresses, compiles the "
        "set of a country, installs it in firewalld with the policies that log or refuse connections abroad, and "
        "proves that the kernel holds it. See README.md in its documentation for how to begin."
    )
    yield from [".SH COMMANDS"]
    common = {action.dest for action in _options(whole)}
    for name, command in _commands(whole).items():
        yield from [".TP", rf"\fBfwfeed {name}\fR {_arguments(command, common)}".rstrip()]
        yield _roff(command.description or "")
        own = [action for action in _options(command) if action.dest not in common and _shown(action)]
        if own:
            yield ".RS"
            yield from (line for action in own for line in _option(action))
            yield ".RE"
    yield from [".SH OPTIONS", "These are of every command, before or after its name."]
    yield from (line for action in _options(whole) if _shown(action) for line in _option(action))
    yield from [".SH EXIT STATUS"]
    for code in ExitCode:
        yield from [".TP", rf"\fB{code.value}\fR", _roff(code.meaning)]
    yield from [".PP", r"\fBfwfeed check \-\-nagios\fR ends with the codes of a plugin instead, and repairs nothing:"]
    for level in Level:
        yield from [".TP", rf"\fB{level.value}\fR {level.name}", _roff(_PROBE[level.name])]
    yield from [".SH ENVIRONMENT", *_table(_ENVIRONMENT)]
    yield from [".SH FILES", *_table(_FILES | _changed())]
    yield from [".SH UNITS", *_table(_UNITS)]
    yield ".SH EXAMPLES"
    for typed, text in _EXAMPLES.items():
        yield from [".TP", rf"\fB{_roff(typed)}\fR", _roff(text)]
    yield from [".SH SEE ALSO", r"\fBfwfeed.toml\fR(5), \fBfirewalld\fR(1), \fBfirewalld.policies\fR(5), \fBnft\fR(8)"]


def configuration_page() -> Iterator[str]:
    """Yield fwfeed.toml(5), of the configuration that is shipped."""
    yield _heading("FWFEED.TOML", 5, "File Formats")
    yield from [".SH NAME", r"fwfeed.toml \- configuration of fwfeed"]
    yield from [".SH DESCRIPTION"]
    comment: list[str] = []
    for line in (ROOT / "rpm/fwfeed.toml").read_text(encoding="utf-8").splitlines():
        if table := re.fullmatch(r"#?\[(.+)\]", line):
            yield from _paragraph(comment)
            yield from [rf".SH [{table[1]}]"]
        elif key := re.fullmatch(r"#([a-z_]+ = .*)", line):
            yield from [".TP", rf"\fB{_roff(key[1])}\fR"]
            yield from _text(comment) if comment else [r"\&"]
        elif line:
            comment.append(line.removeprefix("#").removeprefix(" "))
            continue
        else:
            yield from _paragraph(comment)
        comment = []
    yield from _paragraph(comment)
    yield from [".SH SEE ALSO", r"\fBfwfeed\fR(1)"]


def completion() -> Iterator[str]:
    """Yield what completes fwfeed's arguments in bash."""
    whole = parser()
    common = _words(_options(whole))
    yield "# bash completion for fwfeed, made of its argument parser"
    yield "_fwfeed() {"
    yield '    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command="" word'
    yield "    COMPREPLY=()"
    yield "    case $previous in"
    for option in sorted(_with_file(whole)):
        yield f'        {option}) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;'
    for option, choices in sorted(_with_choices(whole).items()):
        yield f'        {option}) COMPREPLY=($(compgen -W "{choices}" -- "$current")); return ;;'
    yield f"        {'|'.join(sorted(_with_text(whole)))}) return ;;"
    yield "    esac"
    yield '    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do'
    yield "        case $word in"
    yield f"            {'|'.join(_commands(whole))}) command=$word; break ;;"
    yield "        esac"
    yield "    done"
    yield "    case $command in"
    yield f'        "") COMPREPLY=($(compgen -W "{common} {" ".join(_commands(whole))}" -- "$current")) ;;'
    for name, command in _commands(whole).items():
        yield f'        {name}) COMPREPLY=($(compgen -W "{_words(_options(command))}" -- "$current")) ;;'
    yield "    esac"
    yield "}"
    yield "complete -F _fwfeed fwfeed"


def _changed() -> dict[str, str]:
    """Return what README lists of what changes on the host."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## What changes on the host\n")[2]
    rows = re.findall(r"^\| (/[^|]+?) \| ([^|]+?) \|$", text.partition("\n## ")[0], re.MULTILINE)
    return {path.replace("`", ""): meaning.replace("`", "") for path, meaning in rows}


def _heading(name: str, section: int, title: str) -> str:
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    day = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    return f'.TH {name} {section} {day:%Y-%m-%d} "fwfeed {__version__}" "{title}"'


def _roff(text: str) -> str:
    """Escape what roff would take for its own."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return re.sub(r"^(?=[.'])", r"\&", text, flags=re.MULTILINE)


def _lower(text: str) -> str:
    return f"{text[:1].lower()}{text[1:]}".rstrip(".")


def _table(rows: dict[str, str]) -> Iterator[str]:
    for name, text in rows.items():
        yield from [".TP", rf"\fI{_roff(name)}\fR", _roff(text)]


def _text(comment: Iterable[str]) -> list[str]:
    return [_roff(line) for line in comment]


def _paragraph(comment: list[str]) -> Iterator[str]:
    """Yield what describes no key; what comes after an empty comment line is an example."""
    if "" in comment:
        border = comment.index("")
        yield from [".PP", *_text(comment[:border]), ".PP", ".nf", *_text(comment[border + 1 :]), ".fi"]
    elif comment:
        yield from [".PP", *_text(comment)]


def _commands(whole: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in whole._actions:  # noqa: SLF001 - argparse has no public way to ask, here and below
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            return dict(action.choices)
    raise LookupError


def _all(whole: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for each in (whole, *_commands(whole).values()):
        yield from (action for action in _options(each) if _shown(action))


def _options(command: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in command._actions if action.option_strings]  # noqa: SLF001


def _shown(action: argparse.Action) -> bool:
    return action.help is not argparse.SUPPRESS


def _metavar(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.choices is not None:
        return f"{{{','.join(map(str, action.choices))}}}"
    return str(action.metavar or action.dest.upper())


def _option(action: argparse.Action) -> Iterator[str]:
    names = ", ".join(rf"\fB{_roff(name)}\fR" for name in action.option_strings)
    yield from [".TP", rf"{names} \fI{_metavar(action)}\fR" if _metavar(action) else names]
    yield _roff((action.help or "").replace("%%", "%"))


def _arguments(command: argparse.ArgumentParser, common: set[str]) -> str:
    words = []
    for action in command._actions:  # noqa: SLF001
        if not _shown(action) or action.dest in common:
            continue
        name = _metavar(action)
        if action.option_strings:
            names = (
                action.option_strings
                if isinstance(action, argparse.BooleanOptionalAction)
                else action.option_strings[-1:]
            )
            words.append(rf"[{_roff(' | '.join(names))}{f' {name}' if name else ''}]")
        else:
            words.append(f"[{name}]" if action.nargs == "?" else f"{name}..." if action.nargs == "+" else name)
    return " ".join(words)


def _synopsis(whole: argparse.ArgumentParser) -> str:
    words = [rf"[{_roff(each.option_strings[-1])} {_metavar(each)}".rstrip() + "]" for each in _options(whole)]
    return rf"\fBfwfeed\fR {' '.join(words)} \fICOMMAND\fR ..."


def _words(actions: Iterable[argparse.Action]) -> str:
    return " ".join(name for action in actions if _shown(action) for name in action.option_strings)


def _taking(whole: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    return (action for action in _all(whole) if action.nargs != 0)


def _with_file(whole: argparse.ArgumentParser) -> set[str]:
    return {name for action in _taking(whole) if action.type is Path for name in action.option_strings}


def _with_choices(whole: argparse.ArgumentParser) -> dict[str, str]:
    chosen = [action for action in _taking(whole) if action.choices is not None]
    return {name: " ".join(map(str, action.choices or ())) for action in chosen for name in action.option_strings}


def _with_text(whole: argparse.ArgumentParser) -> set[str]:
    known = _with_file(whole) | set(_with_choices(whole))
    return {name for action in _taking(whole) for name in action.option_strings} - known


_PAGES = {"fwfeed.1": command_page, "fwfeed.toml.5": configuration_page, "fwfeed.bash": completion}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in _PAGES:
        sys.exit(f"usage: {sys.argv[0]} {' | '.join(_PAGES)}")
    sys.stdout.writelines(f"{line}\n" for line in _PAGES[sys.argv[1]]())
