"""`pgdolly sandbox`: two clusters, a store and a repository of one's own on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pgdolly.sandbox.status import SandboxStatus


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def sandbox() -> None:
    """The four-node sandbox on this machine.

    pg-meta has one member and pg-test three, with real Patroni, PostgreSQL, etcd and pgBackRest on loopback
    addresses; empty nodes for further clusters can be added. Its inventory is
    $PGDOLLY_HOME/sandbox/pigsty.yml (~/.pgdolly by default).
    """


@sandbox.command()
@click.option("--network", metavar="A.B.C", help="First three octets of its addresses.  [default: 127.10.10]")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the servers' files go.  [default: /var/lib/pgdolly/sandbox for root, else in $PGDOLLY_HOME]",
)
@click.option(
    "--pg-version", type=int, metavar="MAJOR", help="PostgreSQL's major version.  [default: the newest]"
)
@click.option(
    "--with",
    "added",
    multiple=True,
    metavar="NAME[:MEMBERS]",
    help="Add empty nodes for a cluster that is yet to be made; may be repeated.  [default: 1 member]",
)
def up(network: str | None, directory: Path | None, pg_version: int | None, added: tuple[str, ...]) -> None:
    """Bring the sandbox up: make it, finish it or start it, whichever it needs."""
    from pgdolly.sandbox.build import bring_up

    with _interruptible():
        world = bring_up(click.echo, network=network, directory=directory, pg_version=pg_version, added=added)
    click.echo(f"inventory: {world.inventory}")
    click.echo("next:      pgdolly sandbox shell pg-test-1")


@sandbox.command()
@click.option("--purge", is_flag=True, help="Remove its data, its backups and its inventory as well.")
def down(purge: bool) -> None:
    """Stop every process of the sandbox. Its data stays unless --purge says otherwise."""
    from pgdolly.sandbox import record, status, teardown

    home = record.controller_home()
    if record.read_record(record.home_record(home)) is None:
        click.echo(f"there is no sandbox in {home}")
        return
    with _interruptible(), record.sole_builder(home):
        world = status.existing_world()
        teardown.take_down(world, click.echo)
        if purge:
            teardown.purge(world, click.echo)
    click.echo("the sandbox is gone" if purge else "the sandbox is down")


@sandbox.command()
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def status(output: str) -> int:
    """Show its programs and members; exit status 1 if anything is not up."""
    import json

    from pgdolly.sandbox.status import existing_world, look_at

    world = existing_world()
    seen = look_at(world)
    if output == "json":
        click.echo(json.dumps(as_document(seen, str(world.inventory)), indent=2))
    else:
        for line in as_table(seen):
            click.echo(line)
    return 0 if seen.is_up else 1


@sandbox.command()
@click.argument("node")
def shell(node: str) -> None:
    """Open a shell on NODE, in the current directory.

    It reads its commands from standard input if that is no terminal.
    """
    from pgdolly.sandbox.shell import open_shell
    from pgdolly.sandbox.status import existing_world

    world = existing_world()
    open_shell(world, world.node(node))


@sandbox.command(name="exec", context_settings={"ignore_unknown_options": True})
@click.argument("node")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(node: str, command: tuple[str, ...]) -> None:
    """Run one command on NODE and pass its exit status on.

    Write -- before the command if it has options of its own.
    """
    from pgdolly.sandbox.shell import run
    from pgdolly.sandbox.status import existing_world

    world = existing_world()
    run(world, world.node(node), command)


@contextmanager
def _interruptible() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        click.echo(
            "interrupted: what was started runs on; `pgdolly sandbox up` finishes it, `down` stops it",
            err=True,
        )
        raise SystemExit(130) from None


def as_document(seen: SandboxStatus, inventory: str) -> dict[str, Any]:
    """The JSON form of a sandbox's status."""
    from dataclasses import asdict

    return {"up": seen.is_up, "inventory": inventory, **asdict(seen)}


def as_table(seen: SandboxStatus) -> Iterator[str]:
    """The lines of a sandbox's status, for people."""
    yield f"{'program':<12}{'state':<10}{'pid':>8}  uptime"
    for program in seen.programs:
        uptime = f"{program.uptime_seconds} s" if program.pid else ""
        yield f"{program.name:<12}{program.state:<10}{program.pid or '':>8}  {uptime}".rstrip()
    for cluster, view in seen.clusters.items():
        yield ""
        yield f"{cluster:<12}{'role':<16}{'state':<12}{'timeline':>8}  lag"
        for member in view.members:
            timeline = member.timeline or ""
            lag = "" if member.lag_bytes is None else f"{member.lag_bytes} bytes"
            yield f"{member.name:<12}{member.role:<16}{member.state:<12}{timeline:>8}  {lag}".rstrip()
        for name in seen.empty.get(cluster, ()):
            yield f"{name:<12}{'-':<16}empty"
        if view.is_paused:
            yield "  paused"
        if cluster in seen.missing:
            yield f"  {seen.missing[cluster]}"
