"""Choose the shell for a member's node by its connection."""

from __future__ import annotations

from pgdolly.domain.cluster import Member
from pgdolly.domain.errors import InvalidInput
from pgdolly.transport.local import LocalShell
from pgdolly.transport.shell import Shell


def shell_for(member: Member) -> Shell:
    """:raises InvalidInput: if the inventory asks for a connection that pgdolly does not know."""
    if member.node.connection == "local":
        return LocalShell(member.node.name, member.dbsu)
    raise InvalidInput(
        f"ansible_connection {member.node.connection!r} is not supported: use local",
        where=member.node.name,
        untouched="nothing was changed",
    )
