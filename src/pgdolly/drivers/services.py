"""The service that keeps Patroni on a node: start it, stop it, ask for it.

Source: systemctl(1); supervisor, "XML-RPC API Documentation".
"""

from __future__ import annotations

from pathlib import PurePosixPath

from pgdolly.domain.cluster import Member, ServiceManager
from pgdolly.domain.command import Command
from pgdolly.domain.errors import InvalidInput
from pgdolly.drivers.node_program import node_program, run_node_program
from pgdolly.transport.shell import Shell, command_failed, run_checked

STOP_SECONDS = 120.0
# activating and deactivating: on its way up or down.
_SYSTEMD_STATES = {
    "active": True,
    "reloading": True,
    "activating": True,
    "deactivating": True,
    "inactive": False,
    "failed": False,
}
_SUPERVISOR_UP = ("RUNNING", "STARTING", "STOPPING", "BACKOFF")


def start_command(member: Member) -> Command:
    """Start it, and again at every boot if it was so before.

    :raises InvalidInput: if no service manager is known that keeps the member's Patroni.
    """
    return _service_command(member, *(("enable", "--now") if member.service_enabled else ("start",)))


def stop_command(member: Member) -> Command:
    """Stop it, and keep it down: a node that boots in the middle of a restore must not start Patroni on what is there.

    :raises InvalidInput: if no service manager is known that keeps the member's Patroni.
    """
    return _service_command(member, *(("disable", "--now") if member.service_enabled else ("stop",)))


def _service_command(member: Member, *words: str) -> Command:
    if member.service_manager is ServiceManager.SYSTEMD:
        return Command(argv=("systemctl", *words, member.service), run_as="root")
    if member.service_manager is ServiceManager.SUPERVISOR:
        if member.supervisor_config is None:
            raise InvalidInput(
                "pgdolly_service_manager is supervisor, and pgdolly_supervisor_config is not set",
                where=member.name,
                untouched="nothing was changed",
                next_command="set pgdolly_supervisor_config in the inventory",
            )
        # supervisor lives in the environment that Patroni lives in. What it is asked is shown as one would type it.
        program = PurePosixPath(member.patroni).parent / "supervisorctl"
        [action] = words
        return node_program(
            member,
            "supervisor",
            {"config": str(member.supervisor_config), "program": member.service, "action": action},
            f"{program} -c {member.supervisor_config} {action} {member.service}",
        )
    raise InvalidInput(
        f"systemd does not know a service {member.service!r} there, so Patroni could not be stopped and started",
        where=member.name,
        untouched="nothing was changed",
        next_command="set pgdolly_service, or pgdolly_service_manager, in the inventory",
    )


async def _supervisor_state(shell: Shell, member: Member) -> str | None:
    state = (await run_node_program(shell, _service_command(member, "status")))["state"]
    return None if state is None else str(state)


async def is_active(shell: Shell, member: Member) -> bool:
    """Whether the service is up or on its way up or down."""
    if member.service_manager is ServiceManager.SUPERVISOR:
        return await _supervisor_state(shell, member) in _SUPERVISOR_UP
    completed = await shell.run(_service_command(member, "is-active"))
    # It exits with 3 for a service that is not running; its word is what counts.
    words = completed.stdout.split()
    if words and words[0] in _SYSTEMD_STATES:
        return _SYSTEMD_STATES[words[0]]
    raise command_failed(member.name, completed, "ask for Patroni's service")


async def knows_service(shell: Shell, member: Member) -> bool:
    """Whether there is such a service at all; of systemd it is known already, by the manager that was found."""
    if member.service_manager is not ServiceManager.SUPERVISOR:
        return member.service_manager is ServiceManager.SYSTEMD
    return await _supervisor_state(shell, member) is not None


async def stop_service(shell: Shell, member: Member) -> None:
    """Stop Patroni; one that is stopped already stays so."""
    await run_checked(shell, stop_command(member), timeout_seconds=STOP_SECONDS, doing="stop Patroni")


async def start_service(shell: Shell, member: Member) -> None:
    """Start Patroni; one that is up already stays so, and starts at boot as it was before."""
    await run_checked(shell, start_command(member), doing="start Patroni")
