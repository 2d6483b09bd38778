"""The fleet is what tests take it for: reached by ssh, streaming, closed to strangers, switched off and on, gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fleet import Fleet, FleetError, disk, host, network, processes
from fleet.fleet import take_down
from fleet.layout import (
    DBSU,
    REPLICATION_PASSWORD,
    REPLICATION_USER,
    REST_PASSWORD,
    REST_USER,
    SUPERUSER_PASSWORD,
    Place,
    Plan,
)

# A fleet of its own beside whichever stands; the base is everybody's.
PLACE = replace(Place.of_environment(), name="pgdolly-stands")
SSH_SECONDS = 20.0
ANSIBLE = str(Path(sys.executable).with_name("ansible"))


@pytest.fixture(scope="module")
def fleet(pytestconfig: pytest.Config) -> Iterator[Fleet]:
    take_down(PLACE)
    try:
        yield Fleet.up(Plan(postgres=pytestconfig.getoption("--postgres")), place=PLACE)
    finally:
        take_down(PLACE)


def as_controller(fleet: Fleet, *argv: str, seconds: float = SSH_SECONDS) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*fleet.controller_prefix, *argv], capture_output=True, text=True, timeout=seconds, check=False
    )


def ssh(
    fleet: Fleet, node: str, *words: str, options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    patience = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=5")
    return as_controller(fleet, "ssh", "-F", str(fleet.ssh_config), *patience, *options, node, *words)


def sql(fleet: Fleet, node: str, statement: str) -> str:
    done = fleet.exec(node, "psql", "-AXtqc", statement, "postgres")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_administrator_becomes_root_and_postgres_on_every_node(fleet: Fleet) -> None:
    for node in fleet.nodes:
        done = ssh(fleet, node, "hostname; id -un; sudo -n id -un; sudo -n -u postgres id -un")
        assert done.stdout.split() == [node, "admin", "root", "postgres"], done.stderr


def test_a_host_that_has_another_key_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    known = (fleet.place.controller / "known_hosts").read_text().splitlines()
    keys = [line.split(maxsplit=1)[1] for line in known]
    wrong = tmp_path / "known_hosts"
    wrong.write_text(
        "".join(f"{line.split()[0]} {key}\n" for line, key in zip(known, keys[1:] + keys, strict=False))
    )
    done = ssh(fleet, "pg-test-1", "true", options=("-o", f"UserKnownHostsFile={wrong}"))
    assert done.returncode == 255 and "Host key verification failed" in done.stderr


def test_ansible_reads_the_inventory_and_reaches_all_nodes(fleet: Fleet) -> None:
    done = as_controller(
        fleet, ANSIBLE, "-i", str(fleet.inventory), "all", "-m", "ansible.builtin.ping", seconds=120
    )
    assert done.stdout.count("SUCCESS") == len(fleet.nodes), done.stdout + done.stderr
    assert "pgdolly_" not in fleet.inventory.read_text()


def test_this_machine_grants_inotify_to_many_nodes_more(fleet: Fleet) -> None:
    """systemd's units that watch a path fail on the node that boots when the last of root's instances are taken."""
    assert int(host.INOTIFY_LIMIT.read_text()) >= host.INOTIFY_INSTANCES


def test_the_replicas_stream(fleet: Fleet) -> None:
    fleet.wait_until_whole("pg-test")
    sql(fleet, "pg-test-1", "CREATE TABLE streamed AS SELECT 42 AS answer")
    end = sql(fleet, "pg-test-1", "SELECT pg_current_wal_lsn()")
    for replica in ("pg-test-2", "pg-test-3"):
        assert sql(fleet, replica, "SELECT pg_is_in_recovery()") == "t"
        fleet.exec(replica, "timeout", "20", "sh", "-c", _UNTIL_REPLAYED, stdin=end)
        assert sql(fleet, replica, "SELECT answer FROM streamed") == "42"


_UNTIL_REPLAYED = """
read end
until psql -AXtqc "SELECT pg_last_wal_replay_lsn() >= '$end'" | grep -q t; do sleep 0.1; done
"""


def test_each_cluster_has_a_stanza_a_backup_and_an_archive(fleet: Fleet) -> None:
    for node, cluster in (("pg-meta-1", "pg-meta"), ("pg-test-1", "pg-test")):
        assert (fleet.repository(cluster) / "backup" / cluster / "latest").is_symlink()
        checked = fleet.exec(node, "bash", "-lc", "pb check && pg-backup incr && pb info")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert "incr backup:" in checked.stdout
    refused = fleet.exec("pg-test-2", "pg-backup", "full")
    assert refused.returncode == 1 and "not the primary" in refused.stderr


def test_postgres_lets_nobody_in_over_the_network_without_a_password(fleet: Fleet) -> None:
    target = f"host={fleet.nodes['pg-test-1'].address} dbname=postgres user={DBSU}"
    psql = ("psql", "-wAXtqc", "SELECT 42")
    refused = fleet.exec("pg-test-2", *psql, target)
    assert refused.returncode == 2 and "no password supplied" in refused.stderr
    accepted = fleet.exec("pg-test-2", *psql, f"{target} password={SUPERUSER_PASSWORD}")
    assert accepted.stdout.strip() == "42", accepted.stderr
    scram = sql(
        fleet, "pg-test-1", "SELECT bool_and(rolpassword ~ '^SCRAM-SHA-256') FROM pg_authid WHERE rolcanlogin"
    )
    assert scram == "t"
    replication = f"host={fleet.nodes['pg-test-1'].address} user={REPLICATION_USER} replication=true"
    identified = fleet.exec(
        "pg-test-2", "psql", "-wAXtqc", "IDENTIFY_SYSTEM", f"{replication} password={REPLICATION_PASSWORD}"
    )
    assert identified.returncode == 0, identified.stderr


def test_etcd_answers_only_those_it_knows(fleet: Fleet) -> None:
    asked = ("env", "ETCDCTL_API=3", "etcdctl", "--endpoints=http://10.10.10.10:2379")
    anonymous = fleet.exec("pg-test-1", *asked, "get", "--prefix", "/pg/")
    assert anonymous.returncode != 0 and "user name is empty" in anonymous.stderr
    known = fleet.exec("pg-test-1", *asked, "--user=patroni:Etcd.Patroni", "get", "/pg/pg-test/leader")
    assert known.stdout.split() == ["/pg/pg-test/leader", "pg-test-1"]
    beyond = fleet.exec("pg-test-1", *asked, "--user=patroni:Etcd.Patroni", "get", "/elsewhere")
    assert "permission denied" in beyond.stderr


def test_patroni_takes_orders_only_with_a_password(fleet: Fleet) -> None:
    url = f"http://{fleet.nodes['pg-test-2'].address}:8008/reload"
    asked = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", "POST")
    assert fleet.exec("pg-test-1", *asked, url).stdout == "401"
    assert fleet.exec("pg-test-1", *asked, "-u", f"{REST_USER}:{REST_PASSWORD}", url).stdout in ("200", "202")


def test_data_lies_on_no_overlay(fleet: Fleet) -> None:
    for node in fleet.nodes:
        shown = fleet.exec(node, "stat", "-f", "-c", "%T", "/pg/data", "/pg/backup", "/").stdout.split()
        assert "overlayfs" not in shown[:2] and shown[2] == "overlayfs"


def test_a_member_whose_plug_was_pulled_comes_back_on_its_disks(fleet: Fleet) -> None:
    fleet.wait_until_whole("pg-test")
    before = sql(fleet, "pg-test-3", "SELECT system_identifier FROM pg_control_system()")
    fleet.power_off("pg-test-3")
    assert fleet.nodes["pg-test-3"].pid is None
    with pytest.raises(FleetError, match="pg-test-3 is off"):
        fleet.exec("pg-test-3", "true")
    assert ssh(fleet, "pg-test-3", "true").returncode == 255
    assert ssh(fleet, "pg-test-2", "true").returncode == 0
    assert "pg-test-3 is off" in fleet.ills()
    assert (fleet.nodes["pg-test-3"].pg / "data/postmaster.pid").exists()  # nothing was shut down

    fleet.boot("pg-test-3")
    fleet.wait_until_whole("pg-test")
    assert sql(fleet, "pg-test-3", "SELECT system_identifier FROM pg_control_system()") == before
    assert ssh(fleet, "pg-test-3", "true").returncode == 0


def test_a_cut_controller_reaches_nobody_and_the_nodes_do_not_notice(fleet: Fleet) -> None:
    fleet.cut()
    try:
        assert ssh(fleet, "pg-test-1", "true").returncode == 255
        answer = fleet.exec("pg-test-1", "curl", "-sf", "http://10.10.10.12:8008/replica")
        assert answer.returncode == 0
        assert "the controller's network is cut" in fleet.ills()
    finally:
        fleet.mend()
    assert ssh(fleet, "pg-test-1", "true").returncode == 0


def test_up_again_takes_what_stands_and_refuses_another_plan(fleet: Fleet) -> None:
    fleet.wait_until_whole("pg-test")
    pids = {name: node.pid for name, node in fleet.nodes.items()}
    said: list[str] = []
    again = Fleet.up(fleet.plan, place=PLACE, say=said.append)
    assert {name: node.pid for name, node in again.nodes.items()} == pids
    assert any("stands already" in line for line in said)
    with pytest.raises(FleetError, match=r"another one.*Type: tests/fleet/fleet down"):
        Fleet.up(Plan(extra=("pg-meta2",)), place=PLACE)


def test_down_leaves_nothing(fleet: Fleet) -> None:
    """The last one. Something of a controller that was killed runs still."""
    left = subprocess.Popen([*fleet.controller_prefix, "sleep", "1000"])
    fleet.down()
    assert left.wait(timeout=5) != 0
    assert processes.members(PLACE.name) == []
    assert not any(group.exists() for group in processes.group(PLACE.name))
    assert disk.mounted_below(PLACE.home) == [] and not PLACE.home.exists()
    assert list(network.NAMESPACES.glob(f"{PLACE.name}-*")) == []
    assert list(Path("/run/systemd/nspawn").rglob(f"{PLACE.name}-*")) == []
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [line for line in running if os.fsencode(PLACE.home) in line]
    with pytest.raises(FleetError, match="Type: tests/fleet/fleet up"):
        Fleet.open(PLACE)
