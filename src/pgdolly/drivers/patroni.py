"""Patroni: the cluster as its REST API shows it, restarts and configuration through it, and what its file says.

Source: Patroni, "Patroni REST API" (`GET /cluster`, `POST /restart`).
"""

from __future__ import annotations

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
    if answer["status"] == 0:
        raise CommandFailed(f"Patroni does not answer: {answer['body']}", where=member.name)
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
