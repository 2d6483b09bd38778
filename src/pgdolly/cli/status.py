"""`pgdolly status`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from pgdolly.cli.amounts import amount, duration
from pgdolly.cli.common import inventory_option, load_fleet, output_option, run_to_end

if TYPE_CHECKING:
    from pgdolly.operations.following import Following
    from pgdolly.operations.status import ClusterStatus, MemberStatus

_HEADINGS = ("member", "role", "state", "timeline", "lag", "archive", "last archived", "version")


@click.command()
@click.argument("clusters", nargs=-1, metavar="[CLUSTER]...")
@output_option
@inventory_option
def status(clusters: tuple[str, ...], output: str, inventory: tuple[str, ...]) -> None:
    """Show members, roles, timelines, lag and archiving of CLUSTER, or of all clusters in the inventory."""
    from pgdolly.operations.status import observe_status

    fleet = load_fleet(inventory)
    names = tuple(dict.fromkeys(clusters)) or tuple(sorted(fleet.clusters))
    found = run_to_end(observe_status(fleet, names))
    if output == "json":
        document = {"clusters": [dataclasses.asdict(each) for each in found]}
        click.echo(json.dumps(document, indent=2, default=datetime.isoformat))
        return
    now = datetime.now(UTC)
    for number, each in enumerate(found):
        for line in status_lines(each, now, apart=number > 0):
            click.echo(line)


def status_lines(found: ClusterStatus, now: datetime, *, apart: bool = False) -> Iterator[str]:
    """A table of a cluster's members, and below it what has no column."""
    if apart:
        yield ""
    stanza = f" (stanza {found.stanza})" if found.stanza else ""
    yield click.style(found.cluster, bold=True) + stanza
    if found.standby is not None:
        yield from _standby_lines(found.standby)
    rows = [_HEADINGS, *(_row(member, now) for member in found.members)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    for member in found.members:
        if member.pending_restart:
            yield f"  {member.name}: a restart is pending"
        if member.problem is not None:
            yield click.style(f"  {member.name}: {member.problem}", fg="red")
    for remark in found.remarks:
        yield click.style(f"  {remark}", fg="yellow")


def _standby_lines(found: Following) -> Iterator[str]:
    """What it follows and how far it is behind: a line or two."""
    address = found.host if found.port is None else f"{found.host}:{found.port}"
    if found.member is not None:
        address = f"{found.member} ({address})"
    of = f" of {found.source}" if found.source is not None else ""
    if found.host is None:
        yield f"  standby cluster{of}, out of an archive{_behind(found)}"
    elif found.streaming:
        slot = f", slot {found.slot}" if found.slot else ""
        yield f"  standby cluster{of}, streams from {address}{slot}{_behind(found)}"
    else:
        what = f"  standby cluster{of}, does NOT stream from {address} now{_behind(found)}"
        yield click.style(what, fg="red")
    delay = duration(found.delay_seconds) if found.delay_seconds else found.delay
    if delay:
        yield f"  commits are held back for {delay} (recovery_min_apply_delay)"


def _behind(found: Following) -> str:
    if found.lag_bytes is not None:
        seconds = f", {duration(found.lag_seconds)}" if found.lag_seconds is not None else ""
        return f"; lag {amount(found.lag_bytes, 'bytes')}{seconds}"
    if found.replayed_lsn is None:
        return "; lag unknown, its leader does not answer"
    waits = (
        f", {amount(found.waiting_bytes, 'bytes')} received and not replayed" if found.waiting_bytes else ""
    )
    return f"; lag unknown, replayed to {found.replayed_lsn}{waits}"


def _row(member: MemberStatus, now: datetime) -> tuple[str, ...]:
    return (
        member.name,
        member.role or "-",
        member.state,
        str(member.timeline or "-"),
        amount(member.lag_bytes, "bytes") if member.lag_bytes is not None else "-",
        (member.archive_mode or "-") + (" FAILING" if member.archiver_failing else ""),
        _last_archived(member, now),
        member.postgres_version or "-",
    )


def _last_archived(member: MemberStatus, now: datetime) -> str:
    if member.last_archived is None or member.last_archived_at is None:
        return "-"
    # The node's clock may be ahead of this one.
    seconds = max(0.0, (now - member.last_archived_at).total_seconds())
    return f"{member.last_archived}, {duration(seconds)} ago"
