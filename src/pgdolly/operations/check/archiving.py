"""Findings about archiving on each member: its mode, its command, its stop files, its archiver. Pure.

All of it is per node: what is off on a replica alone stops archiving at the next failover.
"""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from pgdolly.drivers.server_state import ServerState, archive_mode_of
from pgdolly.operations.check.finding import Cure, Finding, error
from pgdolly.operations.check.members import STANZA_OPTION, patronictl, pushed_stanza
from pgdolly.operations.check.observe import CheckFacts
from pgdolly.operations.look import MemberLook

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class _Server:
    """A member whose server answers; what a private recovery of pgdolly's says is not the cluster's."""

    look: MemberLook
    state: ServerState

    @property
    def name(self) -> str:
        return self.look.name


def archiving_findings(facts: CheckFacts) -> Iterator[Finding]:
    """What keeps WAL from coming into the cluster's own stanza."""
    servers = _servers(facts)
    yield from _other_commands(facts, servers)
    yield from _mode_off(facts, servers)
    yield from _off_after_restart(facts, servers)
    yield from _down_and_off(facts)
    yield from _stop_files(facts)
    yield from _archiver(facts)


def _servers(facts: CheckFacts) -> list[_Server]:
    return [
        _Server(look, look.server)
        for look in facts.look.members
        if look.server is not None and not look.private
    ]


def foreign_command_findings(facts: CheckFacts) -> Iterator[Finding]:
    """The worst of all: a clone has its source's system identifier, so pgBackRest's own checks let it through."""
    of_command = _grouped(
        [
            server
            for server in _servers(facts)
            # One that is named after the cluster is its own, whatever pgBackRest's configuration says: the cure
            # would make it push into the other's. That is a finding of its own, stanza_differs.
            if pushed_stanza(server.state.archive_command.value)
            not in (None, server.look.facts.stanza, facts.name)
        ],
        lambda server: (server.state.archive_command.value, server.state.archive_command.by_alter_system),
    )
    for (command, by_alter_system), group in of_command:
        stanza, own = pushed_stanza(command), group[0].look.facts.stanza
        active = any(server.state.archive_mode != "off" for server in group)
        yield error(
            "archive_command_foreign",
            _names(group),
            f"archive_command pushes into stanza {stanza!r}, which is another cluster's, not into {own!r}: {command}"
            + ("" if active else " (archive_mode is off as yet; do not turn it on)"),
            *_set_command(
                facts, group, STANZA_OPTION.sub(f"--stanza={own}", command), by_alter_system=by_alter_system
            ),
        )


def _other_commands(facts: CheckFacts, servers: list[_Server]) -> Iterator[Finding]:
    for library, group in _grouped(
        [s for s in servers if s.state.archive_library], lambda s: s.state.archive_library
    ):
        yield error(
            "archive_library",
            _names(group),
            f"archive_library is {library!r}, and archive_command is not used beside it",
            _edit_config(facts, group, "archive_library="),
        )
    for (command, by_alter_system), group in _grouped(
        [s for s in servers if not _may_push(s.state.archive_command.value)],
        lambda s: (s.state.archive_command.value, s.state.archive_command.by_alter_system),
    ):
        own = group[0].look.facts.stanza
        yield error(
            "archive_command_other",
            _names(group),
            f"archive_command is {command!r}: no WAL comes into stanza {own!r}",
            *_set_command(
                facts, group, f"pgbackrest --stanza={own} archive-push %p", by_alter_system=by_alter_system
            ),
        )


def _may_push(command: str) -> bool:
    """Whether it may call archive-push: directly, or by a script of the site's own."""
    words = command.split()
    if "pgbackrest" in command:
        return "archive-push" in words
    return "%p" in command


def _set_command(
    facts: CheckFacts, group: list[_Server], command: str, *, by_alter_system: bool
) -> tuple[Cure, ...]:
    if by_alter_system:  # it beats what Patroni writes, and is per node
        return tuple(_reset(server, "archive_command") for server in group)
    return (_edit_config(facts, group, f"archive_command={command}"),)


def _edit_config(facts: CheckFacts, group: list[_Server], setting: str) -> Cure:
    """The configuration is the whole cluster's: one member types it."""
    first = group[0]
    words = f"edit-config {facts.name} --pg {shlex.quote(setting)} --force"
    return Cure(command=patronictl(first.look, words), on=first.name)


def _reset(server: _Server, name: str) -> Cure:
    return Cure(command=f"psql -c 'ALTER SYSTEM RESET {name}' -c 'SELECT pg_reload_conf()'", on=server.name)


def _mode_off(facts: CheckFacts, servers: list[_Server]) -> Iterator[Finding]:
    off = [server for server in servers if server.state.archive_mode == "off"]
    for why, group in _grouped(off, _why_off):
        leads = facts.leader is not None and any(server.look is facts.leader for server in group)
        effect = "nothing is archived" if leads else "archiving would stop at a failover to it"
        cures = [Cure(command=f"pgdolly cleanup {facts.name}")]
        if why == "configured":
            # The clean-up resets what ALTER SYSTEM wrote; what Patroni's configuration says is a person's will.
            cures.insert(0, _edit_config(facts, group, "archive_mode=on"))
        yield error("archive_off", _names(group), f"archive_mode is off ({_WHY_OFF[why]}): {effect}", *cures)


_WHY_OFF = {
    "kept": "kept in postgresql.auto.conf",
    "configured": "by the cluster's configuration",
    "pending": "it would be on after a restart, which is pending",
}


def _why_off(server: _Server) -> str:
    if server.state.archive_mode_configured == "off":
        return "configured"
    return "kept" if server.state.archive_mode_written.value == "off" else "pending"


def _off_after_restart(facts: CheckFacts, servers: list[_Server]) -> Iterator[Finding]:
    on = [s for s in servers if s.state.archive_mode != "off" and s.state.archive_mode_written.value == "off"]
    for (kept, configured), group in _grouped(
        on,
        lambda s: (s.state.archive_mode_written.by_alter_system, s.state.archive_mode_configured == "off"),
    ):
        places = ["postgresql.auto.conf"] * kept + ["the cluster's configuration"] * configured
        cures = [_reset(server, "archive_mode") for server in group] if kept else []
        if configured:
            cures.append(_edit_config(facts, group, "archive_mode=on"))
        yield error(
            "archive_off_after_restart",
            _names(group),
            f"archive_mode is on, but off in {' and in '.join(places)}: archiving stops at the next restart",
            *cures,
        )


def _down_and_off(facts: CheckFacts) -> Iterator[Finding]:
    """Members whose server cannot be asked, but whose files can be read."""
    off = tuple(
        look.name
        for look in facts.look.members
        if look.server is None
        and not look.private
        and look.facts.abandoned is None
        and archive_mode_of(look.facts.archive_mode_kept or "on") == "off"
    )
    if off:
        yield error(
            "archive_off",
            off,
            "archive_mode is off (kept in postgresql.auto.conf): archiving would stop at a failover to it",
            Cure(command=f"pgdolly cleanup {facts.name}"),
        )


def _stop_files(facts: CheckFacts) -> Iterator[Finding]:
    for look in facts.look.members:
        for path in look.facts.stop_files:
            scope = " for every stanza" if _stops_all(path) else ""
            yield error(
                "stop_file",
                look.name,
                f"pgBackRest is stopped there{scope} by {path}: archive-push and backup say [062]",
                _start(look, path),
            )


def _stops_all(path: str) -> bool:
    return path.endswith("/all.stop")


def _start(look: MemberLook, path: str) -> Cure:
    """`start` with a stanza, as pb calls it, leaves the stop file of all stanzas alone: start.c, cmdStart()."""
    config = look.facts.member.pgbackrest_config
    option = f" --config={config}" if config else ""
    return Cure(command=f"pgbackrest{option} start" if _stops_all(path) else "pb start", on=look.name)


def _archiver(facts: CheckFacts) -> Iterator[Finding]:
    if facts.leader is None or facts.leader.server is None or facts.leader.private:
        return
    archiver = facts.leader.server.archiver
    if not archiver.failing or facts.leader.server.archive_mode == "off":
        return
    assert archiver.last_failed_at is not None
    said = f": {facts.archiver_message}" if facts.archiver_message else ""
    yield error(
        "archiver_failing",
        facts.leader.name,
        f"archiving {archiver.last_failed} failed, last at {archiver.last_failed_at:%Y-%m-%d %H:%M:%SZ} "
        f"({archiver.failures} failures, {archiver.waiting} files wait){said}",
        *_cure_by_number(facts),
    )


def _cure_by_number(facts: CheckFacts) -> tuple[Cure, ...]:
    assert facts.leader is not None
    stopped = facts.leader.facts.stop_files
    if stopped:
        return tuple(_start(facts.leader, path) for path in stopped)
    # Missing or foreign stanzas are what the clean-up mends; after it, or for anything else, `pb check` pushes a
    # segment and says in full what is wrong.
    if re.search(r"\[(044|055|103)\]", facts.archiver_message):
        return (Cure(command=f"pgdolly cleanup {facts.name}"),)
    return (Cure(command="pb check", on=facts.leader.name),)


def _grouped(servers: list[_Server], key: Callable[[_Server], Key]) -> Iterator[tuple[Key, list[_Server]]]:
    groups: dict[Key, list[_Server]] = defaultdict(list)
    for server in servers:
        groups[key(server)].append(server)
    yield from groups.items()


def _names(group: list[_Server]) -> tuple[str, ...]:
    return tuple(server.name for server in group)
