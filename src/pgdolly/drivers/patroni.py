"""Patroni: the cluster as its REST API shows it, restarts through it, and its entries in the store.

Source: Patroni, "Patroni REST API" (`GET /cluster`, `POST /restart`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from pgdolly.domain.cluster import Member
from pgdolly.domain.command import Command
from pgdolly.domain.draft import MARK
from pgdolly.domain.errors import CommandFailed
from pgdolly.drivers.node_program import node_program, run_node_program
from pgdolly.drivers.repository import upstream_path
from pgdolly.transport.shell import Shell

RecoverySetting = Literal["restore_command", "recovery_min_apply_delay"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberView:
    """One member as Patroni sees it. `lag` in bytes; None where Patroni does not know it."""

    name: str
    role: str  # leader, standby_leader, replica, sync_standby, quorum_standby
    state: str  # running, streaming, stopped, …
    timeline: int | None = None
    lag: int | None = None
    host: str | None = None
    port: int | None = None
    pending_restart: bool = False

    @property
    def leads(self) -> bool:
        return self.role in ("leader", "standby_leader", "master")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterView:
    """A cluster as one member's Patroni sees it."""

    scope: str
    members: tuple[MemberView, ...]
    paused: bool = False

    @property
    def leader(self) -> MemberView | None:
        return next((member for member in self.members if member.leads), None)

    def member(self, name: str) -> MemberView | None:
        return next((member for member in self.members if member.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class StandbyCluster:
    """`standby_cluster` of the dynamic configuration: the cluster that this one follows.

    :param host: as it stands there, perhaps several with commas between; None if it follows an archive only.
    :param port: likewise.
    :param delay: recovery_min_apply_delay as it stands there.

    Source: Patroni, "Standby cluster".
    """

    host: str | None = None
    port: str | None = None
    slot: str | None = None
    delay: str | None = None

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Each host with its port, as libpq pairs them: one port goes for all hosts."""
        hosts = self.host.split(",") if self.host else []
        ports = (self.port or "").split(",")
        ports = ports * len(hosts) if len(ports) == 1 else ports
        return tuple(
            (h.strip(), int(p) if p.strip().isdigit() else 5432) for h, p in zip(hosts, ports, strict=False)
        )


def parse_standby_cluster(found: dict[str, Any] | None) -> StandbyCluster | None:
    """Make it of the configuration's part; None for a cluster of its own."""
    if not found:
        return None

    def text(name: str) -> str | None:
        return str(found[name]) if found.get(name) not in (None, "") else None

    return StandbyCluster(
        host=text("host"),
        port=text("port"),
        slot=text("primary_slot_name"),
        delay=text("recovery_min_apply_delay"),
    )


def parse_cluster_view(answer: dict[str, Any]) -> ClusterView:
    """Make a view of the answer to `GET /cluster`."""
    return ClusterView(
        scope=str(answer.get("scope", "")),
        members=tuple(
            MemberView(
                name=str(member["name"]),
                role=str(member.get("role", "")),
                state=str(member.get("state", "")),
                timeline=member.get("timeline"),
                lag=member["lag"] if isinstance(member.get("lag"), int) else None,
                host=member.get("host"),
                port=member.get("port"),
                pending_restart=bool(member.get("pending_restart")),
            )
            for member in answer["members"]
        ),
        paused=bool(answer.get("pause")),
    )


def rest_command(
    member: Member,
    method: Literal["GET", "POST", "PATCH"],
    path: str,
    summary: str,
    *,
    body: dict[str, Any] | None = None,
) -> Command:
    """Ask this member's own Patroni, from its node and with its own configuration's credentials."""
    return node_program(
        member,
        "rest",
        {"patroni_config": member.patroni_config, "method": method, "path": path, "body": body},
        summary,
    )


async def read_cluster(shell: Shell, member: Member) -> ClusterView | None:
    """The cluster as this member's Patroni sees it, or None if it does not answer."""
    answer = await run_node_program(
        shell, rest_command(member, "GET", "/cluster", f"ask Patroni on {member.name}")
    )
    body = answer.get("body")
    return parse_cluster_view(body) if answer["status"] == 200 and isinstance(body, dict) else None


def restart_command(member: Member) -> Command:
    """Restart this member's PostgreSQL through Patroni, which keeps its settings and its role."""
    return rest_command(
        member, "POST", "/restart", f"patronictl restart {member.cluster} {member.name} --force"
    )


def edit_configuration_command(member: Member, changes: dict[str, Any], summary: str) -> Command:
    """Change the cluster's configuration as `patronictl edit-config` does; None removes a key."""
    return rest_command(member, "PATCH", "/config", summary, body=changes)


async def edit_configuration(shell: Shell, member: Member, command: Command) -> dict[str, Any]:
    """Run an `edit_configuration_command`.

    :return: the configuration as it is now.
    :raises CommandFailed: if Patroni refused it.
    """
    answer = await run_node_program(shell, command)
    if answer["status"] != 200:
        raise CommandFailed(
            f"Patroni refused a change of the cluster's configuration: {answer['body']}", where=member.name
        )
    return answer["body"] if isinstance(answer["body"], dict) else {}


def reload_command(member: Member) -> Command:
    """Let this member's Patroni read its file again."""
    return rest_command(
        member, "POST", "/reload", f"patronictl reload {member.cluster} {member.name} --force"
    )


async def reload(shell: Shell, member: Member, command: Command, *, next_command: str) -> None:
    """Run a `reload_command`.

    :raises CommandFailed: if Patroni refused it.
    """
    answer = await run_node_program(shell, command)
    if answer["status"] not in (200, 202):
        raise CommandFailed(
            f"Patroni refused to read its file again: {answer['body']}",
            where=member.name,
            next_command=next_command,
        )


def aside(member: Member) -> PurePosixPath:
    """Where patroni.yml waits while it is filled in a directory of root's."""
    return member.work_directory / "patroni.yml"


def leave_recovery_command(member: Member, *settings: RecoverySetting) -> Command:
    """Take what a clone's patroni.yml says of following its source out of it; another's patroni.yml is left alone."""
    return node_program(
        member,
        "recovery_conf",
        {
            "patroni_config": member.patroni_config,
            "mark": MARK,
            "aside": aside(member),
            "upstream": str(upstream_path(member)),
            "settings": settings,
        },
        f"take {', '.join(settings)} out of {member.patroni_config}",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreView:
    """What the store holds of a cluster now: who is registered, alive, by name with the host of its PostgreSQL.

    :param empty: it holds nothing at all.
    :param initialize: the system identifier of the cluster's data.
    :param standby_of: host and port that its dynamic configuration follows; the host may be several, with commas.
    :param upstream_slot: the slot there that keeps WAL for it.
    :param slots: those that its own dynamic configuration has it keep.
    """

    leader: str | None
    members: dict[str, str | None]
    empty: bool = False
    initialize: str | None = None
    standby_of: tuple[str, str] | None = None
    upstream_slot: str | None = None
    slots: tuple[str, ...] = ()


async def read_store(
    shell: Shell, member: Member, configuration: Mapping[str, Any] | None = None
) -> StoreView:
    """Look into the cluster's store through this member's Patroni library: it tells of a cluster that is stopped, too.

    A member that has not written for its time to live (`ttl`, 30 s by default) is not there any more.

    :param configuration: the member's, which it does not have yet.
    """
    doing = f"look into Patroni's store from {member.name}"
    answer = await run_node_program(shell, _store_command(member, "look", doing, secrets=configuration))
    upstream = answer.get("standby_of")
    return StoreView(
        leader=answer["leader"],
        members=dict(answer["members"]),
        empty=answer["empty"],
        initialize=answer["initialize"],
        standby_of=(str(upstream["host"] or ""), str(upstream["port"] or "")) if upstream else None,
        upstream_slot=upstream["primary_slot_name"] if upstream else None,
        slots=tuple(answer["slots"]),
    )


def fence_store_command(member: Member) -> Command:
    """Let no member of the cluster's former life come up: its Patroni exits with "system ID mismatch"."""
    return _store_command(
        member,
        "fence",
        f"set initialize of {member.cluster} in Patroni's store to a system that does not exist, so that no Patroni "
        "comes up with old data meanwhile",
    )


def reset_store_command(member: Member) -> Command:
    """Remove what the store remembers of the cluster's former life; its configuration stays."""
    return _store_command(
        member,
        "reset",
        f"remove initialize, leader, history, status, sync and failover of {member.cluster} from Patroni's store "
        "(its configuration stays)",
    )


def begin_store_command(member: Member) -> Command:
    """Begin the cluster's entries: a new cluster, with its member's own idea of its configuration."""
    return _store_command(
        member,
        "begin",
        f"write the configuration of {member.cluster} into Patroni's store, as bootstrap.dcs of "
        f"{member.patroni_config} has it; what is left there of a former cluster of that name goes",
    )


def found_store_command(member: Member, standby_cluster: dict[str, Any], system_identifier: int) -> Command:
    """Begin the cluster's entries: a standby cluster of data that is on its members already."""
    return _store_command(
        member,
        "found",
        f"write the configuration of {member.cluster}, with standby_cluster {standby_cluster}, and its initialize "
        "into Patroni's store",
        standby_cluster=standby_cluster,
        system_identifier=system_identifier,
    )


def remove_store_command(member: Member, scope: str, registered: tuple[str, ...]) -> Command:
    """Remove all that the store holds of a cluster, unless another member than these is registered there."""
    return _store_command(
        member,
        "remove",
        f"patronictl remove {scope}  # all of its entries in Patroni's store, through {member.patroni_config}",
        members=list(registered),
    )


def _store_command(
    member: Member,
    action: Literal["look", "fence", "reset", "begin", "found", "remove"],
    summary: str,
    *,
    secrets: object = None,
    **more: object,
) -> Command:
    arguments = {"patroni_config": member.patroni_config, "action": action, **more}
    return node_program(member, "store", arguments, summary, secrets=secrets)
