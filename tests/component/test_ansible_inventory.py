"""Inventories as the real `ansible-inventory` reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgdolly.domain.errors import CommandFailed, InvalidInput
from pgdolly.inventory.ansible import find_inventory, read_fleet

INVENTORY = """\
all:
  vars:
    pg_version: 18
    pg_port: 5432
  children:
    pg-meta:
      hosts: {10.10.10.10: {pg_seq: 1, pg_role: primary}}
      vars: {pg_cluster: pg-meta}
    pg-test:
      hosts:
        10.10.10.11: {pg_seq: 1, pg_role: primary}
        10.10.10.12: {pg_seq: 2, pg_port: 5433}
      vars: {pg_cluster: pg-test}
    staging:  # the same hosts once more
      hosts: {10.10.10.11: , 10.10.10.12: }
    etcd:
      hosts: {10.10.10.10: {etcd_seq: 1}, 10.10.10.20: {etcd_seq: 2}}
"""


def test_group_variables_groups_that_overlap_and_group_vars_files(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text(INVENTORY)
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "staging.yml").write_text("pg_data: /staging/data\npg_dbsu: dba\n")
    fleet = read_fleet(str(tmp_path / "hosts.yml"))
    assert {
        name: [(m.name, m.node.address, m.port, str(m.data_directory), m.dbsu) for m in cluster.members]
        for name, cluster in fleet.clusters.items()
    } == {
        "pg-meta": [("pg-meta-1", "10.10.10.10", 5432, "/pg/data", "postgres")],
        "pg-test": [
            ("pg-test-1", "10.10.10.11", 5432, "/staging/data", "dba"),
            ("pg-test-2", "10.10.10.12", 5433, "/staging/data", "dba"),
        ],
    }
    assert {cluster.version for cluster in fleet.clusters.values()} == {18}
    assert fleet.origin == str(tmp_path / "hosts.yml")


def test_what_ansible_cannot_read_is_an_error_in_its_own_words(tmp_path: Path) -> None:
    """Ansible itself takes it for an inventory without hosts, warns, and exits with 0."""
    broken = tmp_path / "broken.yml"
    broken.write_text("all:\n  children: [pg-test, {\n")
    with pytest.raises(CommandFailed) as raised:
        read_fleet(str(broken))
    assert raised.value.where == str(broken)
    assert raised.value.untouched == "nothing was changed"
    assert "YAML parsing failed" in raised.value.stderr_end
    assert "broken.yml" in raised.value.stderr_end


def test_an_inventory_is_found_by_argument_environment_directory_and_sandbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    (home / "sandbox").mkdir(parents=True)
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.delenv("PGDOLLY_INVENTORY", raising=False)
    with pytest.raises(InvalidInput, match="no inventory") as raised:
        find_inventory(None, home)
    assert raised.value.next_command is not None and "pgdolly sandbox up" in raised.value.next_command
    (home / "sandbox" / "pigsty.yml").touch()
    assert find_inventory(None, home) == str(home / "sandbox" / "pigsty.yml")
    (here / "pigsty.yml").touch()
    assert find_inventory(None, home) == "pigsty.yml"
    (here / "named.yml").touch()
    monkeypatch.setenv("PGDOLLY_INVENTORY", "named.yml")
    assert find_inventory(None, home) == "named.yml"
    (here / "given.yml").touch()
    assert find_inventory("given.yml", home) == "given.yml"
    monkeypatch.setenv("PGDOLLY_INVENTORY", "missing.yml")
    with pytest.raises(InvalidInput, match=r"there is no inventory missing\.yml"):
        find_inventory(None, home)
