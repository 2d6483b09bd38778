"""A recovery window on the screen, and as JSON."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any

import click

from pgdolly.cli.amounts import amount
from pgdolly.cli.window_picture import DRAWN, PLAIN, picture
from pgdolly.recovery.branches import at
from pgdolly.recovery.window import (
    ArchiveWindow,
    BackupWindow,
    RecoverableSpan,
    RecoveryWindow,
    TimelineWindow,
)

_HEADINGS = ("backup", "type", "stopped at", "LSN", "timeline", "data", "stored", "usable")


def print_window(cluster: str, window: RecoveryWindow) -> None:
    """Print it to standard output, as wide as the terminal; in plain characters unless that is one."""
    drawn = sys.stdout.isatty() and (sys.stdout.encoding or "").lower().startswith("utf")
    width = shutil.get_terminal_size((120, 24)).columns
    for line in window_lines(cluster, window, width=width, drawn=drawn):
        click.echo(line)


def window_lines(cluster: str, window: RecoveryWindow, *, width: int, drawn: bool) -> Iterator[str]:
    """The lines for people: what can be typed as a target first, then what it stands on."""
    yield click.style(f"{cluster}: what can be restored out of stanza {window.stanza}", bold=True)
    yield from _answer(window)
    for remark in window.remarks:
        yield click.style(f"  {remark}", fg="yellow")
    for archive in window.archives:
        yield ""
        yield from _archive_lines(archive, width=width, drawn=drawn)


def _answer(window: RecoveryWindow) -> Iterator[str]:
    if window.first_lsn is None:
        yield click.style("  nothing of the present system can be restored now", fg="red")
        yield "  next: pg-backup full, on the leader"
        return
    if window.first_at is None or window.last_at is None:
        yield click.style("  no point in time after the backup can be restored yet", fg="yellow")
        yield f"  --immediate restores the backup itself, --lsn goes from {window.first_lsn} to {window.last_lsn}"
        return
    yield f"  first recoverable moment   --time '{at(window.first_at)}'   (LSN {window.first_lsn})"
    yield f"  last recoverable moment    before {at(window.last_at)}   (LSN {window.last_lsn})"
    yield "  (then the last WAL was archived: the last transaction in it ended then, or earlier)"
    for archive in window.current:
        for before, after in pairwise(archive.spans):
            yield click.style(
                f"  but nothing from repo{archive.repo_key} between {at(before.last_at)} (LSN {before.last_lsn}) "
                f"and {at(after.first_at)} (LSN {after.first_lsn})",
                fg="red",
            )


def _archive_lines(archive: ArchiveWindow, *, width: int, drawn: bool) -> Iterator[str]:
    system = archive.system
    state = "the present system" if archive.current else "a former system of this stanza"
    yield click.style(
        f"repo{archive.repo_key}, archive {system.archive_id}: PostgreSQL {system.version}, "
        f"system {system.system_identifier}, {state}",
        bold=True,
    )
    if archive.backups:
        yield from _backup_lines(archive.backups, width)
    else:
        yield "  no backup"
    if any(timeline.ranges for timeline in archive.timelines):
        yield ""
    for timeline in archive.timelines:
        yield from _timeline_lines(timeline)
    drawing = list(picture(archive, width - 2, DRAWN if drawn else PLAIN))
    if drawing:
        yield ""
        yield from (f"  {line}" for line in drawing)


def _backup_lines(backups: tuple[BackupWindow, ...], width: int) -> Iterator[str]:
    """A table, oldest first. What is wrong with a backup goes to a line of its own if the terminal is narrow."""
    rows = [_row(each) for each in backups]
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
    table = 2 + sum(widths) + 2 * (len(widths) - 1)
    problems = [each.problem or "" for each in backups]
    beside = table + 2 + max(map(len, problems)) <= width
    yield click.style(_line(_HEADINGS, widths), dim=True)
    for each, row, problem in zip(backups, rows, problems, strict=True):
        line = _line(row, widths)
        if problem and beside:
            line += f"  {problem}"
        yield line if each.usable else click.style(line, fg="red")
        if problem and not beside:
            yield f"      {problem}"


def _row(each: BackupWindow) -> tuple[str, ...]:
    backup = each.backup
    if each.problem is None:
        usable = "yes"
    else:
        usable = (
            f"timeline {', '.join(str(timeline) for timeline in each.timelines)}" if each.usable else "NO"
        )
    return (
        backup.label,
        backup.type,
        at(backup.stop_at),
        str(backup.stop_lsn),
        str(backup.timeline),
        amount(backup.database_size, "bytes"),
        amount(backup.repository_size, "bytes"),
        usable,
    )


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    return "  " + "  ".join(cell.ljust(wide) for cell, wide in zip(row, widths, strict=True)).rstrip()


def _timeline_lines(timeline: TimelineWindow) -> Iterator[str]:
    fork = timeline.fork
    origin = f", from timeline {fork.parent} at {fork.at}" if fork is not None else ""
    if timeline.began_at is not None:
        origin += f", begun {at(timeline.began_at)}"
    if not timeline.history_archived:
        origin += ", from where is unknown: its history file never came"
    yield f"  timeline {timeline.timeline}{origin}"
    for each in timeline.ranges:
        yield (
            f"    WAL {each.first.name} to {each.last.name}: {each.count} {_segments(each.count)}, "
            f"{amount(each.size, 'bytes')} stored, LSN {each.start_lsn} to {each.end_lsn}, "
            f"archived until {at(each.last_archived_at)}"
        )
    for gap in timeline.gaps:
        yield click.style(f"    GAP on the way to it: {gap}", fg="red")
    for span in timeline.spans:
        yield click.style(f"    can be restored: {_span(span)}", fg="green")
    if not timeline.spans:
        yield click.style("    cannot be restored: no usable backup leads to it", fg="yellow")


def _segments(count: int) -> str:
    return "segment" if count == 1 else "segments"


def _span(span: RecoverableSpan) -> str:
    lsns = f"LSN {span.first_lsn} to {span.last_lsn}"
    return f"{at(span.first_at)} to {at(span.last_at)}, {lsns}" if span.holds_times else lsns


def window_as_json(cluster: str, window: RecoveryWindow) -> str:
    """The same as one JSON object. Times in ISO 8601 with their zone, LSNs and segments by name, sizes in bytes."""
    return json.dumps(
        {
            "cluster": cluster,
            "stanza": window.stanza,
            "first_at": _time(window.first_at),
            "last_at": _time(window.last_at),
            "first_lsn": _text(window.first_lsn),
            "last_lsn": _text(window.last_lsn),
            "remarks": list(window.remarks),
            "archives": [_archive(archive) for archive in window.archives],
        },
        indent=2,
    )


def _archive(archive: ArchiveWindow) -> dict[str, Any]:
    return {
        "repo": archive.repo_key,
        "archive_id": archive.system.archive_id,
        "system_identifier": archive.system.system_identifier,
        "postgres_version": archive.system.version,
        "current": archive.current,
        "segment_size": archive.segment_size,
        "newest_timeline": archive.newest_timeline,
        "backups": [_backup(each) for each in archive.backups],
        "timelines": [_timeline(timeline) for timeline in archive.timelines],
    }


def _backup(each: BackupWindow) -> dict[str, Any]:
    backup = each.backup
    return {
        "label": backup.label,
        "type": backup.type,
        "started_at": _time(backup.start_at),
        "stopped_at": _time(backup.stop_at),
        "start_lsn": str(backup.start_lsn),
        "stop_lsn": str(backup.stop_lsn),
        "timeline": backup.timeline,
        "size": backup.database_size,
        "stored_size": backup.repository_size,
        "usable": each.usable,
        "problem": each.problem,
        "leads_to": list(each.timelines),
    }


def _timeline(timeline: TimelineWindow) -> dict[str, Any]:
    fork = timeline.fork
    return {
        "timeline": timeline.timeline,
        "forked_from": fork.parent if fork else None,
        "forked_at": str(fork.at) if fork else None,
        "began_at": _time(timeline.began_at),
        "history_archived": timeline.history_archived,
        "ranges": [
            {
                "first": each.first.name,
                "last": each.last.name,
                "segments": each.count,
                "size": each.size,
                "start_lsn": str(each.start_lsn),
                "end_lsn": str(each.end_lsn),
                "first_archived_at": _time(each.first_archived_at),
                "last_archived_at": _time(each.last_archived_at),
            }
            for each in timeline.ranges
        ],
        "gaps": [
            {
                "first": gap.first.name,
                "last": gap.last.name,
                "segments": gap.count,
                "stored_twice": gap.stored_twice,
            }
            for gap in timeline.gaps
        ],
        "spans": [
            {
                "backups": list(span.backups),
                "first_at": _time(span.first_at),
                "last_at": _time(span.last_at),
                "first_lsn": str(span.first_lsn),
                "last_lsn": str(span.last_lsn),
            }
            for span in timeline.spans
        ],
    }


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None


def _text(value: object) -> str | None:
    return str(value) if value is not None else None
