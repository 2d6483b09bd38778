"""Inventories as the real `ansible-inventory` reads them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pgdolly.domain.errors import CommandFailed, InvalidInput
from pgdolly.inventory.ansible import find_inventories, read_fleet
from pgdolly.inventory.fleet import Fleet

INVENTORIES = Path(__file__).parents[1] / "data" / "inventories"

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
    fleet = read_fleet([str(tmp_path / "hosts.yml")])
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
        read_fleet([str(broken)])
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
        find_inventories((), home)
    assert raised.value.next_command is not None and "pgdolly sandbox up" in raised.value.next_command
    (home / "sandbox" / "pigsty.yml").touch()
    assert find_inventories((), home) == (str(home / "sandbox" / "pigsty.yml"),)
    (here / "pigsty.yml").touch()
    assert find_inventories((), home) == ("pigsty.yml",)
    (here / "named.yml").touch()
    monkeypatch.setenv("PGDOLLY_INVENTORY", "named.yml")
    assert find_inventories((), home) == ("named.yml",)
    (here / "given.yml").touch()
    assert find_inventories(("given.yml",), home) == ("given.yml",)
    monkeypatch.setenv("PGDOLLY_INVENTORY", "missing.yml")
    with pytest.raises(InvalidInput, match=r"no inventory missing\.yml, which PGDOLLY_INVENTORY") as raised:
        find_inventories((), home)
    assert raised.value.next_command == "the same command with --inventory YOUR-INVENTORY"
    with pytest.raises(InvalidInput, match=r"there is no inventory mistyped\.yml$"):
        find_inventories(("given.yml", "mistyped.yml"), home)


# -- inventories in Pigsty's forms


def read(*names: str) -> Fleet:
    return read_fleet([str(INVENTORIES / name) for name in names])


def members(fleet: Fleet) -> dict[str, list[tuple[str, str, str]]]:
    return {
        name: [(m.name, m.role, m.node.address) for m in cluster.members]
        for name, cluster in fleet.clusters.items()
    }


def test_the_four_nodes_of_a_sandbox() -> None:
    fleet = read("four-nodes.yml")
    assert members(fleet) == {
        "pg-library": [("pg-library-1", "primary", "10.3.0.10")],
        "pg-staging": [
            ("pg-staging-1", "primary", "10.3.0.11"),
            ("pg-staging-2", "replica", "10.3.0.12"),
            ("pg-staging-3", "replica", "10.3.0.13"),
        ],
    }
    assert {cluster.version for cluster in fleet.clusters.values()} == {18}
    assert {str(m.bin_directory) for m in fleet.cluster("pg-staging").members} == {"/usr/pgsql/bin"}
    assert {m.node.connection for m in fleet.cluster("pg-staging").members} == {"ssh"}


def test_the_object_store_of_a_sandbox() -> None:
    """Every key is an option of the first repository, and the placeholders are filled in for each cluster."""
    repository = read("four-nodes.yml").cluster("pg-staging").repository
    assert repository is not None and repository.kind == "s3"
    assert dict(repository.revealed()) == {
        "repo1-type": "s3",
        "repo1-s3-endpoint": "store.fleet",
        "repo1-s3-region": "eu-1",
        "repo1-s3-bucket": "pgsql",
        "repo1-s3-key": "pgbackrest",
        "repo1-s3-key-secret": "Store.Writer",
        "repo1-s3-uri-style": "path",
        "repo1-path": "/pgbackrest",
        "repo1-storage-host": "10.3.0.10",
        "repo1-storage-port": "9000",
        "repo1-storage-verify-tls": "n",
        "repo1-storage-ca-file": "/etc/pki/ca.crt",
        "repo1-block": "y",
        "repo1-bundle": "y",
        "repo1-bundle-limit": "20MiB",
        "repo1-cipher-type": "aes-256-cbc",
        "repo1-cipher-pass": "pgBR.pg-staging",
        "repo1-retention-full-type": "time",
        "repo1-retention-full": "14",
    }
    assert repository.secret_names == {"repo1-s3-key", "repo1-s3-key-secret", "repo1-cipher-pass"}


def test_a_group_whose_hosts_name_their_clusters() -> None:
    fleet = read("shards.yml")
    assert members(fleet) == {
        "pg-atlas0": [("pg-atlas0-0", "primary", "10.4.0.10"), ("pg-atlas0-1", "replica", "10.4.0.11")],
        "pg-atlas1": [("pg-atlas1-1", "primary", "10.4.0.21"), ("pg-atlas1-2", "replica", "10.4.0.22")],
    }
    assert fleet.cluster("pg-atlas0").repository is None  # pgbackrest_enabled is off


def test_every_role_and_what_is_no_member() -> None:
    fleet = read("every-role.yml")
    assert members(fleet) == {
        "pg-main": [
            ("pg-main-1", "primary", "main-1.fleet"),
            ("pg-main-2", "replica", "10.5.0.12"),
            ("pg-main-3", "replica", "10.5.0.13"),
            ("pg-main-4", "offline", "10.5.0.14"),
            ("pg-main-5", "standby", "10.5.0.15"),
            ("pg-main-6", "delayed", "10.5.0.16"),
        ],
        "pg-mirror": [("pg-mirror-1", "primary", "10.5.0.21"), ("pg-mirror-2", "replica", "10.5.0.22")],
        "pg-plain": [("pg-plain-1", "replica", "10.5.0.31"), ("pg-plain-2", "replica", "10.5.0.32")],
    }
    # What a replica of pg-main streams from makes no standby cluster of it.
    assert {name: cluster.upstream for name, cluster in fleet.clusters.items()} == {
        "pg-main": None,
        "pg-mirror": "10.5.0.11",
        "pg-plain": None,
    }
    plain = fleet.cluster("pg-plain").member("pg-plain-2")
    assert (plain.port, plain.patroni_port, plain.dbsu) == (5433, 8009, "gpadmin")
    assert (str(plain.data_directory), plain.bin_directory) == ("/data/main", None)


def test_a_repository_that_is_a_template_matters_to_who_needs_it() -> None:
    fleet = read("every-role.yml")
    main = fleet.cluster("pg-main").repository
    assert main is not None and main.masked() == (("repo1-path", "/pg/backup"),)
    with pytest.raises(
        InvalidInput, match=r"repository of pg-mirror .* pgbackrest_repo\.offsite is a template"
    ) as raised:
        _ = fleet.cluster("pg-mirror").repository
    assert raised.value.next_command is not None and "./pgsql-pitr.yml" in raised.value.next_command


# -- what else `-i` may be


def test_several_inventories_are_one(tmp_path: Path) -> None:
    (tmp_path / "more.yml").write_text("all: {vars: {pg_version: 15}}\n")
    fleet = read_fleet([str(INVENTORIES / "four-nodes.yml"), str(tmp_path / "more.yml")])
    assert (fleet.cluster("pg-staging").version, len(fleet.clusters)) == (15, 2)
    assert fleet.sources == (str(INVENTORIES / "four-nodes.yml"), str(tmp_path / "more.yml"))


def test_a_directory_with_files_a_script_and_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "first.yml").write_text(
        "all: {children: {pg-one: {hosts: {10.6.0.1: {pg_seq: 1}}, vars: {pg_cluster: pg-one}}}}\n"
    )
    (tmp_path / "second").write_text(
        "[pg-two]\n10.6.0.2 pg_seq=1 pg_version=17\n[pg-two:vars]\npg_cluster=pg-two\n"
    )
    script = tmp_path / "third"
    answer = {
        "pg-three": {"hosts": ["10.6.0.3"], "vars": {"pg_cluster": "pg-three"}},
        "_meta": {"hostvars": {"10.6.0.3": {"pg_seq": 1}}},
    }
    script.write_text(f"#!/bin/sh\ncat <<'end'\n{json.dumps(answer)}\nend\n")
    script.chmod(0o755)
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text("pg_port: 5439\n")
    (tmp_path / "README.md").write_text("not an inventory\n")
    fleet = read_fleet([str(tmp_path)])
    assert {name: cluster.members[0].port for name, cluster in fleet.clusters.items()} == {
        "pg-one": 5439,
        "pg-two": 5439,
        "pg-three": 5439,
    }
    monkeypatch.chdir(tmp_path)
    assert read_fleet(["."]).sources == (str(tmp_path),)
    assert list(read_fleet(["third"]).clusters) == ["pg-three"]


def test_a_file_in_a_directory_that_is_no_inventory_is_not_passed_over(tmp_path: Path) -> None:
    """With it the hosts would be passed over that it was to bring, and a cluster would look smaller than it is."""
    (tmp_path / "pigsty.yml").write_text(INVENTORY)
    (tmp_path / "play.yml").write_text("- hosts: all\n")
    with pytest.raises(CommandFailed) as raised:
        read_fleet([str(tmp_path)])
    assert "play.yml" in raised.value.stderr_end
    assert raised.value.next_command is not None
    assert f"-i {tmp_path / 'pigsty.yml'}" in raised.value.next_command


# -- a host that belongs to two clusters


def test_a_host_in_the_groups_of_two_clusters_is_refused(tmp_path: Path) -> None:
    """Ansible gives it to the group whose name comes last, and the other cluster would lack a member."""
    twice = tmp_path / "twice.yml"
    twice.write_text(
        INVENTORY.replace("10.10.10.10: {pg_seq: 1", "10.10.10.12: , 10.10.10.10: {pg_seq: 1", 1)
    )
    with pytest.raises(InvalidInput) as raised:
        read_fleet([str(twice)])
    assert raised.value.what == (
        "host 10.10.10.12 is in the groups of clusters pg-meta and pg-test, and can be a member of one only: "
        "Ansible takes pg-test"
    )


# -- vaults


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An inventory with a file and two values in a vault; the password is beside it."""
    monkeypatch.delenv("ANSIBLE_VAULT_PASSWORD_FILE", raising=False)
    password = tmp_path / "password"
    password.write_text("open sesame\n")
    inventory = tmp_path / "inventory"
    (inventory / "group_vars" / "all").mkdir(parents=True)
    variables = inventory / "group_vars" / "all"
    (inventory / "hosts.yml").write_text(INVENTORY)
    port, secret = (
        ansible_vault("encrypt_string", f"--vault-password-file={password}", text)
        for text in ("5436", "pass.${pg_cluster}")
    )
    (variables / "port.yml").write_text(f"pg_port: {port}")
    indented = secret.replace("\n          ", "\n      ")
    (variables / "repository.yml").write_text(
        f"pgbackrest_repo:\n  local:\n    path: /pg/backup\n    cipher_pass: {indented}"
    )
    (variables / "data.yml").write_text("pg_data: /in/a/vault\n")
    ansible_vault("encrypt", f"--vault-password-file={password}", str(variables / "data.yml"))
    return inventory


def ansible_vault(*argv: str) -> str:
    return subprocess.run(
        (Path(sys.executable).parent / "ansible-vault", *argv),
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_files_and_single_values_in_a_vault(vault: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(vault.parent / "password"))
    cluster = read_fleet([str(vault)]).cluster("pg-meta")
    assert (cluster.members[0].port, str(cluster.members[0].data_directory)) == (5436, "/in/a/vault")
    assert cluster.repository is not None
    assert dict(cluster.repository.revealed())["repo1-cipher-pass"] == "pass.pg-meta"
    assert "pass.pg-meta" not in repr(cluster)


def test_a_vault_without_its_password_is_ansibles_error(vault: Path) -> None:
    with pytest.raises(CommandFailed) as raised:
        read_fleet([str(vault)])
    assert "no vault secrets found" in raised.value.stderr_end
    assert "ANSIBLE_VAULT_PASSWORD_FILE" in (raised.value.next_command or "")


def test_a_value_in_a_vault_without_its_password(vault: Path) -> None:
    (vault / "group_vars" / "all" / "data.yml").unlink()
    with pytest.raises(CommandFailed) as raised:
        read_fleet([str(vault)])
    assert (raised.value.where, raised.value.stderr_end) == (
        "inventory, pg_port",
        "no vault password is known",
    )


def test_a_secret_of_the_repository_without_its_password_matters_to_who_needs_it(vault: Path) -> None:
    for name in ("data.yml", "port.yml"):
        (vault / "group_vars" / "all" / name).unlink()
    cluster = read_fleet([str(vault)]).cluster("pg-meta")
    assert cluster.members[0].port == 5432
    with pytest.raises(InvalidInput, match=r"local\.cipher_pass: it cannot be decrypted: no vault password"):
        _ = cluster.repository


def test_the_wrong_password(vault: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (vault / "group_vars" / "all" / "data.yml").unlink()
    (vault.parent / "password").write_text("open barley\n")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(vault.parent / "password"))
    with pytest.raises(CommandFailed) as raised:
        read_fleet([str(vault)])
    assert "Decryption failed" in raised.value.stderr_end
