"""Long work on a systemd node: a transient unit, which belongs to no login and outlives every connection.

A process that a login started can end with it (logind's KillUserProcesses), however well it was detached.
Source: systemd-run(1), systemd.kill(5).
"""

from __future__ import annotations

from pgdolly.domain.cluster import Member, ServiceManager
from pgdolly.domain.command import Command


def in_unit(member: Member, command: Command, *, forking: bool = False) -> Command:
    """The command as a transient unit of the dbsu's on a systemd node; elsewhere the command itself.

    systemd chooses the unit's name: a name of our own could still be taken by one that is just ending.

    :param forking: the command leaves a server behind and ends; else the unit lasts as long as the command.
    """
    if member.service_manager is not ServiceManager.SYSTEMD:
        return command
    assert command.run_as == "dbsu" and command.stdin is None
    return Command(
        argv=(
            "systemd-run",
            "--quiet",
            "--collect",  # a unit that failed is forgotten, too
            f"--uid={member.dbsu}",
            f"--service-type={'forking' if forking else 'exec'}",
            f"--description=pgdolly: {member.name}",
            *(f"--setenv={name}={value}" for name, value in command.environment),
            "--",
            *(
                word.replace("$", "$$") for word in command.argv
            ),  # else systemd puts variables of its own there
        ),
        run_as="root",
        summary=command.summary,
    )
