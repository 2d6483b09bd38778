"""A clone in words, for the plan. Pure."""

from __future__ import annotations

from pgdolly.domain.errors import PgdollyError
from pgdolly.drivers.store import StoreView
from pgdolly.operations.clone.blueprint import CloneBlueprint, StandbyPlan
from pgdolly.operations.clone.observe import CloneFacts
from pgdolly.operations.reset.describe import afterwards, way
from pgdolly.recovery.resolved import ResolvedRecovery


def describe(
    blueprint: CloneBlueprint, facts: CloneFacts, store: StoreView, *, unused: PgdollyError | None = None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The summary and the warnings.

    :param unused: why no backup is restored, although nobody asked for base backups.
    """
    new, source = blueprint.new_cluster, blueprint.source_cluster
    warnings = []
    followed = facts.template_cluster.cluster.name
    if followed != source and facts.request.like is None:
        warnings.append(f"no node of {source} answers: the configuration follows that of {followed}")
    if not store.empty:
        warnings.append(
            f"Patroni's store has entries of a former cluster {new}"
            + (f", of system {store.initialize}" if store.initialize else "")
            + ": they go, and its configuration there is replaced by the new one's"
        )
    if blueprint.reset is not None:
        summary = [
            f"{new} is made out of {source}'s backups, as {source} was at {blueprint.reset.target}; {source} is "
            "not touched",
            *way(blueprint.reset),
            afterwards(blueprint.reset),
        ]
        warnings += blueprint.reset.warnings
    else:
        assert blueprint.standby is not None
        summary = [*_standby_summary(blueprint, blueprint.standby)]
        if unused is not None:
            warnings.append(
                f"the backups of {source} cannot be used ({unused}): its members are filled by base backups, which "
                "read all of the running source, and WAL that the source does not have any more is lost to them"
            )
    names = ", ".join(member.name for member in blueprint.members)
    summary.append(f"its configuration follows {facts.template.member.name}'s, on {names}")
    return tuple(summary), tuple(warnings)


def _standby_summary(blueprint: CloneBlueprint, standby: StandbyPlan) -> list[str]:
    new, source = blueprint.new_cluster, blueprint.source_cluster
    lines = [
        f"{new} is made a standby cluster of {source}, and cut off from it as it is then"
        if blueprint.promote
        else f"{new} is made a standby cluster of {source} and follows it"
    ]
    lines.append(f"upstream {standby.upstream}")
    lines.append(_filling(standby.resolved))
    if standby.slot is not None:
        lines.append(f"{source} keeps its WAL in slot {standby.slot}, until it is promoted or dropped")
    delay = standby.configuration.get("recovery_min_apply_delay")
    if delay is not None:
        lines.append(f"it replays {delay} late")
    return lines


def _filling(resolved: ResolvedRecovery | None) -> str:
    if resolved is None:
        return "its members are filled by base backups of the source"
    return (
        f"its members are filled from backup set {resolved.backup_set} of stanza {resolved.stanza}, "
        f"{resolved.backup.database_size / 1024**2:,.1f} MB each, and stream what came after"
    )
