"""The service that keeps Patroni on a node: start it, stop it, ask for it.

Source: systemctl(1); supervisor, "Running supervisorctl".
"""

from __future__ import annotations

from pathlib import PurePosixPath

from pgdolly.domain.cluster import Member, ServiceManager
from pgdolly.domain.command import Command
from pgdolly.domain.errors import InvalidInput
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
        # supervisor lives in the environment that Patroni lives in.
        program = PurePosixPath(member.patroni).parent / "supervisorctl"
        return Command(argv=(str(program), "-c", str(member.supervisor_config), *words, member.service))
    raise InvalidInput(
        f"systemd does not know a service {member.service!r} there, so Patroni could not be stopped and started",
        where=member.name,
        untouched="nothing was changed",
        next_command="set pgdolly_service, or pgdolly_service_manager, in the inventory",
    )


async def is_active(shell: Shell, member: Member) -> bool:
    """Whether the service is up or on its way up or down."""
    systemd = member.service_manager is ServiceManager.SYSTEMD
    completed = await shell.run(_service_command(member, "is-active" if systemd else "status"))
    # Both exit with 3 for a service that is not running; their word is what counts.
    words = completed.stdout.split()
    if systemd and words and words[0] in _SYSTEMD_STATES:
        return _SYSTEMD_STATES[words[0]]
    if not systemd and len(words) >= 2 and words[0] == member.service:
        return words[1] in _SUPERVISOR_UP
    raise command_failed(member.name, completed, "ask for Patroni's service")


async def knows_service(shell: Shell, member: Member) -> bool:
    """Whether there is such a service at all; of systemd it is known already, by the manager that was found."""
    if member.service_manager is not ServiceManager.SUPERVISOR:
        return member.service_manager is ServiceManager.SYSTEMD
    completed = await shell.run(_service_command(member, "status"))
    return "no such process" not in completed.stdout


async def stop_service(shell: Shell, member: Member) -> None:
    """Stop Patroni; one that is stopped already stays so."""
    if member.service_manager is ServiceManager.SYSTEMD or await is_active(shell, member):
        await run_checked(shell, stop_command(member), timeout_seconds=STOP_SECONDS, doing="stop Patroni")


async def start_service(shell: Shell, member: Member) -> None:
    """Start Patroni; one that is up already stays so."""
    # supervisor takes a second start for an error; to systemd it says whether it starts at boot, too.
    if member.service_manager is ServiceManager.SYSTEMD or not await is_active(shell, member):
        await run_checked(shell, start_command(member), doing="start Patroni")
