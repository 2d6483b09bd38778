"""Another cluster's repository, on a node whose own configuration does not lead to it.

Its options hold secrets. They reach pgBackRest through its standard input where something is only looked up, and as a
file that its account alone reads where something runs on; never as arguments.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import PurePosixPath

from pgdolly.domain.cluster import Member
from pgdolly.domain.command import Command, Completed
from pgdolly.domain.repository import RepositorySettings, is_secret
from pgdolly.domain.secret import Secret
from pgdolly.drivers.node_program import node_program, run_node_program
from pgdolly.transport.shell import Shell

# The configuration of a command that takes it from its standard input.
FROM_STDIN = PurePosixPath("/dev/stdin")
DEFAULT_CONFIG = PurePosixPath("/etc/pgbackrest/pgbackrest.conf")
# They say how a repository is kept, not which one it is.
_KEEPING = ("retention", "bundle", "block", "hardlink", "symlink")


def pgbackrest_path(member: Member) -> PurePosixPath:
    """The member's pgbackrest.conf."""
    return member.pgbackrest_config or DEFAULT_CONFIG


def upstream_path(member: Member) -> PurePosixPath:
    """The configuration that leads a standby cluster's member to the source's repository."""
    return pgbackrest_path(member).with_name("pgbackrest-upstream.conf")


def repository_file(member: Member) -> PurePosixPath:
    """Where a run keeps the source's repository on a member's node, as a configuration; it goes with the run's lock."""
    return member.work_directory / "repository.conf"


async def read_repository(shell: Shell, member: Member, stanza: str) -> RepositorySettings:
    """The repository options of a member's own pgBackRest configuration, for a stanza."""
    command = node_program(
        member,
        "repository",
        {"config": _config(member), "stanza": stanza, "write": None},
        f"read the repository's parameters from {member.name}",
    )
    answer = await run_node_program(shell, command)
    return RepositorySettings(
        tuple(
            (name, Secret(value) if is_secret(name.partition("-")[2]) else value)
            for name, value in answer["options"]
        )
    )


def place_repository_command(member: Member, stanza: str, settings: RepositorySettings) -> Command:
    """Write the configuration that leads to another repository, readable for the dbsu alone."""
    return node_program(
        member,
        "repository",
        {"config": _config(member), "stanza": stanza, "write": repository_file(member)},
        f"write {repository_file(member)} (0600, until the run ends): "
        + " ".join(f"{name}={value}" for name, value in settings.masked()),
        secrets=tuple(settings.revealed()),
    )


def reading(
    run: Callable[[Command], Awaitable[Completed]], settings: RepositorySettings
) -> Callable[[Command], Awaitable[Completed]]:
    """Run pgBackRest commands that say `--config=/dev/stdin` with these options as their configuration."""
    text = "\n".join(["[global]", *(f"{name}={value}" for name, value in settings.revealed()), ""])

    async def run_with(command: Command) -> Completed:
        # Through a pipe of the node's own: one that came by sudo belongs to another account and cannot be opened.
        fed = dataclasses.replace(
            command,
            argv=("sh", "-c", 'cat | "$@"', "feed", *command.argv),
            stdin=text,
            secret=True,
            summary=command.shown(),
        )
        return dataclasses.replace(await run(fed), command=command)

    return run_with


def same_place(one: RepositorySettings, other: RepositorySettings) -> bool:
    """Whether both lead to the same repositories."""
    return _place(one) == _place(other)


def _place(settings: RepositorySettings) -> frozenset[tuple[str, str]]:
    found = {
        (name, value)
        for name, value in settings.revealed()
        if not name.partition("-")[2].startswith(_KEEPING)
    }
    return frozenset(
        found - {("repo1-type", "posix"), ("repo1-cipher-type", "none")}
    )  # pgBackRest's own defaults


def _config(member: Member) -> str | None:
    return str(member.pgbackrest_config) if member.pgbackrest_config else None
