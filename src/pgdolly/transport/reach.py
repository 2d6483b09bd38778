"""Choose the shell for a member's node by its connection."""

from __future__ import annotations

import shutil

from pgdolly.domain.cluster import Member
from pgdolly.domain.errors import InvalidInput
from pgdolly.transport.local import LocalShell
from pgdolly.transport.shell import Shell
from pgdolly.transport.ssh import SshShell
from pgdolly.transport.ssh_connection import connection_to
from pgdolly.transport.ssh_destination import Destination

_SSH = ("ssh", "smart")  # smart is Ansible's own default, and means ssh


def shell_for(member: Member) -> Shell:
    """:raises InvalidInput: if the inventory asks for a connection or a login that pgdolly does not know."""
    if member.node.connection == "local":
        return LocalShell(member.node.name, member.dbsu)
    if member.node.connection in _SSH:
        return _ssh_shell_for(member)
    raise InvalidInput(
        f"ansible_connection {member.node.connection!r} is not supported: use ssh or local",
        where=member.node.name,
        untouched="nothing was changed",
    )


def _ssh_shell_for(member: Member) -> Shell:
    if member.node.login_refusal is not None:
        raise InvalidInput(
            member.node.login_refusal,
            where=member.node.name,
            untouched="nothing was changed",
            next_command="see docs/how-to/fleet.md: a key for the login, and rules for sudo",
        )
    if shutil.which("ssh") is None:
        raise InvalidInput(
            "its connection is ssh, and the program ssh is not installed here",
            where=member.node.name,
            untouched="nothing was changed",
            next_command="apt-get install openssh-client, or dnf install openssh-clients",
        )
    return SshShell(member.node.name, member.dbsu, connection_to(Destination.of(member.node)))
