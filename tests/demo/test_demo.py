"""`./demo`, the first thing that a newcomer runs: every claim of it holds, also where a sandbox stands already."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from home import locked_home

PROJECT = Path(__file__).parents[2]
PGDOLLY = Path(sys.executable).parent / "pgdolly"
NETWORK = "127.10.19"
DEMO_SECONDS, COMMAND_SECONDS = 900, 400


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """A home for pgdolly with a sandbox in it, which has been in use; both are gone in the end, whatever comes."""
    with locked_home("demo") as home:
        variables = {**os.environ, "PGDOLLY_HOME": str(home)}
        try:
            pgdolly(variables, "sandbox", "down", "--purge")  # what a killed session has left
            pgdolly(variables, "sandbox", "up", "--network", NETWORK)
            pgdolly(variables, "sandbox", "exec", "pg-meta-1", "--", "psql", "-c", "CREATE TABLE orders ()")
            yield variables
        finally:
            pgdolly(variables, "sandbox", "down", "--purge")
            shutil.rmtree(home)


def pgdolly(variables: dict[str, str], *words: str) -> str:
    return run(variables, PGDOLLY, *words, seconds=COMMAND_SECONDS)


def run(variables: dict[str, str], *argv: str | Path, seconds: float) -> str:
    """What a command that went well has printed."""
    done = subprocess.run(
        argv,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"{argv}: {done.stdout}"
    return done.stdout


def test_every_claim_holds(environment: dict[str, str]) -> None:
    # Whoever runs it may have named the inventory of a fleet, with a pg-test of its own: that is none of the demo's.
    named = {**environment, "PGDOLLY_INVENTORY": "/nowhere/pigsty.yml"}
    said = run(named, PROJECT / "demo", "--network", NETWORK, seconds=DEMO_SECONDS)
    assert "It is made anew" in said
    [orders] = re.findall(r"^✓ at .* there were (\d+) orders$", said, re.MULTILINE)
    assert int(orders) >= 500
    for member in ("pg-test-1", "pg-test-2", "pg-test-3"):
        assert f"✓ orders on {member}: {orders}\n" in said
        rows = pgdolly(environment, "sandbox", "exec", member, "--", "psql", "-XAtqc", "TABLE orders")
        assert len(rows.splitlines()) == int(orders) + 1  # the first of a new life
    assert said.count("✓ their checksum: ") == 3
    assert said.count("✓ tables made after the drop: 0\n") == 3
    assert "✓ the backup is refused: [051]" in said
    assert "Every claim held" in said
    pgdolly(environment, "check", "pg-test")
