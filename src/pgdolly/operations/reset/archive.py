"""Why a clone cannot archive from its first moment: its stanza would not take its WAL. Pure."""

from __future__ import annotations

from pgdolly.domain.errors import Refused
from pgdolly.operations.request import NOTHING, PitrRequest
from pgdolly.operations.reset.observe import ResetFacts
from pgdolly.recovery.select import ResolvedRecovery


def refuse_archive(facts: ResetFacts, resolved: ResolvedRecovery, request: PitrRequest) -> None:
    """
    :raises Refused: with what makes the stanza take the clone's WAL. WAL that cannot be archived piles up, and
        nothing can be backed up meanwhile.
    """
    if not (request.archive or request.cleanup):
        return
    _refuse_stopped(facts)
    if request.cleanup:
        return  # it mends the stanza itself
    current = facts.target_catalogue.current if facts.target_catalogue else None
    if current is not None and current.system_identifier == resolved.system_identifier:
        return
    raise Refused(
        f"with archive: true the clone would archive into stanza {facts.target_stanza!r}, which "
        + ("does not exist [055]" if current is None else "is of another system and refuses its WAL [044]"),
        where=facts.target.cluster.name,
        untouched=NOTHING,
        next_command="; or ".join(
            (*_by_hand(facts, resolved, exists=current is not None), *_by_itself(facts.target.cluster.name))
        ),
    )


def _refuse_stopped(facts: ResetFacts) -> None:
    for member in facts.target.members:
        if member.stop_files:
            config = member.member.pgbackrest_config
            option = f" --config={config}" if config else ""
            everything = any(path.endswith("/all.stop") for path in member.stop_files)
            raise Refused(
                f"pgBackRest is stopped there by {', '.join(member.stop_files)}: the clone could archive nothing [062]",
                where=member.member.name,
                untouched=NOTHING,
                next_command=f"{f'pgbackrest{option} start' if everything else 'pb start'}, "
                f"on {member.member.name}",
            )


def _by_hand(facts: ResetFacts, resolved: ResolvedRecovery, *, exists: bool) -> tuple[str, ...]:
    """Only where it helps: stanza-create makes the stanza that of the system which the target is now."""
    leader = facts.leader
    if leader.system_identifier != resolved.system_identifier:
        return ()
    # Asked, the servers of a standby cluster would be found to be no primary [056].
    create = "pb --no-online stanza-create" if facts.upstream is not None else "pb stanza-create"
    commands = ("pb stop --force", "pb stanza-delete --force", "pb start", create) if exists else (create,)
    gone = " (its backups are gone then)" if exists else ""
    return (f"{'; '.join(commands)}, on {leader.member.name}{gone}",)


def _by_itself(target: str) -> tuple[str, ...]:
    return (
        "--cleanup in place of --archive, which mends the stanza in the same go",
        f"leave archive out, and run pgdolly cleanup {target} afterwards",
    )
