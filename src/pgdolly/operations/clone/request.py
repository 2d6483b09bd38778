"""What `pgdolly clone` is asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Literal

from pgdolly.domain.cluster import Cluster
from pgdolly.domain.errors import InvalidInput
from pgdolly.domain.target import TargetType
from pgdolly.operations.request import NOTHING, PitrRequest

Via = Literal["backup", "stream"]
# As PostgreSQL reads recovery_min_apply_delay, which is kept in milliseconds, in 31 bits.
_DELAY = re.compile(r"(\d+) ?(ms|s|min|h|d)")
_MILLISECONDS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneRequest:
    """The new cluster's beginning.

    :param standby: it follows the source from then on; else it is one of its own.
    :param pitr: the point in the source's history, as for a reset; without a target it is now.
    :param via: how its members are filled; None: from the backups where they can be reached.
    :param slot: the source keeps WAL for it.
    :param like: the cluster whose configuration the new one's follows; None: the source.
    """

    source: str
    new: str
    standby: bool = False
    pitr: PitrRequest = field(default_factory=PitrRequest)
    via: Via | None = None
    slot: bool = False
    delay: str | None = None
    like: str | None = None
    backup: bool = True

    @property
    def to_a_point(self) -> bool:
        """Whether it begins at a point in the source's past, which needs its backups alone."""
        return self.pitr.target().type is not TargetType.DEFAULT or self.pitr.set is not None

    @property
    def names_backups(self) -> bool:
        """Whether the backups were asked for, so that nothing else takes their place."""
        return self.via == "backup" or self.pitr.repo is not None or self.pitr.set is not None


def checked(request: CloneRequest, new: Cluster) -> CloneRequest:
    """The request with what the inventory says of the new cluster: `pg_upstream` makes a standby cluster of it.

    :raises InvalidInput: if its parts contradict each other.
    """

    def contradiction(what: str) -> InvalidInput:
        return InvalidInput(what, where=request.new, untouched=NOTHING)

    if request.source == request.new:
        raise contradiction("a cluster is no clone of itself: pgdolly reset recovers it in place")
    if request.via == "stream" and request.names_backups:
        raise contradiction(
            "--via stream copies the running source, and --repo and --set choose among its backups: leave one out"
        )
    if request.to_a_point:
        if request.standby:
            raise contradiction(
                "a standby cluster follows its source: it cannot stand at a point of its past"
            )
        if request.slot or request.delay is not None or request.via == "stream":
            raise contradiction("--slot, --delay and --via stream belong to a clone of now, not of a point")
        if new.upstream is not None:
            raise contradiction(
                f"the inventory's pg_upstream ({new.upstream}) makes it a standby cluster, and the request is for a "
                "point in the past: take pg_upstream out, or leave the point out"
            )
        return request
    if request.pitr.timeline is not None:
        raise contradiction(
            "a timeline belongs to a point of the past: a clone of now is on the source's own"
        )
    standby = request.standby or new.upstream is not None
    delay = request.delay or new.delay
    if delay is not None and not _is_delay(delay):
        raise contradiction(f"the delay {delay!r} is not of the form 30min, 1h or 1d, and 24d at most")
    if delay is not None and not standby:
        raise contradiction("a delay is for a standby cluster: add --standby, or leave it out")
    return replace(request, standby=standby, delay=delay)


def _is_delay(text: str) -> bool:
    found = _DELAY.fullmatch(text)
    return found is not None and int(found[1]) * _MILLISECONDS[found[2]] < 2**31
