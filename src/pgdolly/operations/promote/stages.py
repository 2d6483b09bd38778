"""The stages that cut a standby cluster off and begin its own backup history. Pure; a clone of now ends with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pgdolly.drivers.postgres import Instance
from pgdolly.drivers.upstream import UpstreamServers
from pgdolly.engine.plan import Lane, Stage
from pgdolly.engine.step import Step
from pgdolly.operations.reset.plan import own_passwords_stages
from pgdolly.steps.passwords import ReloadPatroni, SetOwnRoles
from pgdolly.steps.promotion import EndDelay, KeepSlot, LeaveArchive, PromoteStandby
from pgdolly.steps.standby import FollowUpstream
from pgdolly.steps.stanza import CheckStanza, EnableArchiving, MendStanza, TakeBackup
from pgdolly.steps.verify import VerifyCluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """What is decided about a promotion.

    :param cut: it is not cut off yet. :param upstream: waited for; None: the cut is made where the cluster stands.
    :param own_passwords: its roles are the source's, and are to become its own: pgdolly made the cluster.
    :param stanza_need: what its stanza needs to take its WAL.
    :param patroni_names: what Patroni calls a member, by the inventory's name, where they differ.
    :param slot: at the source, with the member there whose Patroni is told.
    """

    leader: Instance
    replicas: tuple[Instance, ...]
    stanza: str
    upstream: UpstreamServers | None
    cut: bool = True
    stanza_need: Literal["nothing", "create", "upgrade"] = "create"
    delayed: bool = False
    own_passwords: bool = True
    slot: str | None = None
    source: Instance | None = None
    backup: bool = True
    patroni_names: Mapping[str, str] = field(default_factory=dict)

    def patroni_name(self, instance: Instance) -> str:
        """What is waited for in Patroni's own view."""
        return self.patroni_names.get(instance.member.name, instance.member.name)


def promotion_stages(promotion: Promotion) -> list[Stage]:
    """From a standby cluster that streams to a cluster of its own with a backup."""
    leader, members = promotion.leader, (promotion.leader, *promotion.replicas)
    stages, cut = [], list[Step]()
    if promotion.delayed:
        # On every member, and before its roles get passwords of their own, which a replica an hour late has not.
        late = tuple(_lane(member, EndDelay(instance=member, leads=member is leader)) for member in members)
        stages.append(Stage("end the delay of its replay", late))
    if promotion.upstream is not None:
        cut.append(FollowUpstream(instance=leader, upstream=promotion.upstream))
    if promotion.stanza_need != "nothing":
        # Before its first segment is archived; offline, because pgBackRest asks a primary for it otherwise.
        cut.append(
            MendStanza(instance=leader, stanza=promotion.stanza, need=promotion.stanza_need, online=False)
        )
    if promotion.own_passwords and promotion.replicas and promotion.cut:
        if cut:
            stages.append(Stage("get ready for the cut", (_lane(leader, *cut),)))
        leave = tuple(_lane(replica, LeaveArchive(instance=replica)) for replica in promotion.replicas)
        stages += [Stage("leave the source's archive", leave)]
        cut = []
    if promotion.cut:
        cut.append(PromoteStandby(instance=leader, patroni_name=promotion.patroni_name(leader)))
        stages.append(Stage("cut it off from its upstream", (_lane(leader, *cut),)))
    elif cut:
        stages.append(Stage("get its stanza ready", (_lane(leader, *cut),)))
    if promotion.own_passwords:
        stages += [
            *own_passwords_stages(leader, members),
            Stage("make the roles its own", (_lane(leader, SetOwnRoles(instance=leader)),)),
            Stage(
                "let Patroni use its own passwords",
                tuple(_lane(member, ReloadPatroni(instance=member)) for member in members),
            ),
        ]
    if promotion.slot is not None and promotion.source is not None:
        drop = KeepSlot(instance=promotion.source, slot=promotion.slot, kept=False)
        stages.append(Stage("free the source", (_lane(promotion.source, drop),)))
    enable = [
        EnableArchiving(
            instance=member,
            stanza=promotion.stanza,
            patroni_name=promotion.patroni_name(member),
            leader=None if member is leader else leader,
        )
        for member in (*promotion.replicas, leader)
    ]
    stages.append(Stage("see that every member archives", (_lane(leader, *enable),)))
    last: list[Step] = [
        VerifyCluster(leader=leader, replicas=promotion.replicas, archive=True),
        CheckStanza(instance=leader, stanza=promotion.stanza),
    ]
    if promotion.backup:
        last.append(TakeBackup(instance=leader, stanza=promotion.stanza, backup_type="full"))
    stages.append(Stage("begin its own backup history", (_lane(leader, *last),)))
    return stages


def _lane(instance: Instance, *steps: Step) -> Lane:
    return Lane(instance.member.name, steps)
