"""`pgdolly check`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from pgdolly.cli.common import inventory_option, load_fleet, output_option, run_to_end

if TYPE_CHECKING:
    from pgdolly.operations.check.finding import CheckReport, Finding

EXIT_STATUS_WRONG = 8


@click.command()
@click.argument("clusters", nargs=-1, metavar="[CLUSTER]...")
@output_option
@inventory_option
def check(clusters: tuple[str, ...], output: str, inventory: tuple[str, ...]) -> int:
    """Say whether the backups of CLUSTER work, and name the command that cures what does not.

    Without a cluster, of all in the inventory. It only reads: nothing is switched, pushed or backed up.

    Exit status 0 if backups and archiving work (there may be warnings), 8 if something is wrong. A standby cluster
    has no backups before it is promoted: nothing is wrong with that.
    """
    from pgdolly.operations.check.diagnose import diagnose
    from pgdolly.operations.check.observe import observe

    fleet = load_fleet(inventory)
    names = tuple(dict.fromkeys(clusters)) or tuple(sorted(fleet.clusters))
    reports = [diagnose(facts) for facts in run_to_end(observe(fleet, names))]
    works = all(report.works for report in reports)
    if output == "json":
        click.echo(
            json.dumps({"works": works, "clusters": [as_document(each) for each in reports]}, indent=2)
        )
    else:
        for number, report in enumerate(reports):
            for line in report_lines(report, apart=number > 0):
                click.echo(line)
    return 0 if works else EXIT_STATUS_WRONG


def as_document(report: CheckReport) -> dict[str, Any]:
    """The JSON form of a report."""
    return {"works": report.works, **dataclasses.asdict(report)}


def report_lines(report: CheckReport, *, apart: bool = False) -> Iterator[str]:
    """The lines of a report, for people."""
    if apart:
        yield ""
    works, colour = _verdict(report)
    yield click.style(f"{report.cluster}: {works}", fg=colour, bold=True) + f" (stanza {report.stanza})"
    for line in report.seen:
        yield f"  {line}"
    for finding in report.findings:
        yield from _finding_lines(finding)


def _verdict(report: CheckReport) -> tuple[str, str]:
    if report.standby_of is not None:
        standby = f"a standby cluster of {report.standby_of}, without backups of its own"
        return (standby, "green") if report.works else (f"{standby}, and something is WRONG", "red")
    return ("backups work", "green") if report.works else ("backups do NOT work", "red")


def _finding_lines(finding: Finding) -> Iterator[str]:
    colour = "red" if finding.severity == "error" else "yellow"
    yield click.style(f"  {finding.severity} {finding.code}", fg=colour) + f": {', '.join(finding.where)}"
    yield f"    {finding.what}"
    for number, cure in enumerate(finding.cures):
        word = "then:" if number else "cure:"
        yield f"    {word} {cure.command}" + (f"   # on {cure.on}" if cure.on else "")
