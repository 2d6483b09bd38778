"""The timelines of an archive as a picture: a line each, scaled by time, with its WAL, its gaps and its backups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from pgdolly.recovery.window import ArchiveWindow, TimelineWindow


@dataclass(frozen=True, slots=True)
class Pen:
    """What things are drawn with."""

    wal: str
    gap: str
    fork: str
    full: str
    other: str
    ellipsis: str


DRAWN = Pen(wal="━", gap="·", fork="╰", full="▲", other="△", ellipsis="…")
PLAIN = Pen(wal="=", gap=".", fork="`", full="F", other="i", ellipsis="~")
_LABEL = len("timeline 4294967295 ")


def picture(archive: ArchiveWindow, width: int, pen: Pen) -> Iterator[str]:
    """The lines of the picture, none longer than `width`; nothing if the archive holds no WAL."""
    rows = [timeline for timeline in archive.timelines if timeline.ranges]
    if not rows:
        return
    times = [at for row in rows for r in row.ranges for at in (r.first_archived_at, r.last_archived_at)]
    times += [each.backup.stop_at for each in archive.backups]
    scale = _Scale(min(times), max(times), max(10, width - _LABEL))
    for row in rows:
        yield f"{f'timeline {row.timeline}':{_LABEL}}{_line(row, archive, scale, pen)}".rstrip()
    first, last = (at.isoformat(sep=" ", timespec="seconds") for at in (scale.first, scale.last))
    yield " " * _LABEL + (f"{first}{last:>{scale.width - len(first)}}" if scale.width > 55 else first)
    yield " " * _LABEL + (
        f"{pen.wal * 2} WAL   {pen.gap} gap   {pen.fork} fork   {pen.full} full   {pen.other} diff, incr"
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    first: datetime
    last: datetime
    width: int

    def column(self, at: datetime) -> int:
        whole = (self.last - self.first).total_seconds()
        part = (at - self.first).total_seconds() / whole if whole else 0.0
        return min(self.width - 1, max(0, round(part * (self.width - 1))))


def _line(row: TimelineWindow, archive: ArchiveWindow, scale: _Scale, pen: Pen) -> str:
    cells = [" "] * scale.width
    edges = [(scale.column(r.first_archived_at), scale.column(r.last_archived_at)) for r in row.ranges]
    for column in range(edges[0][0], edges[-1][1] + 1):
        cells[column] = pen.gap
    for first, last in edges:
        cells[first : last + 1] = pen.wal * (last - first + 1)
    if row.fork is not None:
        cells[edges[0][0]] = pen.fork
    # Full ones last, so that one that shares its column with an increment is seen.
    for each in sorted(archive.backups, key=lambda b: b.backup.type == "full"):
        if each.backup.timeline == row.timeline:
            cells[scale.column(each.backup.stop_at)] = pen.full if each.backup.type == "full" else pen.other
    return "".join(cells)
