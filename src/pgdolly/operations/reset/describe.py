"""A reset in the words that a person reads before typing the target's name."""

from __future__ import annotations

from collections.abc import Iterator

from pgdolly.domain.cluster import Member, ServiceManager
from pgdolly.domain.target import RecoveryTarget, TargetAction, TargetType
from pgdolly.drivers import services
from pgdolly.operations.followers import described
from pgdolly.operations.reset.blueprint import ResetBlueprint
from pgdolly.operations.reset.observe import ResetFacts


def describe(blueprint: ResetBlueprint, facts: ResetFacts) -> tuple[str, ...]:
    """The summary of the plan, a handful of lines."""
    resolved = blueprint.resolved
    if blueprint.beside:
        return _describe_beside(blueprint)
    whole = "its own history" if facts.in_place else f"the state of {blueprint.source_cluster}"
    names = ", ".join(member.member.name for member in blueprint.members)
    lines = [
        f"{blueprint.target_cluster} ({names}) is reset to {whole} {_at(resolved.target)}",
        *way(blueprint),
    ]
    taken = max((resolved.timeline, *blueprint.placeholders))
    lines.append(
        f"{blueprint.leader.member.name} leads; its timelines come after {taken}, the last one taken"
    )
    if facts.upstream is not None:
        name = blueprint.target_cluster
        lines.append(
            f"{name}, a standby cluster now, no longer follows {facts.upstream.name}: it becomes a cluster of its own"
        )
    if blueprint.leader.kept is not None:
        lines.append(f"the old data is kept beside it, as {blueprint.leader.kept}")
    else:
        lines.append(f"the present data of {blueprint.target_cluster} is LOST")
    lines.append(afterwards(blueprint))
    return tuple(lines)


def way(blueprint: ResetBlueprint) -> list[str]:
    """What is restored and replayed."""
    resolved, backup = blueprint.resolved, blueprint.resolved.backup
    lines = [
        f"from backup set {backup.label} ({backup.type}, {backup.database_size / 1024**2:,.1f} MB, "
        f"stopped {backup.stop_at:%Y-%m-%d %H:%M:%S%z}) of stanza {resolved.stanza} in repo{resolved.repo_key}, "
        f"along timeline {resolved.timeline}",
        f"replaying WAL from {resolved.first_segment.name} to at most {resolved.last_segment.name}",
    ]
    if resolved.pinned_segment is not None:
        lines.append(
            f"the end is pinned to segment {resolved.pinned_segment.name}, the last one archived now: "
            "what the source archives from here on is not in the clone"
        )
    elif resolved.target.type is TargetType.DEFAULT:
        lines.append("the end is what is in the archive once the leader is stopped")
    return lines


def _describe_beside(blueprint: ResetBlueprint) -> tuple[str, ...]:
    resolved, leader = blueprint.resolved, blueprint.leader
    return (
        f"{blueprint.source_cluster} {_at(resolved.target)} is restored beside {blueprint.target_cluster}: into "
        f"{leader.instance.data_directory} on the node of {leader.member.name}",
        f"from backup set {resolved.backup_set} of stanza {resolved.stanza} in repo{resolved.repo_key}, "
        f"replaying WAL from {resolved.first_segment.name} to at most {resolved.last_segment.name}",
        f"{blueprint.target_cluster} runs on, untouched; Patroni never sees the restored directory",
        f"it is left {'shut down' if blueprint.action is TargetAction.SHUTDOWN else 'running'}, archives nowhere, and "
        f"answers through its private socket in {leader.instance.private_directory}, port {leader.instance.port}",
    )


def afterwards(blueprint: ResetBlueprint) -> str:
    """How it stands in the end."""
    if blueprint.action is TargetAction.PAUSE:
        return (
            f"{blueprint.leader.member.name} then stands at the target, readable through its private socket in "
            f"{blueprint.leader.instance.private_directory}"
        )
    if blueprint.action is TargetAction.SHUTDOWN:
        return "every member is then shut down at the target"
    if blueprint.cleanup:
        stanza = f"stanza {blueprint.stanza} {_need(blueprint)}"
        return f"its own backup history begins in the same go: {stanza}, full backup"
    if blueprint.archive:
        return f"archiving into stanza {blueprint.stanza} stays on"
    return f"archiving is off on every member until: pgdolly cleanup {blueprint.target_cluster}"


def _at(target: RecoveryTarget) -> str:
    return str(target) if target.exclusive else f"at {target}"


def _need(blueprint: ResetBlueprint) -> str:
    return {"nothing": "accepts it as it is", "create": "is created", "upgrade": "is upgraded"}[
        blueprint.stanza_need
    ]


def warnings_of(blueprint: ResetBlueprint, facts: ResetFacts) -> tuple[str, ...]:
    """What a person should know and may accept."""
    warnings = list(blueprint.resolved.notes)
    for member, error in facts.source.silent:
        warnings.append(f"{member.name} of the source does not answer ({error}); its repository is enough")
    for text, (_, error) in zip(blueprint.left_out, facts.target.silent, strict=False):
        warnings.append(f"{text} ({error.what})")
    for replica in blueprint.replicas:
        if replica.unreadable is not None:
            warnings.append(
                f"{replica.member.name} cannot read the backup set ({replica.unreadable}): it is not restored, but "
                f"copied from {blueprint.leader.member.name} by base backup in the end"
            )
    source = next(iter(facts.source.members), None)
    if source is not None:
        for target in facts.target.members:
            if _minor(target.postgres_version) < _minor(source.postgres_version):
                warnings.append(
                    f"{target.member.name} runs PostgreSQL {target.postgres_version}, "
                    f"the source {source.postgres_version}: an older minor version may not replay its WAL"
                )
    if facts.target.leader is None and any(member.has_data for member in facts.target.members):
        warnings.append(
            f"{blueprint.target_cluster} has no leader now; {blueprint.leader.member.name} becomes it"
        )
    unarchived = _unarchived(blueprint, facts)
    if unarchived is not None:
        warnings.append(unarchived)
    warnings += _followers(facts)
    view = facts.leader.cluster
    if view is not None and view.paused:
        warnings.append(f"{blueprint.target_cluster} is paused in Patroni; the pause goes with its old life")
    return tuple(warnings)


def _unarchived(blueprint: ResetBlueprint, facts: ResetFacts) -> str | None:
    """That what the leader has written since is lost, where the end is what it archives when it is stopped."""
    resolved, leader, server = blueprint.resolved, facts.leader, facts.server
    if (
        blueprint.beside
        or not facts.in_place
        or resolved.target.type is not TargetType.DEFAULT
        or resolved.pinned_segment is not None
        or leader.private  # the recovery of a reset that was given up has written nothing of its own
    ):
        return None
    name, cluster = leader.member.name, blueprint.target_cluster
    if leader.stop_files:
        everything = any(path.endswith("/all.stop") for path in leader.stop_files)
        why = f"pgBackRest is stopped on {name} by {', '.join(leader.stop_files)}"
        config = leader.member.pgbackrest_config
        option = f" --config={config}" if config else ""
        cure = f"{f'pgbackrest{option} start' if everything else 'pb start'}, on {name}"
    elif server is None:
        why = f"{name} does not answer: what it wrote last is perhaps not archived, and will not be"
        cure = f"pgdolly check {cluster}"
    elif server.archive_mode == "off":
        why, cure = f"archive_mode is off on {name}", f"pgdolly cleanup {cluster}"
    elif server.archiver.failing:
        why = f"{name} fails to archive {server.archiver.last_failed}"
        cure = f"pgdolly check {cluster}, which says why"
    else:
        return None
    return (
        f"{why}: whatever is committed after segment {resolved.last_segment.name}, the last one in the archive, is "
        f"LOST by this reset. To keep it, cancel, and first:  {cure}"
    )


def _followers(facts: ResetFacts) -> Iterator[str]:
    """Who replicates from the target, and how they come back: neither its old history nor its slots are there then."""
    name, found = facts.target.cluster.name, described(facts.followers, facts.target_names)
    if facts.unasked:
        yield (
            f"{', '.join(facts.unasked)} could not be asked who replicates from there: whoever does cannot go on after "
            "this reset"
        )
    if not found:
        return
    back = [
        f"standby cluster {other}, once {name} archives again, by  pgdolly drop {other}  and a new clone, or as a "
        f"cluster of its own by  pgdolly reset {other} --from {name}"
        for other in facts.standby_clusters
    ]
    back.append("what else receives or subscribes by a new base backup, or a new copy of its tables")
    yield (
        f"{name} is replicated from: {'; '.join(found)}. After this reset they CANNOT go on, and come back only anew: "
        f"{'; '.join(back)}"
    )


def left_out(member: Member) -> str:
    """That a member was left out, and what to type on its node once it is up: Patroni then copies the leader."""
    stop, start = f"systemctl stop {member.service}", f"systemctl start {member.service}"
    if member.service_manager is ServiceManager.SUPERVISOR:
        stop, start = services.stop_command(member).shown(), services.start_command(member).shown()
    return (
        f"{member.name} is down and is LEFT OUT: its Patroni cannot come up while {member.cluster} is reset, nor "
        "stream its old data afterwards. To bring it back once its node is up, type there as root:  "
        f"{stop}; find {member.data_directory} -mindepth 1 -delete; {start}"
    )


def _minor(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
