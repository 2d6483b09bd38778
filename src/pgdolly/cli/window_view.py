"""A recovery window on the screen, and as JSON."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import click

from pgdolly.cli.amounts import amount
from pgdolly.cli.window_picture import DRAWN, PLAIN, picture
from pgdolly.recovery.window import ArchiveWindow, BackupWindow, RecoveryWindow, TimelineWindow

_HEADINGS = ("backup", "type", "stopped at", "at LSN", "timeline", "size", "usable")


def print_window(cluster: str, window: RecoveryWindow) -> None:
    """Print it to standard output, as wide as the terminal."""
    drawn = sys.stdout.isatty() and (sys.stdout.encoding or "").lower().startswith("utf")
    width = shutil.get_terminal_size((100, 24)).columns
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
    if window.first_at is None or window.last_at is None:
        yield click.style("  no point in time can be restored now", fg="red")
        return
    yield f"  first recoverable moment   --time '{pasted(window.first_at)}'   (LSN {window.first_lsn})"
    yield f"  last recoverable moment    --time '{pasted(window.last_at)}'   (LSN {window.last_lsn})"
    yield "  (the last segment came then: the last transaction in it is that old, or somewhat older)"


def pasted(at: datetime) -> str:
    """A time as `--time` takes it."""
    return at.isoformat(sep=" ", timespec="seconds")


def _archive_lines(archive: ArchiveWindow, *, width: int, drawn: bool) -> Iterator[str]:
    system = archive.system
    state = "accepts WAL now" if archive.current else "a former system of this stanza"
    yield click.style(
        f"repo{archive.repo_key}, archive {system.archive_id}: system {system.system_identifier}, {state}",
        bold=True,
    )
    if archive.backups:
        yield from _table([_HEADINGS, *(_row(each) for each in archive.backups)])
    else:
        yield "  no backup"
    for timeline in archive.timelines:
        yield from _timeline_lines(timeline)
    drawing = list(picture(archive, width - 2, DRAWN if drawn else PLAIN))
    if drawing:
        yield ""
        yield from (f"  {line}" for line in drawing)


def _row(each: BackupWindow) -> tuple[str, ...]:
    backup = each.backup
    return (
        backup.label,
        backup.type,
        pasted(backup.stop_at),
        str(backup.stop_lsn),
        str(backup.timeline),
        amount(backup.database_size, "bytes"),
        "yes" if each.problem is None else f"no: {each.problem}",
    )


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(wide) for cell, wide in zip(row, widths, strict=True)).rstrip()


def _timeline_lines(timeline: TimelineWindow) -> Iterator[str]:
    fork = timeline.fork
    origin = f", forked from timeline {fork.parent} at {fork.at}" if fork is not None else ""
    yield f"  timeline {timeline.timeline}{origin}"
    for each in timeline.ranges:
        yield (
            f"    WAL {each.first.name} to {each.last.name} ({each.count} segments, {amount(each.size, 'bytes')} "
            f"stored), LSN {each.start_lsn} to {each.end_lsn}, archived until {pasted(each.last_archived_at)}"
        )
    for gap in timeline.gaps:
        yield click.style(f"    GAP: {gap} cannot be had on the way to this timeline", fg="red")


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
        "newest_timeline": archive.newest_timeline,
        "backups": [
            {
                "label": each.backup.label,
                "type": each.backup.type,
                "started_at": _time(each.backup.start_at),
                "stopped_at": _time(each.backup.stop_at),
                "start_lsn": str(each.backup.start_lsn),
                "stop_lsn": str(each.backup.stop_lsn),
                "timeline": each.backup.timeline,
                "size": each.backup.database_size,
                "usable": each.usable,
                "problem": each.problem,
                "leads_to": list(each.timelines),
            }
            for each in archive.backups
        ],
        "timelines": [_timeline(timeline) for timeline in archive.timelines],
    }


def _timeline(timeline: TimelineWindow) -> dict[str, Any]:
    fork = timeline.fork
    return {
        "timeline": timeline.timeline,
        "forked_from": fork.parent if fork else None,
        "forked_at": str(fork.at) if fork else None,
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
            {"first": gap.first.name, "last": gap.last.name, "segments": gap.count} for gap in timeline.gaps
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


def _time(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None


def _text(value: object) -> str | None:
    return str(value) if value is not None else None
