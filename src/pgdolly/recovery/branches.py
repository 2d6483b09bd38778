"""Which timeline a moment lies on, and which other timelines could be meant.

After a recovery in place, the moments that it undid lie on the timeline that it left. A recovery along the newest
timeline to one of them stops where the timelines part: short of the target, without a word.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from pgdolly.domain.backup import ArchivedSegment
from pgdolly.domain.errors import InvalidInput
from pgdolly.domain.lsn import LSN
from pgdolly.domain.timeline import Fork
from pgdolly.recovery.shelf import Shelf


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """At a certain moment, `child` did not exist yet, and the cluster was past the fork, or elsewhere."""

    fork: Fork
    child: int
    began_at: datetime

    def __str__(self) -> str:
        return (
            f"timeline {self.child} began only at {at(self.began_at)}, from {self.fork.at} of timeline "
            f"{self.fork.parent}, and leaves out what the cluster did from there until then"
        )


def parse_timeline(given: int | str | None) -> int | str | None:
    """A timeline as pgBackRest takes it: `latest`, `current`, a number, or a hexadecimal one with 0x.

    :raises InvalidInput: if it is none of these.
    """
    if given is None or isinstance(given, int):
        number: int | None = given
    else:
        text = given.strip().lower()
        if text in ("latest", "current"):
            return text
        try:
            number = int(text, 16) if text.startswith("0x") else int(text, 10)
        except ValueError:
            number = 0
    if number is not None and not 1 <= number <= 0xFFFFFFFF:
        raise InvalidInput(
            f"{given!r} is no timeline: give its number (decimal, or hexadecimal with 0x), latest or current",
            untouched="nothing was changed",
        )
    return number


def departure(shelf: Shelf, timeline: int, moment: datetime) -> Departure | None:
    """Where the path to `timeline` may have been left at `moment`; None if the moment certainly lies on it.

    What the cluster held at a moment lies on a timeline that existed then. The parent's WAL beyond the fork
    shows that it went on, a timeline begun in between that another took its place; so the moment may lie there,
    unless the path's WAL from before the fork came after it.
    """
    path = shelf.path_to(timeline)
    for fork, child in zip(path.history.forks, path.history.path[1:], strict=True):
        began_at = shelf.archive.history_archived_at(child)
        if began_at is None or moment >= began_at:
            continue
        number = fork.at.position // path.segment_size
        before = path.last_before(number)
        if before is not None and before.archived_at >= moment:
            continue
        alive_at = _latest([before.archived_at] if before is not None else [], _began_at(shelf, fork.parent))
        if _went_on(shelf, fork, number) or _succeeded(shelf, path.history.path, alive_at, moment):
            return Departure(fork=fork, child=child, began_at=began_at)
    return None


def _succeeded(shelf: Shelf, path: tuple[int, ...], alive_at: datetime | None, moment: datetime) -> bool:
    """Whether a timeline beside the path began after its last sign of life, and before the moment."""
    return any(
        (alive_at is None or began_at > alive_at) and began_at <= moment
        for timeline, began_at in shelf.archive.history_files
        if timeline not in path
    )


def _went_on(shelf: Shelf, fork: Fork, number: int) -> bool:
    """Whether the parent's WAL from beyond a fork is there: its own, or begun there and kept by a later child."""
    for timeline in shelf.timelines:
        path = shelf.path_to(timeline)
        left = path.history.fork_from(fork.parent)
        if timeline != fork.parent and (left is None or left.at <= fork.at):
            continue
        if path.end is not None and path.end.segment.number >= number:
            return True
    return False


def rivals(
    shelf: Shelf, timeline: int, *, moment: datetime | None = None, lsn: LSN | None = None
) -> list[tuple[int, datetime]]:
    """Timelines that were written beside the path to `timeline`, and when they last gave a sign of life.

    With a moment, those that were written then; with an LSN, those that have that position too; else those that
    were alive later than the path: by their WAL, or by their history file alone.
    """
    path = shelf.path_to(timeline)
    alive_at = _latest([archived.archived_at for archived in path.segments[-1:]], _began_at(shelf, timeline))
    found = []
    for other in shelf.timelines:
        beside = _beside(shelf, timeline, other)
        times = [archived.archived_at for archived in beside]
        last_at = _latest(times, _began_at(shelf, other) if other not in path.history.path else [])
        if last_at is None:
            continue
        if lsn is not None:
            counts = any(archived.segment.number == lsn.position // path.segment_size for archived in beside)
        elif moment is not None:
            counts = bool(times) and min(times) <= moment <= max(times)
        else:
            counts = alive_at is None or last_at > alive_at
        if counts:
            found.append((other, last_at))
    return found


def _began_at(shelf: Shelf, timeline: int) -> list[datetime]:
    began_at = shelf.archive.history_archived_at(timeline)
    return [] if began_at is None else [began_at]


def _latest(*times: list[datetime]) -> datetime | None:
    return max((moment for several in times for moment in several), default=None)


def at(moment: datetime) -> str:
    """A time as it can be pasted into `--time`: `2026-11-22 17:40:22+00`."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}+00"


def _beside(shelf: Shelf, timeline: int, other: int) -> list[ArchivedSegment]:
    """What the archive has of `other` that does not lie on the way to `timeline`."""
    own = shelf.wal.of_timeline.get(other, [])
    fork = shelf.path_to(timeline).history.fork_from(other)
    if other == timeline:
        return []
    if fork is None:
        return own
    # The segment that holds the fork is begun on the parent and may be archived long after, whole.
    beyond = fork.at.position // shelf.wal.segment_size
    return [archived for archived in own if archived.segment.number > beyond]
