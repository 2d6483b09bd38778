"""The passwords of a cluster's own roles, on their way between its nodes: never in a journal or an argument list."""

from __future__ import annotations

from pathlib import PurePosixPath

from pgdolly.domain.cluster import Member
from pgdolly.domain.command import Command
from pgdolly.domain.draft import MARK
from pgdolly.drivers import patroni
from pgdolly.drivers.node_program import node_program
from pgdolly.drivers.repository import upstream_path


def kept_in(member: Member) -> PurePosixPath:
    """Where they wait until the run ends."""
    return member.work_directory / "passwords.json"


def make_command(member: Member, given: dict[str, str]) -> Command:
    """Keep these, make the missing ones up, and print them all; those that are kept already are printed."""
    return node_program(
        member,
        "passwords",
        _arguments(member, "make"),
        f"keep passwords for the roles of {member.patroni_config} in {kept_in(member)} (0600, until the run ends): "
        "the inventory's, or new ones",
        secrets=given,
    )


def own_command(member: Member, passwords: dict[str, str] | None) -> Command:
    """Write them into patroni.yml; None for the plan."""
    return node_program(
        member,
        "passwords",
        _arguments(member, "own"),
        f"write the cluster's own passwords into {member.patroni_config}; remove {upstream_path(member)}",
        secrets=passwords,
    )


def _arguments(member: Member, action: str) -> dict[str, str]:
    return {
        "action": action,
        "file": str(kept_in(member)),
        "patroni_config": str(member.patroni_config),
        "mark": MARK,
        "aside": str(patroni.aside(member)),
        "upstream": str(upstream_path(member)),
    }
