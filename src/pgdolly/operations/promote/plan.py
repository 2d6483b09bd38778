"""Decide the promotion of a standby cluster, and plan it. Pure."""

from __future__ import annotations

from pgdolly.domain.errors import Refused
from pgdolly.engine.plan import Plan
from pgdolly.operations.promote.observe import PromotionFacts
from pgdolly.operations.promote.stages import Promotion, promotion_stages
from pgdolly.operations.request import NOTHING
from pgdolly.operations.site import instance_of
from pgdolly.steps.promotion import is_made


def decide(facts: PromotionFacts, *, now: bool, backup: bool) -> Promotion:
    """:raises Refused: if it cannot be told what would be missing, and that was not accepted."""
    name = facts.cluster.cluster.name
    if facts.upstream is not None and facts.position is None and not now:
        assert facts.problem is not None
        raise Refused(
            f"its upstream {facts.upstream} does not answer, so nobody can tell what {name} lacks; it has replayed "
            f"to {facts.replayed}",
            where=name,
            untouched=NOTHING,
            next_command=f"pgdolly promote {name} --now, which takes what is there",
        )
    current = facts.catalogue.current if facts.catalogue is not None else None
    own = all(found.made for found in facts.marked.values())
    replicas = [member for member in facts.cluster.members if member is not facts.leader]
    slot = facts.slot if facts.source is not None and is_made(facts.slot) else None
    return Promotion(
        leader=instance_of(facts.leader),
        replicas=tuple(instance_of(member) for member in replicas),
        stanza=facts.leader.stanza,
        upstream=None if now else facts.upstream,
        cut=facts.upstream is not None,
        delayed=facts.follows is not None and facts.follows.delay is not None,
        stanza_need="create"
        if current is None
        else ("nothing" if current.system_identifier == facts.leader.system_identifier else "upgrade"),
        own_passwords=own,
        slot=slot,
        source=instance_of(facts.source) if slot is not None and facts.source is not None else None,
        backup=backup,
        patroni_names={member.member.name: member.patroni_name for member in facts.cluster.members},
    )


def plan_promotion(facts: PromotionFacts, promotion: Promotion) -> Plan:
    """Pure."""
    name = facts.cluster.cluster.name
    if facts.given_up is not None:
        lines = [
            f"{name} is cut off already, by run {facts.given_up.run_id}, which was given up",
            "what makes it a cluster of its own is done now, from its passwords on",
        ]
    else:
        lines = [
            f"{name} no longer follows {facts.upstream} and is a cluster of its own",
            _cut(facts, promotion),
        ]
    lines.append(
        {
            "create": f"stanza {promotion.stanza} is created",
            "upgrade": f"stanza {promotion.stanza} is of another system and is upgraded",
            "nothing": f"stanza {promotion.stanza} is of this system",
        }[promotion.stanza_need]
    )
    lines.append("a full backup follows" if promotion.backup else "no backup is taken (--no-backup)")
    warnings = []
    if not promotion.own_passwords:
        warnings.append(
            f"patroni.yml of {name} was not made by pgdolly: its roles keep the passwords that are in it, and a "
            "restore_command or a delay in its recovery_conf and a standby_cluster in its bootstrap section have to be "
            "taken out there by hand"
        )
    if facts.slot is not None and promotion.slot is None:
        why = "no node of the inventory has it" if is_made(facts.slot) else "pgdolly did not make it"
        warnings.append(f"slot {facts.slot} at {facts.upstream} is not dropped: {why}")
    return Plan(
        operation="promote",
        target=name,
        summary=tuple(lines),
        warnings=tuple(warnings),
        facts=tuple(sorted(present_facts(facts).items())),
        stages=tuple(promotion_stages(promotion)),
    )


def _cut(facts: PromotionFacts, promotion: Promotion) -> str:
    lag = _lag(facts)
    if promotion.upstream is not None:
        return f"before that it replays what {facts.upstream} has then: {lag}"
    return f"it is cut off with what it has received until then (--now): {lag}"


def _lag(facts: PromotionFacts) -> str:
    if facts.position is None or facts.replayed is None:
        return f"nobody can tell how far it is behind now (it has replayed to {facts.replayed})"
    behind = facts.position.lsn.position - facts.replayed.position
    if behind <= 0:  # it was asked after its upstream, which went on meanwhile
        return f"it is not behind now (it has replayed to {facts.replayed})"
    return f"it is {behind:,} bytes of WAL behind now ({facts.replayed} of {facts.position.lsn})"


def present_facts(facts: PromotionFacts) -> dict[str, str]:
    """What the plan stands on."""
    return {
        f"leader of {facts.cluster.cluster.name}": facts.leader.member.name,
        f"system identifier of {facts.leader.member.name}": str(facts.leader.system_identifier),
        "upstream": str(facts.upstream),
    }
