"""A member's configuration files: read as they are, looked at, and written."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pgdolly.domain.cluster import Member
from pgdolly.domain.command import Command
from pgdolly.domain.draft import MARK, Draft, DraftPath
from pgdolly.drivers.node_program import node_program, run_node_program
from pgdolly.transport.shell import Shell


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberConfiguration:
    """How a member is configured. It holds passwords: it is never printed or kept.

    :param patroni: patroni.yml, as it is read.
    :param dynamic: the cluster's configuration in Patroni's store; where that does not answer, what patroni.yml begins
        a cluster with.
    :param pgbackrest: the text of pgbackrest.conf.
    :param unit: the text of the service's systemd unit, None where there is none.
    """

    member: Member
    patroni: Mapping[str, Any] = dataclasses.field(repr=False)
    dynamic: Mapping[str, Any] = dataclasses.field(repr=False)
    pgbackrest: str = dataclasses.field(repr=False)
    unit: str | None = None

    @property
    def authentication(self) -> Mapping[str, Mapping[str, Any]]:
        """Patroni's roles: superuser, replication, rewind."""
        found: Mapping[str, Mapping[str, Any]] = (self.patroni.get("postgresql") or {}).get(
            "authentication"
        ) or {}
        return found


async def read_member_configuration(shell: Shell, member: Member) -> MemberConfiguration:
    """Read all of it.

    :raises CommandFailed: if patroni.yml or pgbackrest.conf cannot be read.
    """
    command = node_program(
        member,
        "read_configuration",
        {
            "patroni_config": member.patroni_config,
            "pgbackrest_config": str(member.pgbackrest_config) if member.pgbackrest_config else None,
            "service": member.service,
        },
        f"read the configuration of {member.name}",
    )
    found = await run_node_program(shell, command)
    return MemberConfiguration(
        member=member,
        patroni=found["patroni"],
        dynamic=found["dynamic"] or (found["patroni"].get("bootstrap") or {}).get("dcs") or {},
        pgbackrest=found["pgbackrest"],
        unit=found["unit"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PathFacts:
    """A path of a node.

    :param made: a clone made the file that is there, or nothing is in it.
    :param writable: the dbsu could make or replace it.
    """

    exists: bool
    made: bool
    writable: bool


async def look_at_paths(
    shell: Shell, member: Member, paths: Iterable[PurePosixPath]
) -> dict[PurePosixPath, PathFacts]:
    """What is there now."""
    command = node_program(
        member,
        "files",
        {"look": sorted(map(str, paths)), "mark": MARK, "directories": []},
        f"look at files of {member.name}",
    )
    found = await run_node_program(shell, command)
    return {PurePosixPath(path): PathFacts(**facts) for path, facts in found.items()}


def write_files_command(
    member: Member, paths: Iterable[DraftPath], directories: Iterable[PurePosixPath] = ()
) -> tuple[Command, ...]:
    """For the plan: the commands that write drafts to these paths; without their texts they write nothing."""
    return _commands(member, [(path, None) for path in paths], directories)


def write_drafts_commands(
    member: Member, drafts: Iterable[Draft], directories: Iterable[PurePosixPath] = ()
) -> tuple[Command, ...]:
    """The same with the texts: one command as the dbsu, and one as root for each file that the dbsu cannot write.

    Root runs `install`: its argument list names the file, its owner and its mode, as a rule in sudoers can.
    """
    return _commands(member, [(draft.to, draft.text.reveal()) for draft in drafts], directories)


def _commands(
    member: Member,
    files: list[tuple[DraftPath, str | None]],
    directories: Iterable[PurePosixPath],
) -> tuple[Command, ...]:
    commands = []
    own = [(to, text) for to, text in files if not to.as_root]
    made = [str(path) for path in directories]
    if own or made:
        said = [f"write {to.path} ({to.mode:04o}): {to.about}" for to, _ in own]
        if made:
            said.append(f"mkdir -p {' '.join(made)}")
        commands.append(
            node_program(
                member,
                "files",
                {"look": [], "mark": MARK, "directories": made},
                "; ".join(said),
                secrets=[
                    {"path": str(to.path), "text": text, "mode": to.mode}
                    for to, text in own
                    if text is not None
                ],
            )
        )
    return (*commands, *(_install(to, text) for to, text in files if to.as_root))


def _install(to: DraftPath, text: str | None) -> Command:
    owner = ("-o", to.owner) if to.owner is not None else ()
    argv = ("install", "-D", *owner, "-m", f"{to.mode:04o}", "/dev/stdin", str(to.path))
    return Command(
        argv=argv, run_as="root", stdin=text, secret=True, summary=f"{shlex.join(argv)}  # {to.about}"
    )


def daemon_reload_command() -> Command:
    """Let systemd read a unit that was written."""
    return Command(argv=("systemctl", "daemon-reload"), run_as="root")
