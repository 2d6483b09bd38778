"""The service that keeps Patroni on a node: start it, stop it, ask for it."""

from __future__ import annotations

from pathlib import PurePosixPath

from pgdolly.domain.cluster import Member, ServiceManager
from pgdolly.domain.command import Command
from pgdolly.domain.errors import InvalidInput
from pgdolly.transport.shell import Shell, command_failed, run_checked

STOP_SECONDS = 120.0


def _supervisorctl(member: Member, *words: str) -> Command:
    if member.service_manager is not ServiceManager.SUPERVISOR or member.supervisor_config is None:
        raise InvalidInput(
            f"pgdolly_service_manager {member.service_manager.value!r} is not supported here: use supervisor, "
            "with pgdolly_supervisor_config",
            where=member.name,
            untouched="nothing was changed",
        )
    # supervisor lives in the environment that Patroni lives in.
    program = PurePosixPath(member.patroni).parent / "supervisorctl"
    return Command(argv=(str(program), "-c", str(member.supervisor_config), *words))


def start_command(member: Member) -> Command:
    return _supervisorctl(member, "start", member.service)


def stop_command(member: Member) -> Command:
    return _supervisorctl(member, "stop", member.service)


async def is_active(shell: Shell, member: Member) -> bool:
    """Whether the service is up or on its way up or down."""
    completed = await shell.run(_supervisorctl(member, "status", member.service))
    words = completed.stdout.split()
    # supervisorctl exits with 3 for a program that is not running; its word is what counts.
    if len(words) < 2 or words[0] != member.service:
        raise command_failed(member.name, completed, "ask for Patroni's service")
    return words[1] in ("RUNNING", "STARTING", "STOPPING", "BACKOFF")


async def stop_service(shell: Shell, member: Member) -> None:
    """Stop Patroni; a service that is stopped already is left alone."""
    if await is_active(shell, member):
        await run_checked(shell, stop_command(member), timeout_seconds=STOP_SECONDS, doing="stop Patroni")


async def start_service(shell: Shell, member: Member) -> None:
    """Start Patroni; a service that is up already is left alone."""
    if not await is_active(shell, member):
        await run_checked(shell, start_command(member), doing="start Patroni")
