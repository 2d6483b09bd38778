"""The plan of a drop. Pure, over what was observed."""

from __future__ import annotations

from pathlib import PurePosixPath

from pgdolly.drivers.removal import Remains
from pgdolly.drivers.repository import pgbackrest_path
from pgdolly.engine.plan import Lane, Plan, Stage
from pgdolly.engine.step import Step
from pgdolly.inventory.fleet import Fleet
from pgdolly.operations.drop.observe import DropFacts
from pgdolly.operations.drop.refusals import names_of, others_on_node, shared_files
from pgdolly.operations.site import instance_of
from pgdolly.steps.drop import DeleteStanza, RemoveData, RemoveMade, RemoveStore, StartStanza, StopServer
from pgdolly.steps.member import StopMember
from pgdolly.steps.promotion import KeepSlot, is_made, slot_for


def plan_drop(facts: DropFacts, fleet: Fleet, *, with_backups: bool) -> Plan:
    """Stop, remove the data, then what leads to it; a plan without stages if nothing is left."""
    name = facts.cluster.name
    made = {member.member.name: _removable(member, facts, fleet) for member in facts.members}
    if not _anything(facts, made, with_backups=with_backups):
        return Plan(operation="drop", target=name, summary=_gone(facts, with_backups=with_backups))
    *first, last = facts.in_order
    stages = [
        Stage("stop the replicas", tuple(lane for member in first for lane in _stop(member))),
        Stage("stop the leader" if facts.leader is not None else "stop the last member", _stop(last)),
        Stage(
            "remove the data",
            tuple(Lane(member.member.name, (_remove_data(member, fleet),)) for member in facts.members),
        ),
    ]
    stages += [
        Stage(
            "free the source",
            (
                Lane(
                    kept.keeper.member.name,
                    (KeepSlot(instance=instance_of(kept.keeper), slot=kept.name, kept=False),),
                ),
            ),
        )
        for kept in facts.kept_slots
    ]
    configured, archiving = facts.configured, facts.archiving
    if configured is not None and facts.store is not None and not facts.store.empty:
        assert configured.scope is not None
        remove = RemoveStore(member=configured.member, scope=configured.scope, registered=names_of(facts))
        stages.append(Stage("clear Patroni's store", (Lane(configured.member.name, (remove,)),)))
    if with_backups and archiving is not None and archiving.stanza is not None and facts.repo_keys:
        delete = DeleteStanza(member=archiving.member, stanza=archiving.stanza, repo_keys=facts.repo_keys)
        stages.append(Stage("delete the backups", (Lane(archiving.member.name, (delete,)),)))
    if not facts.backups_stay:
        stages.append(
            Stage(
                "let pgBackRest work again",
                tuple(
                    Lane(member.member.name, (StartStanza(member=member.member, stanza=member.stanza),))
                    for member in facts.members
                    if member.stopped and member.stanza is not None
                ),
            )
        )
    stages.append(
        Stage(
            "remove what pgdolly clone wrote",
            tuple(
                Lane(member.member.name, (_remove_made(member, made[member.member.name]),))
                for member in facts.members
                if made[member.member.name]
            ),
        )
    )
    return Plan(
        operation="drop",
        target=name,
        summary=_summary(facts, fleet),
        warnings=_warnings(facts, with_backups=with_backups),
        facts=tuple(sorted(present_facts(facts).items())),
        stages=tuple(stage for stage in stages if stage.lanes),
    )


def _anything(facts: DropFacts, made: dict[str, set[PurePosixPath]], *, with_backups: bool) -> bool:
    """Whether there is anything to remove; an empty data directory is as good as none."""
    return (
        _has_data(facts)
        or any(member.up or member.work for member in facts.members)
        or any(made.values())
        or (not facts.backups_stay and any(member.stopped for member in facts.members))
        or bool(facts.kept_slots)
        or (facts.store is not None and not facts.store.empty)
        or (with_backups and bool(facts.repo_keys))
    )


def _has_data(facts: DropFacts) -> bool:
    return any(member.running or member.fillers or not member.empty for member in facts.members)


def _stop(member: Remains) -> tuple[Lane, ...]:
    step: Step
    if member.serviced:
        step = StopMember(instance=member.instance)
    elif member.running:
        step = StopServer(instance=member.instance)
    else:
        return ()
    return (Lane(member.member.name, (step,)),)


def _remove_data(member: Remains, fleet: Fleet) -> RemoveData:
    spool = member.spool_path / "archive" / member.stanza if member.spool_path and member.stanza else None
    shared = any(
        other.work_directory == member.member.work_directory for other in others_on_node(member.member, fleet)
    )
    return RemoveData(
        member=member.member,
        real_directory=member.real_directory,
        tablespaces=member.tablespaces,
        wal_directory=member.wal_directory,
        spool=spool,
        work=not shared,
    )


def _removable(member: Remains, facts: DropFacts, fleet: Fleet) -> set[PurePosixPath]:
    """What `pgdolly clone` wrote for this member alone; what leads to backups that stay is needed to delete them."""
    kept = {pgbackrest_path(member.member)} if facts.backups_stay else set()
    return {file.path for file in member.made} - shared_files(member.member, fleet).keys() - kept


def _remove_made(member: Remains, paths: set[PurePosixPath]) -> RemoveMade:
    files = [file for file in member.made if file.path in paths]
    return RemoveMade(
        member=member.member,
        files=tuple(file.path for file in files if not file.by_root),
        by_root=tuple(file.path for file in files if file.by_root),
        pgpass=member.pgpass if member.member.patroni_config in paths else None,
    )


def _summary(facts: DropFacts, fleet: Fleet) -> tuple[str, ...]:
    name, archiving = facts.cluster.name, facts.archiving
    listed = ", ".join(member.member.name for member in facts.members)
    lines = [
        f"{name} ({listed}) is removed: its data is LOST"
        if _has_data(facts)
        else f"what is left of {name} ({listed}) is removed; its nodes hold no data of it"
    ]
    for member in facts.members:
        outside = [*member.tablespaces, *([member.wal_directory] if member.wal_directory else [])]
        if outside:
            where = ", ".join(map(str, outside))
            lines.append(f"with what it has outside of its data directory on {member.member.name}: {where}")
    if archiving is not None and facts.backups_stay:
        lines.append(
            f"its backups stay: stanza {archiving.stanza}, with the pgBackRest configuration that leads to it "
            "(--with-backups deletes them, now or later)"
        )
    elif facts.repo_keys and archiving is not None:
        repositories = ", ".join(f"repo{key}" for key in facts.repo_keys)
        lines.append(f"its backups are LOST: stanza {archiving.stanza} in {repositories}")
    elif archiving is not None:
        lines.append(f"there are no backups of it: no repository holds stanza {archiving.stanza}")
    for member in facts.members:
        shared = shared_files(member.member, fleet)
        left = [
            f"{file.path} ({f'also of {shared[file.path]}' if file.path in shared else 'not made by pgdolly clone'})"
            for file in member.files
            if not file.made or file.path in shared
        ]
        left += [str(path) for path in member.beside]
        if member.stays:
            left.append(f"{member.member.data_directory} itself, empty (a mount point or a link)")
        if left:
            lines.append(f"left on {member.member.name}: {', '.join(left)}")
    return tuple(lines)


def _warnings(facts: DropFacts, *, with_backups: bool) -> tuple[str, ...]:
    name = facts.cluster.name
    warnings = [
        f"{other.cluster.name} could not be looked at ({other.problem}): whether it follows {name}, or keeps WAL for "
        f"it in slot {slot_for(name)}, is not known"
        for other in facts.neighbours
        if other.problem is not None
    ]
    warnings += [
        f"{', '.join(member.fillers)} on {member.member.name} still fills its data directory, and is ended"
        for member in facts.members
        if member.fillers
    ]
    freed = {kept.name for kept in facts.kept_slots}
    slot = facts.store.upstream_slot if facts.store is not None else None
    if slot and slot not in freed and facts.store is not None and facts.store.standby_of:
        host, port = facts.store.standby_of
        # A slot that Patroni's configuration names is made again if it is dropped in SQL alone.
        end = (
            f"patronictl edit-config --set slots.{slot}=null --force"
            if is_made(slot)
            else f"SELECT pg_drop_replication_slot('{slot}')"
        )
        warnings.append(
            f"replication slot {slot} at {host}:{port or 5432} goes on keeping WAL for {name}: drop it there "
            f"afterwards, {end}"
        )
    if facts.configured is None:
        warnings.append(
            f"no member of {name} has a Patroni configuration: what the store may still hold of it is not looked at"
        )
    if with_backups and facts.archiving is None:
        warnings.append(
            f"no member of {name} has a pgBackRest configuration: what a repository may hold of it is not looked at"
        )
    return tuple(warnings)


def _gone(facts: DropFacts, *, with_backups: bool) -> tuple[str, ...]:
    name = facts.cluster.name
    lines = [f"there is nothing left of {name} on its nodes"]
    if facts.store is not None:
        lines.append("Patroni's store holds nothing of it")
    if facts.archiving is not None and facts.backups_stay:
        lines.append(f"its backups are there: stanza {facts.archiving.stanza} (--with-backups deletes it)")
    return (*lines, *_warnings(facts, with_backups=with_backups))


def present_facts(facts: DropFacts) -> dict[str, str]:
    """What the plan stands on."""
    found = {f"system identifier of {m.member.name}": m.system_identifier or "none" for m in facts.members}
    found |= {f"data directory of {m.member.name}": str(m.real_directory) for m in facts.members}
    found[f"leader of {facts.cluster.name}"] = facts.leader.member.name if facts.leader else "none"
    return found
