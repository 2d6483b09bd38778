"""The fleet whose backups lie in an object store: encrypted, and each cluster's closed to the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from fleet import Fleet, FleetError, processes
from fleet.fleet import take_down
from fleet.layout import Place, Plan

PLACE = replace(Place.of_environment(), name="pgdolly-s3")


@pytest.fixture(scope="module")
def fleet(pytestconfig: pytest.Config) -> Iterator[Fleet]:
    take_down(PLACE)
    try:
        postgres = pytestconfig.getoption("--postgres")
        yield Fleet.up(Plan(postgres=postgres, repository="s3", extra=("pg-meta2",)), place=PLACE)
    finally:
        take_down(PLACE)


def run(fleet: Fleet, node: str, script: str, status: int = 0) -> str:
    done = fleet.exec(node, "bash", "-lc", script)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_backups_and_wal_are_in_the_store_and_encrypted(fleet: Fleet) -> None:
    stored = fleet.place.objects / "buckets/pgsql/pgbackrest"
    for node, cluster in (("pg-meta-1", "pg-meta"), ("pg-test-1", "pg-test")):
        run(fleet, node, "pb check")
        assert "cipher: aes-256-cbc" in run(fleet, node, "pb info")
        info = stored / cluster / "backup" / cluster / "backup.info._S3rver_object"
        assert info.exists() and b"[backrest]" not in info.read_bytes()
        assert any((stored / cluster / "archive" / cluster).rglob("*.zst*"))
    assert list(fleet.place.repository.iterdir()) == []
    with pytest.raises(FleetError, match="is no directory"):
        fleet.repository("pg-test")


def test_a_backup_is_restored(fleet: Fleet) -> None:
    # Where a server runs, its spool is its own: the restore's would be cleared under it.
    elsewhere = "--pg1-path=/pg/tmp/restored --spool-path=/pg/tmp/spool --lock-path=/pg/tmp/lock"
    run(fleet, "pg-test-1", f"mkdir /pg/tmp/restored /pg/tmp/spool && pb {elsewhere} --no-delta restore")
    shown = run(fleet, "pg-test-1", "pg_controldata /pg/tmp/restored; pg_controldata /pg/data")
    identifiers = {line for line in shown.splitlines() if line.startswith("Database system identifier")}
    assert len(identifiers) == 1
    run(fleet, "pg-test-1", "rm -r /pg/tmp/restored /pg/tmp/spool")


def test_a_cluster_cannot_read_anothers_backups(fleet: Fleet) -> None:
    assert "missing stanza path" in run(fleet, "pg-test-1", "pgbackrest --stanza=pg-meta info")
    other = "pgbackrest --stanza=pg-meta --repo1-path=/pgbackrest/pg-meta info"
    assert "unable to load info file" in run(fleet, "pg-test-1", other)  # another pass phrase
    with_its_secret = f"PGBACKREST_REPO1_CIPHER_PASS=pgBackRest.pg-meta {other}"
    assert "full backup:" in run(fleet, "pg-test-1", with_its_secret)


def test_the_store_outlives_a_cut_controller_and_a_dead_node(fleet: Fleet) -> None:
    fleet.cut()
    fleet.power_off("pg-meta2-1")
    try:
        run(fleet, "pg-test-1", "pb check")
    finally:
        fleet.mend()
        fleet.boot("pg-meta2-1")


def test_the_empty_node_is_prepared_and_has_no_cluster(fleet: Fleet) -> None:
    run(
        fleet,
        "pg-meta2-1",
        "set -e; pgbackrest version; patroni --version; initdb --version; command -v pb pg-backup;"
        "for each in /pg /pg/spool /pg/log/postgres /pg/log/pgbackrest /etc/pgbackrest; do test -O $each; done;"
        "for each in /pg/data /etc/patroni/patroni.yml /etc/pgbackrest/pgbackrest.conf /etc/pgbackrest.conf"
        " /etc/systemd/system/patroni.service; do test ! -e $each; done;"
        "test $(systemctl is-enabled patroni) = disabled",
    )
    assert "pg-meta2:" in fleet.inventory.read_text()
    assert "pg-meta2" not in fleet.plan.clusters


def test_down_ends_the_store(fleet: Fleet) -> None:
    fleet.down()
    assert processes.members(PLACE.name) == [] and not PLACE.home.exists()
