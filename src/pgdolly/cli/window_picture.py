"""The timelines of an archive as a picture: a line each, scaled by time, with forks, gaps and backups.

timeline 1   ▲━△━━△┯━━
timeline 2         ├┄┄━━▲━━┯━
timeline 3         │       ╰┄━
timeline 4         ╰┄┄┄┄┄┄┄┄┄┄━━△
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import click

from pgdolly.recovery.branches import at
from pgdolly.recovery.window import ArchiveWindow, BackupWindow, TimelineWindow


@dataclass(frozen=True, slots=True)
class Pen:
    """What things are drawn with; one character each."""

    wal: str  # that a usable backup leads to
    useless: str  # before any usable backup, or behind a gap
    gap: str
    left: str  # a timeline forks off here
    last: str  # the fork's other end: the last one from that place
    more: str  # and one that is not the last
    down: str
    across: str
    full: str
    other: str
    broken: str

    def style(self, character: str) -> dict[str, object]:
        """How click is to colour a character."""
        if character in (self.gap, self.broken):
            return {"fg": "red"}
        if character in (self.full, self.other):
            return {"fg": "cyan", "bold": True}
        if character in (self.wal, self.left):
            return {"fg": "green"}
        return {"dim": True} if character != " " else {}

    @property
    def legend(self) -> str:
        return (
            f"{self.full} full   {self.other} diff, incr   {self.broken} unusable backup   {self.wal * 2} WAL   "
            f"{self.useless * 2} WAL that no backup leads to   {self.gap} gap"
        )


DRAWN = Pen(
    wal="━",
    useless="─",
    gap="╳",
    left="┯",
    last="╰",
    more="├",
    down="│",
    across="┄",
    full="▲",
    other="△",
    broken="✗",
)
PLAIN = Pen(
    wal="=",
    useless="-",
    gap="x",
    left="+",
    last="`",
    more="|",
    down="|",
    across=".",
    full="F",
    other="i",
    broken="!",
)
_NARROWEST = 20


def picture(archive: ArchiveWindow, width: int, pen: Pen) -> Iterator[str]:
    """The lines of the picture, none of them longer than `width` columns (of 40 at least).

    Nothing is drawn if the archive holds no WAL.
    """
    rows = [timeline for timeline in archive.timelines if timeline.ranges]
    if not rows:
        return
    label = len(f"timeline {rows[-1].timeline}  ")
    times = [moment for row in rows for moment in _moments(row)]
    times += [each.backup.stop_at for each in archive.backups]
    scale = _Scale(min(times), max(times), max(_NARROWEST, width - label))
    canvas = [[" "] * scale.width for _ in rows]
    for cells, row in zip(canvas, rows, strict=True):
        _draw_wal(cells, row, scale, pen)
    _draw_forks(canvas, rows, scale, pen)
    for cells, row in zip(canvas, rows, strict=True):
        _draw_backups(cells, row, archive.backups, scale, pen)
    for cells, row in zip(canvas, rows, strict=True):
        name = f"timeline {row.timeline}"
        yield f"{name:{label}}{_coloured(cells, pen)}"
    yield from _axis(label, scale)
    yield (
        pen.legend if len(pen.legend) <= width else f"{pen.full} full  {pen.other} diff, incr  {pen.gap} gap"
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    first: datetime
    last: datetime
    width: int

    def column(self, moment: datetime) -> int:
        whole = (self.last - self.first).total_seconds()
        part = (moment - self.first).total_seconds() / whole if whole else 0.0
        return min(self.width - 1, max(0, round(part * (self.width - 1))))


def _moments(row: TimelineWindow) -> Iterator[datetime]:
    for each in row.ranges:
        yield from (each.first_archived_at, each.last_archived_at)
    yield from (moment for moment in (row.began_at, row.left_at) if moment is not None)


def _draw_wal(cells: list[str], row: TimelineWindow, scale: _Scale, pen: Pen) -> None:
    spans = [(scale.column(span.first_at), scale.column(span.last_at)) for span in row.spans]
    before: int | None = None
    for each in row.ranges:
        first, last = scale.column(each.first_archived_at), scale.column(each.last_archived_at)
        if before is not None:
            # A gap of one segment in a month of WAL is narrower than a column, and the most important thing here.
            first = max(first, min(before + 2, scale.width - 1))
            last = max(first, last)
            cells[before + 1 : first] = pen.gap * (first - before - 1)
        for column in range(first, last + 1):
            reached = any(begin <= column <= end for begin, end in spans)
            cells[column] = pen.wal if reached else pen.useless
        before = last


def _draw_forks(canvas: list[list[str]], rows: list[TimelineWindow], scale: _Scale, pen: Pen) -> None:
    places = {row.timeline: index for index, row in enumerate(rows)}
    for index, row in enumerate(rows):
        parent = places.get(row.fork.parent) if row.fork is not None else None
        if parent is None or row.left_at is None:
            continue
        column = scale.column(row.left_at)
        canvas[parent][column] = pen.left
        for between in range(parent + 1, index):
            cells = canvas[between]
            if cells[column] == pen.last:
                cells[column] = pen.more
            elif cells[column] in (" ", pen.across):
                cells[column] = pen.down
        cells = canvas[index]
        begin = scale.column(row.ranges[0].first_archived_at)
        for across in range(column + 1, begin):
            cells[across] = pen.across
        if cells[column] == " ":
            cells[column] = pen.last


def _draw_backups(
    cells: list[str], row: TimelineWindow, backups: tuple[BackupWindow, ...], scale: _Scale, pen: Pen
) -> None:
    def weight(each: BackupWindow) -> tuple[bool, bool]:
        return (each.usable, each.backup.type == "full")

    # The weightiest is drawn last, where several share a column.
    for each in sorted(backups, key=weight):
        if each.backup.timeline == row.timeline:
            mark = pen.full if each.backup.type == "full" else pen.other
            cells[scale.column(each.backup.stop_at)] = mark if each.usable else pen.broken


def _coloured(cells: list[str], pen: Pen) -> str:
    text = "".join(cells).rstrip()
    return "".join(
        click.style(character, **style) if (style := pen.style(character)) else character  # type: ignore[arg-type]
        for character in text
    )


def _axis(label: int, scale: _Scale) -> Iterator[str]:
    first, last = at(scale.first), at(scale.last)
    if scale.width > len(first) + len(last):
        yield " " * label + first + last.rjust(scale.width - len(first))
    else:
        yield " " * label + first
        yield " " * label + last.rjust(scale.width)
