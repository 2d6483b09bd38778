"""Bringing a sandbox up: from nothing, from a half-made or a stopped one. What is there is left alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pgdolly.domain.errors import CommandFailed, DeadlinePassed, Refused
from pgdolly.sandbox import files, members, prerequisites, processes, supervise
from pgdolly.sandbox.account import run_as
from pgdolly.sandbox.added import occupied
from pgdolly.sandbox.layout import CLUSTERS, ETCD, SandboxNode, World
from pgdolly.sandbox.ports import check_free
from pgdolly.sandbox.record import (
    Record,
    controller_home,
    home_record,
    read_record,
    sole_builder,
    write_record,
)
from pgdolly.sandbox.render import node_environment
from pgdolly.sandbox.supervise import RUNNING, ProgramState
from pgdolly.sandbox.waiting import Cancelled, Report, step, wait_until

BOOTSTRAP_SECONDS = 120
REPLICA_SECONDS = 120
# How long a cluster's last leader may take before its other members are started beside it.
HEAD_START_SECONDS = 15
BACKUP_SECONDS = 180


def bring_up(
    report: Report,
    *,
    network: str | None = None,
    directory: Path | None = None,
    pg_version: int | None = None,
    added: Sequence[str] = (),
) -> World:
    """Make the home's sandbox run, and return it.

    :param added: clusters to add empty nodes for, each as `NAME` or `NAME:MEMBERS`.
    :raises InvalidInput: if the options contradict each other or an existing sandbox.
    :raises Refused: if this machine cannot hold it; nothing was created then.
    :raises DeadlinePassed: if a server did not come up in time; calling again takes it up from there.
    """
    home = controller_home()
    with sole_builder(home):
        remembered = read_record(home_record(home))
        world = prerequisites.find_world(
            home, remembered, network=network, directory=directory, pg_version=pg_version, added=added
        )
        complete = remembered is not None and remembered.complete
        states = supervise.program_states(world)
        if complete and files.is_laid_out(world) and is_up(world, states):
            files.write_inventory(world)
            report("the sandbox is up already")
            return world
        _check(world, report)
        if states is None:
            _end_orphans(world, report)
        running = {name for name, state in (states or {}).items() if state.state == RUNNING}
        _check_ports(world, running)
        _lay_out(world, report, complete=complete, supervised=states is not None)
        with step(report, ETCD, "started"):
            _start_store(world)
        _start_clusters(world, report, complete=complete)
        for node in world.nodes:
            if node not in occupied(world, node.cluster):
                report(f"{node.name}: an empty node at {node.address}")
        write_record(home_record(home), Record.of(world, complete=True))
        return world


def is_up(world: World, states: dict[str, ProgramState] | None) -> bool:
    """Whether every program runs and every cluster is whole. Empty nodes are laid out, and nothing runs there."""
    clusters = _clusters_to_run(world)
    running = {ETCD, *(node.name for nodes in clusters.values() for node in nodes)}
    if states is None or any(
        name not in states or (name in running and states[name].state != RUNNING) for name in world.programs
    ):
        return False
    return all(_missing(nodes) is None for nodes in clusters.values())


def _clusters_to_run(world: World) -> dict[str, tuple[SandboxNode, ...]]:
    """Each cluster's members, without the nodes that are empty."""
    return {cluster: nodes for cluster in world.clusters if (nodes := occupied(world, cluster))}


def _missing(nodes: Sequence[SandboxNode]) -> str | None:
    return members.missing_members(members.view_cluster(nodes), [node.name for node in nodes])


def _check(world: World, report: Report) -> None:
    prerequisites.check_directory_is_reachable(world)
    files.check_directory_is_ours(world)
    prerequisites.check_environment_is_reachable(world)
    if warning := prerequisites.overlay_warning(world.directory):
        report(warning)


def _end_orphans(world: World, report: Report) -> None:
    """End what a killed supervisord has left behind, so that its programs are not started twice.

    A PostgreSQL that runs alone stays: Patroni adopts it.
    """
    orphans = [process for process in processes.processes_of(world) if process.name != "postgres"]
    stores = [process for process in orphans if process.name == ETCD]
    for group in ([process for process in orphans if process not in stores], stores):
        if group:
            report(f"ending what an earlier supervisord left: {processes.names(group)}")
            processes.end(world, group, processes.TERMINATE)


def _check_ports(world: World, running: set[str]) -> None:
    # A PostgreSQL of ours that runs without its Patroni holds its member's port rightly.
    alone = bool(processes.postmasters(processes.processes_of(world)))
    check_free(
        (address, port)
        for program in world.programs
        if program not in running
        for address, port in world.ports_of(program)
        if not (alone and program != ETCD and (address, port) == world.ports_of(program)[0])
    )


def _lay_out(world: World, report: Report, *, complete: bool, supervised: bool) -> None:
    with step(report, "sandbox", f"laid out in {world.directory}"):
        write_record(home_record(world.home), Record.of(world, complete=complete))
        files.create_directories(world)
        files.write_configuration(world)
        files.write_inventory(world)
        if supervised:
            supervise.add_new_programs(world)
        else:
            supervise.start_supervisor(world)


def _start_store(world: World) -> None:
    supervise.start_program(world, ETCD)
    wait_until(
        lambda: members.store_health(world),
        what="etcd to be healthy",
        where=ETCD,
        deadline_seconds=30,
        log=world.log_of(ETCD),
    )


def _start_clusters(world: World, report: Report, *, complete: bool) -> None:
    """Start the clusters side by side; a failure is raised once the others have stopped waiting."""
    cancelled = threading.Event()

    def start(nodes: Sequence[SandboxNode]) -> None:
        try:
            # An added cluster was made, and is backed up, by somebody else.
            _start_cluster(
                world, nodes, report, cancelled, complete=complete or nodes[0].cluster not in CLUSTERS
            )
        except BaseException:
            cancelled.set()
            raise

    clusters = _clusters_to_run(world)
    with ThreadPoolExecutor(max_workers=len(clusters)) as pool:
        futures = [pool.submit(start, nodes) for nodes in clusters.values()]
        try:
            failures = [failure for future in futures if (failure := future.exception()) is not None]
        except BaseException:  # Ctrl-C must not wait for the deadlines
            cancelled.set()
            raise
    for failure in sorted(failures, key=lambda failure: isinstance(failure, Cancelled)):
        raise failure


def _start_cluster(
    world: World, nodes: Sequence[SandboxNode], report: Report, cancelled: threading.Event, *, complete: bool
) -> None:
    cluster = nodes[0].cluster
    first = members.first_to_start(world, nodes)
    others = [node for node in nodes if node != first]
    if complete:
        with step(report, cluster, "leader runs"):
            supervise.start_program(world, first.name)
            try:
                _wait_for_leader(world, nodes, first, HEAD_START_SECONDS, cancelled)
            except DeadlinePassed:
                report(f"{cluster}: {first.name} does not lead yet, starting its other members beside it")
    else:
        with step(report, cluster, "bootstrapped"):
            supervise.start_program(world, first.name)
            _wait_for_leader(world, nodes, first, BOOTSTRAP_SECONDS, cancelled)
        with step(report, cluster, "stanza created"):
            # Before the replicas come: their base backup switches WAL, and PostgreSQL waits a minute
            # before it tries again after three failed pushes (pgarch.c, PGARCH_AUTOWAKE_INTERVAL).
            _pgbackrest(world, first, "stanza-create", "creating the stanza")
    for node in others:
        supervise.start_program(world, node.name)
    if not complete and not _has_backup(world, first):
        with step(report, cluster, "first full backup"):
            _pgbackrest(world, first, "backup", "the first full backup", "--type=full")
    with step(report, cluster, "whole"):
        wait_until(
            lambda: _missing(nodes),
            what=f"all members of {cluster} to run",
            where=cluster,
            deadline_seconds=REPLICA_SECONDS,
            log=world.log_of((others or [first])[0].name),
            cancelled=cancelled,
        )


def _wait_for_leader(
    world: World,
    nodes: Sequence[SandboxNode],
    node: SandboxNode,
    deadline_seconds: float,
    cancelled: threading.Event,
) -> None:
    cluster = node.cluster

    def missing() -> str | None:
        states = supervise.program_states(world) or {}
        state = states[node.name].state if node.name in states else "gone"
        if state in ("FATAL", "EXITED"):
            raise CommandFailed(
                f"Patroni does not stay up: supervisord calls it {state}",
                stderr_end=_log_end(world, node.name),
                where=node.name,
                next_command=f"tail -n 50 {world.log_of(node.name)}",
            )
        if any(members.leads(member) for member in nodes):
            return None
        view = members.view_cluster(nodes)
        _check_not_paused(cluster, node, view)
        return members.no_leader(view) or "it does not lead yet"

    wait_until(
        missing,
        what=f"{node.name} to lead {cluster}",
        where=node.name,
        deadline_seconds=deadline_seconds,
        log=world.log_of(node.name),
        cancelled=cancelled,
    )


def _check_not_paused(cluster: str, node: SandboxNode, view: members.ClusterView) -> None:
    """A pause outlives a `down`, and a paused Patroni starts no PostgreSQL: waiting would be in vain.

    Only the member itself is asked: what the store says of the others may be from before they were stopped.

    :raises Refused: if the cluster is paused and the member's PostgreSQL is down.
    """
    state = next((member.state for member in view.members if member.name == node.name), None)
    if view.is_paused and state == "stopped":
        raise Refused(
            "the cluster is paused, and while it is, Patroni starts no PostgreSQL",
            where=cluster,
            untouched="the pause; everything else was started",
            next_command=f"pgdolly sandbox exec {node.name} -- patronictl resume {cluster} --wait",
        )


def _pgbackrest(world: World, node: SandboxNode, command: str, what: str, *options: str) -> str:
    return run_as(
        world.user,
        (str(world.pgbackrest), f"--stanza={node.cluster}", *options, command),
        where=node.name,
        what=what,
        environment=node_environment(world, node),
        directory=Path("/"),
        deadline_seconds=BACKUP_SECONDS,
    )


def _has_backup(world: World, node: SandboxNode) -> bool:
    document = json.loads(_pgbackrest(world, node, "info", "asking for its backups", "--output=json"))
    return any(stanza["backup"] for stanza in document)


def _log_end(world: World, program: str) -> str:
    try:
        return "\n".join(world.log_of(program).read_text(errors="replace").splitlines()[-20:])
    except OSError:
        return ""
