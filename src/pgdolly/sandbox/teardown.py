"""Taking a sandbox down, in order and to the last process, and away if that is asked for."""

from __future__ import annotations

import shutil

from pgdolly.domain.errors import Refused
from pgdolly.sandbox import members, processes, supervise
from pgdolly.sandbox.layout import ETCD, World
from pgdolly.sandbox.record import home_record, ownership_record, read_record
from pgdolly.sandbox.supervise import AT_REST, ProgramState
from pgdolly.sandbox.waiting import Report, step, wait_until

# Longer than supervisord's own patience (stopwaitsecs), after which it kills.
STOP_SECONDS = 75


def take_down(world: World, report: Report) -> None:
    """Stop every process of the sandbox's. Its data stays, and `bring_up` starts it again.

    Leaders stop last, so that nothing fails over on the way down; etcd follows its members, because Patroni
    gives up its leader's key there.

    :raises DeadlinePassed: naming what is still there.
    """
    states = supervise.program_states(world)
    if states is not None:
        views = [members.view_cluster(world.members(cluster)) for cluster in world.clusters]
        leaders = {view.leader.name for view in views if view.leader is not None}
        nodes = [node.name for node in world.nodes]
        _stop(world, report, states, [name for name in nodes if name not in leaders], "replicas stopped")
        _stop(world, report, states, [name for name in nodes if name in leaders], "leaders stopped")
    _end_servers(world, report)
    if states is not None:
        _stop(world, report, states, [ETCD], "etcd stopped")
        with step(report, "sandbox", "supervisord ended"):
            pid = supervise.supervisor_pid(world)
            supervisor = [process for process in processes.processes_of(world) if process.pid == pid]
            supervise.shut_down_supervisor(world)
            wait_until(
                lambda: None if supervise.program_states(world) is None else "it still answers",
                what="supervisord to end",
                where="supervisord",
                deadline_seconds=STOP_SECONDS,
                log=world.log_directory / "supervisord.log",
            )
            # It closes its socket before it ends itself.
            processes.wait_gone(world, supervisor, deadline_seconds=STOP_SECONDS)
    _end_rest(world, report)


def purge(world: World, report: Report) -> None:
    """Remove the sandbox's directory and what the controller's home knows of it. Nothing of it must run.

    :raises Refused: if the directory is not known to be this home's sandbox, or something works in it still.
    """
    owner = read_record(ownership_record(world.directory))
    if world.directory.exists() and (owner is None or owner.home != str(world.home)):
        raise Refused(
            "it is not known as this home's sandbox" + (f" but as that of {owner.home}" if owner else ""),
            where=str(world.directory),
            untouched="nothing was removed",
        )
    if left := processes.processes_of(world):
        raise Refused(
            f"still at work: {processes.names(left)}",
            where=str(world.directory),
            untouched="nothing was removed",
            next_command="pgdolly sandbox down --purge",
        )
    with step(report, "sandbox", f"removed {world.directory}"):
        if world.directory.exists():
            _remove_contents(world)
        world.inventory.unlink(missing_ok=True)
        home_record(world.home).unlink(missing_ok=True)


def _remove_contents(world: World) -> None:
    """Remove the directory, its sign of ownership last: a purge that was cut short can be repeated."""
    owner = ownership_record(world.directory)
    for entry in world.directory.iterdir():
        if entry in (owner, home_record(world.home), world.home / "sandbox" / ".lock"):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    owner.unlink()
    if world.directory != world.home / "sandbox":
        world.directory.rmdir()


def _stop(
    world: World, report: Report, states: dict[str, ProgramState], programs: list[str], what: str
) -> None:
    stopping = [name for name in programs if name in states and states[name].state not in AT_REST]
    if not stopping:
        return

    def missing() -> str | None:
        now = supervise.program_states(world) or {}
        left = [name for name in stopping if name in now and now[name].state not in AT_REST]
        return f"{', '.join(left)} still stopping" if left else None

    with step(report, ", ".join(stopping), what):
        for name in stopping:
            supervise.stop_program(world, name)
        wait_until(
            missing,
            what=f"{', '.join(stopping)} to stop",
            where="sandbox",
            deadline_seconds=STOP_SECONDS,
            log=world.log_of(stopping[0]),
        )


def _end_servers(world: World, report: Report) -> None:
    """Stop each PostgreSQL that runs by itself, as a paused Patroni leaves it: SIGINT is a fast shutdown."""
    servers = processes.postmasters(processes.processes_of(world))
    if servers:
        with step(report, processes.names(servers), "lone PostgreSQL stopped"):
            processes.end(world, servers, processes.STOP_POSTGRESQL)


def _end_rest(world: World, report: Report) -> None:
    """End what a killed supervisord has left: Patroni first, as it stops its PostgreSQL, etcd last."""
    rest = processes.processes_of(world)
    stores = [process for process in rest if process.name == ETCD]
    others = [process for process in rest if process.name not in (ETCD, "postgres")]
    for group in (others, stores):
        if group:
            with step(report, processes.names(group), "ended"):
                processes.end(world, group, processes.TERMINATE)
    _end_servers(world, report)
