"""`pb`, of the sandbox and of the fleet: what it hands to pgBackRest where the server is in recovery, and where not."""

from __future__ import annotations

import getpass
import os
import subprocess
from pathlib import Path

import pytest

from fleet import backup_files
from pgdolly.sandbox import render
from pgdolly.sandbox.layout import World

ASKED = "SELECT pg_is_in_recovery()"


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def of_the_sandbox(directory: Path) -> Path:
    world = World(
        home=directory,
        directory=directory,
        network="127.10.10",
        user=getpass.getuser(),
        user_home=str(directory),
        pg_version=15,
        pg_bin=directory,
        environment_bin=directory,
        pgbackrest=directory / "pgbackrest",
        etcd=directory / "etcd",
    )
    path = directory / "pb"
    path.write_text(render.wrappers(world, world.node("pg-test-1"))["pb"])
    path.chmod(0o755)
    return path


def of_the_fleet(directory: Path) -> Path:
    path = directory / "pb"
    path.write_text(backup_files.pb("pg-test"))
    path.chmod(0o755)
    return path


@pytest.fixture(params=[of_the_sandbox, of_the_fleet], ids=["sandbox", "fleet"])
def pb(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The wrapper, beside a pgBackRest that prints its arguments and ends with 56, and a psql that says `$ANSWER`."""
    made: Path = request.param(tmp_path)
    # The sandbox's gives the stanza through the environment; its calls are told apart by nothing else.
    script(tmp_path / "pgbackrest", 'echo "${PGBACKREST_STANZA:+--stanza=$PGBACKREST_STANZA }$*"; exit 56')
    return made


def run(pb: Path, answer: str, *argv: str) -> tuple[str, str]:
    """What pgBackRest was given, and what was said on standard error."""
    # A strict one: it answers this question only, and a silent server is one that does not run.
    script(
        pb.parent / "psql",
        f'case "$*" in *"{ASKED}"*) ;; *) echo "unexpected: $*" >&2; exit 9 ;; esac\n'
        + (f"echo {answer}" if answer else "echo 'psql: error: connection refused' >&2; exit 2"),
    )
    done = subprocess.run(
        (str(pb), *argv),
        env={"PATH": f"{pb.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 56, done
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize("command", ["stanza-create", "stanza-upgrade"])
def test_a_server_in_recovery_is_not_asked_by_pgbackrest(pb: Path, command: str) -> None:
    given, said = run(pb, "t", command)
    assert given == f"--stanza=pg-test --no-online {command}"
    assert "--no-online" in said


@pytest.mark.parametrize("answer", ["f", ""], ids=["a primary", "no server"])
def test_any_other_is(pb: Path, answer: str) -> None:
    assert run(pb, answer, "stanza-create") == ("--stanza=pg-test stanza-create", "")


@pytest.mark.parametrize(
    "argv",
    [
        ("stop", "--force"),
        ("info",),
        ("--no-online", "stanza-create"),
        ("--online", "stanza-create"),
        ("--pg1-path=/pg/other", "--no-online", "stanza-upgrade"),
    ],
    ids=" ".join,
)
def test_nothing_is_added_to_what_needs_no_primary_or_says_it_itself(pb: Path, argv: tuple[str, ...]) -> None:
    assert run(pb, "t", *argv) == (f"--stanza=pg-test {' '.join(argv)}", "")
