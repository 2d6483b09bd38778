"""A reset and a clone out of an encrypted object store that the new data's own nodes do not know; and its secrets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from fleet import Fleet
from fleet.fleet import take_down
from fleet.layout import Place, Plan

PLACE = replace(Place.of_environment(), name="pgdolly-reset-s3")
PROJECT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
TARGETS = ("pg-test-1", "pg-test-2", "pg-test-3")
CLONE, CLONED = "pg-meta2", "pg-meta2-1"
# Those of the source's repository: the target's nodes have the store's keys of their own.
SECRETS = ("pgBackRest.pg-meta",)
# The clone's own roles', which the inventory gives: no other process of this machine knows them.
OWN = {
    "pg_dbsu_password": "The-Clones-Superuser",
    "pg_replication_password": "The-Clones-Replicator",
    "pgdolly_rewind_password": "The-Clones-Rewinder",
}
REFUSED = 3
WATCH_SECONDS = 0.02


@pytest.fixture(scope="module")
def fleet(pytestconfig: pytest.Config) -> Iterator[Fleet]:
    take_down(PLACE)
    try:
        plan = Plan(postgres=pytestconfig.getoption("--postgres"), repository="s3", extra=(CLONE,))
        yield Fleet.up(plan, place=PLACE)
    finally:
        take_down(PLACE)


@pytest.fixture(scope="module")
def rows(fleet: Fleet) -> str:
    """How many rows the source has; all of them are in the archive."""
    sql = "CREATE TABLE orders AS SELECT generate_series(1, 4321) n"
    assert psql(fleet, "pg-meta-1", sql) == "SELECT 4321"
    last = psql(fleet, "pg-meta-1", "SELECT pg_walfile_name(pg_switch_wal())")
    until = time.monotonic() + 30
    while psql(fleet, "pg-meta-1", "SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver") < last:
        assert time.monotonic() < until, f"waited 30 s for {last} to be in the archive"
        time.sleep(0.2)
    return "4321"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def psql(fleet: Fleet, node: str, sql: str) -> str:
    done = fleet.exec(node, "psql", "-XAtc", sql)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def controlled(
    fleet: Fleet, home: Path, *argv: str, status: int = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command where the controller is."""
    done = subprocess.run(
        (*fleet.controller_prefix, *argv),
        cwd=PROJECT,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "PGDOLLY_HOME": str(home),
            "PGDOLLY_INVENTORY": str(fleet.inventory),
            "LC_ALL": "C.UTF-8",
            **environment,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


class Watch(threading.Thread):
    """Looks at every process's arguments and environment, here and on the nodes, again and again."""

    def __init__(self, *more: str) -> None:
        super().__init__(daemon=True)
        self.words = [secret.encode() for secret in (*SECRETS, *more)]
        self.looks = 0
        self.seen: list[str] = []
        self._over = threading.Event()

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(WATCH_SECONDS):
            self.looks += 1
            for process in Path("/proc").glob("[0-9]*"):
                for file in ("cmdline", "environ"):
                    try:
                        text = (process / file).read_bytes()
                    except OSError:
                        continue
                    if any(word in text for word in self.words):
                        self.seen.append(f"{file} of {text[:200]!r}")


def holding_secrets(*directories: Path, more: tuple[str, ...] = ()) -> list[str]:
    """The files below that hold a secret."""
    words = [secret.encode() for secret in (*SECRETS, *more)]
    return [
        str(path)
        for directory in directories
        for path in directory.rglob("*")
        if path.is_file() and not path.is_symlink() and any(word in path.read_bytes() for word in words)
    ]


def test_a_reset_with_secrets_that_nobody_sees(fleet: Fleet, rows: str, home: Path) -> None:
    shown = controlled(fleet, home, "pgdolly", "reset", "pg-test", "--from", "pg-meta", "--check")
    assert "repo1-path=/pgbackrest/pg-meta" in shown.stdout and "repo1-cipher-pass=***" in shown.stdout

    with Watch() as watch:
        done = controlled(
            fleet, home, "pgdolly", "reset", "pg-test", "--from", "pg-meta", "--yes", "--output=json"
        )
    assert json.loads(done.stdout.splitlines()[-1])["state"] == "finished"
    assert {psql(fleet, node, "SELECT count(*) FROM orders") for node in TARGETS} == {rows}
    assert watch.looks > 20
    assert watch.seen == []
    for text in (shown.stdout, shown.stderr, done.stdout, done.stderr):
        assert not any(secret in text for secret in SECRETS)
    # /pg/data holds the source's data, which is nobody's log.
    pg = [fleet.nodes[node].pg / part for node in TARGETS for part in ("pgdolly", "log", "spool", "tmp")]
    assert holding_secrets(home, *pg) == []
    journals = [fleet.exec(node, "journalctl", "--no-pager", user="root").stdout for node in TARGETS]
    assert all(journals) and not any(secret in text for secret in SECRETS for text in journals)


def test_the_clean_up_goes_to_the_targets_own_place_in_the_store(fleet: Fleet, home: Path) -> None:
    controlled(fleet, home, "pgdolly", "cleanup", "pg-test", "--yes")
    controlled(fleet, home, "pgdolly", "check", "pg-test", "pg-meta")
    info = json.loads(fleet.exec("pg-test-1", "pgbackrest", "info", "--output=json").stdout)
    assert [stanza["name"] for stanza in info] == ["pg-test"]


def test_a_clone_with_secrets_that_nobody_sees(fleet: Fleet, rows: str, home: Path, tmp_path: Path) -> None:
    """It is made, promoted and dropped; every statement is logged meanwhile."""
    tree = yaml.safe_load(fleet.inventory.read_text())
    tree["all"]["children"][CLONE]["vars"].update(OWN)
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(yaml.safe_dump(tree))
    more = tuple(OWN.values())
    node = fleet.nodes[CLONED]
    psql(fleet, "pg-meta-1", "ALTER SYSTEM SET log_statement = 'all'")

    def pgdolly(*argv: str) -> subprocess.CompletedProcess[str]:
        return controlled(fleet, home, "pgdolly", *argv, PGDOLLY_INVENTORY=str(inventory))

    shown = pgdolly("clone", "pg-meta", CLONE, "--standby", "--check")
    assert "repo1-path=/pgbackrest/pg-meta " in shown.stdout and "repo1-cipher-pass=***" in shown.stdout
    with Watch(*more) as watch:
        made = pgdolly("clone", "pg-meta", CLONE, "--standby", "--via", "backup", "--yes", "--output=json")
        upstream = fleet.exec(
            CLONED, "stat", "-c", "%U %a", "/etc/pgbackrest/pgbackrest-upstream.conf"
        ).stdout
        promoted = pgdolly("promote", CLONE, "--yes")
    assert upstream == "postgres 600\n"
    assert psql(fleet, CLONED, "SELECT count(*) FROM orders") == rows
    stored = psql(fleet, CLONED, "SELECT count(*) FROM pg_authid WHERE rolpassword LIKE 'SCRAM-SHA-256%'")
    assert int(stored) >= len(OWN)
    role = {"PGPASSWORD": OWN["pg_replication_password"], "PGUSER": "replicator"}
    let_in = fleet.exec(
        CLONED,
        *("env", *(f"{name}={value}" for name, value in role.items())),
        *("psql", "-h", node.address, "-XAtc", "SELECT 1", "postgres"),
    )
    assert let_in.stdout == "1\n", let_in.stderr

    # Its own place in the store, with a passphrase of its own.
    pgdolly("check", CLONE, "pg-meta")
    info = json.loads(fleet.exec(CLONED, "pgbackrest", "info", "--output=json").stdout)
    assert [stanza["name"] for stanza in info] == [CLONE]
    configuration = fleet.exec(CLONED, "cat", "/etc/pgbackrest/pgbackrest.conf").stdout.splitlines()
    assert f"repo1-path=/pgbackrest/{CLONE}" in configuration
    assert f"repo1-cipher-pass=pgBackRest.{CLONE}" in configuration
    left = fleet.exec(CLONED, "ls", "/etc/pgbackrest").stdout.split()
    assert left == ["pgbackrest.conf"]

    with Watch(*more) as last:
        dropped = pgdolly("drop", CLONE, "--with-backups", "--yes")
    psql(fleet, "pg-meta-1", "ALTER SYSTEM RESET log_statement")
    assert watch.looks > 20 and last.looks > 5
    assert watch.seen == [] and last.seen == []
    for done in (shown, made, promoted, dropped):
        assert not any(secret in done.stdout + done.stderr for secret in (*SECRETS, *more))
    pg = [node.pg / part for part in ("log", "spool", "tmp")]
    assert holding_secrets(home, *pg, more=more) == []
    assert not (node.pg / "pgdolly").exists()
    journal = fleet.exec(CLONED, "journalctl", "--no-pager", user="root").stdout
    assert journal and not any(secret in journal for secret in (*SECRETS, *more))


def test_a_file_of_secrets_goes_when_its_run_is_given_up(fleet: Fleet, rows: str, home: Path) -> None:
    paused = controlled(
        fleet,
        home,
        *("pgdolly", "reset", "pg-test", "--from", "pg-meta", "--immediate", "--action=pause"),
        *("--yes", "--output=json"),
    )
    run = json.loads(paused.stdout.splitlines()[-1])["run"]
    files = [fleet.nodes[node].pg / "pgdolly" / "repository.conf" for node in TARGETS]
    for file in files:
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.stat().st_uid == (fleet.nodes[TARGETS[0]].pg / "data").stat().st_uid
    controlled(fleet, home, "pgdolly", "resume", run, "--abandon")
    assert not any(file.exists() for file in files)


def test_ansible_with_the_repositorys_secrets_in_a_vault(
    fleet: Fleet, rows: str, home: Path, tmp_path: Path
) -> None:
    """Stock ansible-playbook; the source's own nodes are not asked: what pg_pitr.repo describes counts."""
    password = tmp_path / "password"
    password.write_text("of the vault\n")
    inventory = tmp_path / "inventory"
    (inventory / "group_vars" / "all").mkdir(parents=True)
    tree = yaml.safe_load(fleet.inventory.read_text())
    repository = tree["all"]["vars"].pop("pgbackrest_repo")["minio"]
    (inventory / "pigsty.yml").write_text(yaml.safe_dump(tree))
    vault = inventory / "group_vars" / "all" / "vault.yml"
    vault.write_text(yaml.safe_dump({"store_of_backups": repository}))
    subprocess.run(
        (PROGRAMS / "ansible-vault", "encrypt", f"--vault-password-file={password}", vault),
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        check=True,
        capture_output=True,
    )
    assert b"pgBackRest" not in vault.read_bytes()
    request = '{"pg_pitr": {"cluster": "pg-meta", "repo": "{{ store_of_backups }}"}}'
    with Watch() as watch:
        done = controlled(
            fleet,
            home,
            *("./pgsql-pitr.yml", "-i", str(inventory), "-l", "pg-test", "-e", request),
            f"--vault-password-file={password}",
            ANSIBLE_HOME=str(tmp_path / "ansible"),
        )
    assert "changed=1" in done.stdout
    assert {psql(fleet, node, "SELECT count(*) FROM orders") for node in TARGETS} == {rows}
    assert watch.seen == []
    assert not any(secret in done.stdout + done.stderr for secret in SECRETS)
    assert holding_secrets(home) == []
