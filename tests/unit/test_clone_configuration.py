"""What a new member's configuration is made of: a template's, and nothing of the template's own is left in it."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import PurePosixPath
from typing import Any

import pytest
import yaml

from pgdolly.domain.cluster import Member, Node
from pgdolly.domain.repository import settings_from
from pgdolly.drivers.configuration import MemberConfiguration
from pgdolly.operations.clone import pgbackrest_conf
from pgdolly.operations.clone.naming import Naming
from pgdolly.operations.clone.patroni_yml import (
    archive_command_of,
    derive_patroni,
    directories,
    named_files,
    patroni_text,
)


def member(cluster: str, sequence: int, address: str, **more: Any) -> Member:
    name = f"{cluster}-{sequence}"
    return Member(
        name=name,
        cluster=cluster,
        sequence=sequence,
        role="primary" if sequence == 1 else "replica",
        node=Node(name=name, address=address),
        **more,
    )


OLD = member("pg-meta", 1, "10.10.10.10")
NEW = member("pg-meta2", 1, "10.10.10.14")
SECOND = member("pg-meta2", 2, "10.10.10.15")
NAMING = Naming.between(OLD, NEW, scope="pg-meta", stanza="pg-meta")

PATRONI = yaml.safe_load(
    """
scope: pg-meta
namespace: /pg/
name: pg-meta-1
restapi:
  listen: 0.0.0.0:8008
  connect_address: 10.10.10.10:8008
  certfile: /pg/cert/server.crt
  authentication: {username: postgres, password: Patroni.API}
etcd3:
  hosts: 10.10.10.10:2379
  cacert: /etc/pki/ca.crt
  username: pg-meta
bootstrap:
  method: pgbackrest
  dcs:
    ttl: 30
    standby_cluster: {host: 10.9.9.9}
    postgresql: {parameters: {archive_command: stale}}
  initdb: [encoding: UTF8]
postgresql:
  listen: 10.10.10.10,127.0.0.1:5432
  connect_address: 10.10.10.10:5432
  data_dir: /pg/data
  bin_dir: /usr/pgsql/bin
  pgpass: /pg/tmp/.pgpass
  callbacks: {on_role_change: /pg/bin/pg-role-change pg-meta}
  create_replica_methods: [pgbackrest, basebackup]
  pgbackrest: {command: pgbackrest --stanza=pg-meta --delta restore, keep_data: true}
  recovery_conf: {restore_command: pgbackrest --stanza=pg-meta archive-get %f %p}
  parameters: {unix_socket_directories: '/var/run/postgresql, /tmp', ssl_cert_file: /pg/cert/server.crt}
  authentication:
    superuser: {username: postgres, password: super}
    replication: {username: replicator, password: repl}
  pg_hba:
    - local all postgres ident
    - host all pg-meta 10.0.0.0/8 scram-sha-256
    - host replication replicator 10.10.10.10/32 scram-sha-256
tags: {nofailover: true, clonefrom: true, version: '17'}
"""
)
DYNAMIC: dict[str, Any] = {
    "ttl": 30,
    "pause": True,
    "slots": {"consumer": {"type": "physical"}},
    "standby_cluster": {"host": "10.9.9.9"},
    "postgresql": {
        "parameters": {
            "archive_command": "pgbackrest --stanza=pg-meta archive-push %p",
            "log_directory": "/pg/log/postgres",
            "max_connections": 321,
        }
    },
}
TEMPLATE = MemberConfiguration(member=OLD, patroni=PATRONI, dynamic=DYNAMIC, pgbackrest="", unit=None)


def derived(naming: Naming = NAMING, **more: Any) -> dict[str, Any]:
    return derive_patroni(TEMPLATE, naming, members=(NEW, SECOND), neighbours=(OLD,), **more)


def test_names_and_addresses_are_the_new_members() -> None:
    made = derived()
    assert (made["scope"], made["name"], made["namespace"]) == ("pg-meta2", "pg-meta2-1", "/pg/")
    assert made["restapi"]["listen"] == "0.0.0.0:8008"
    assert made["restapi"]["connect_address"] == "10.10.10.14:8008"
    assert made["postgresql"]["listen"] == "10.10.10.14,127.0.0.1:5432"
    assert made["postgresql"]["connect_address"] == "10.10.10.14:5432"


def test_the_store_and_the_passwords_stay() -> None:
    """etcd lives on the template's node, perhaps; the roles are the source's as long as it is a standby cluster."""
    made = derived()
    assert made["etcd3"] == PATRONI["etcd3"]
    assert made["postgresql"]["authentication"] == PATRONI["postgresql"]["authentication"]
    assert made["restapi"]["authentication"] == PATRONI["restapi"]["authentication"]


def test_commands_name_the_new_stanza() -> None:
    made = derived()
    assert archive_command_of(made) == "pgbackrest --stanza=pg-meta2 archive-push %p"
    assert made["postgresql"]["pgbackrest"]["command"] == "pgbackrest --stanza=pg-meta2 --delta restore"
    assert made["postgresql"]["callbacks"] == {"on_role_change": "/pg/bin/pg-role-change pg-meta2"}


def test_the_stores_configuration_is_followed_and_not_the_files() -> None:
    """Whoever ran `patronictl edit-config` did not edit bootstrap.dcs."""
    dynamic = derived()["bootstrap"]["dcs"]
    assert dynamic["postgresql"]["parameters"]["max_connections"] == 321
    assert not {"standby_cluster", "slots", "pause"} & set(dynamic)
    assert "method" not in derived()["bootstrap"]


def test_a_standby_clusters_restore_command_stands_in_the_file_alone() -> None:
    made = derived(restore_command="fetch %f %p")
    assert made["postgresql"]["recovery_conf"] == {"restore_command": "fetch %f %p"}
    # What the template had is the new cluster's own once it is promoted.
    assert made["bootstrap"]["dcs"]["postgresql"]["recovery_conf"] == {
        "restore_command": "pgbackrest --stanza=pg-meta2 archive-get %f %p"
    }
    assert "recovery_conf" not in derived()["postgresql"]


def test_a_delay_stands_in_every_members_file() -> None:
    """Patroni takes that of standby_cluster for the standby leader alone."""
    assert derived(delay="1h")["postgresql"]["recovery_conf"] == {"recovery_min_apply_delay": "1h"}
    both = derived(delay="1h", restore_command="fetch %f %p")["postgresql"]["recovery_conf"]
    assert both == {"restore_command": "fetch %f %p", "recovery_min_apply_delay": "1h"}


def test_how_the_template_follows_its_own_upstream_is_not_inherited() -> None:
    following = copy.deepcopy(PATRONI)
    following["postgresql"]["recovery_conf"] = {
        "restore_command": "pgbackrest --config=/etc/pgbackrest/pgbackrest-upstream.conf archive-get %f %p",
        "recovery_min_apply_delay": "1h",
        "archive_cleanup_command": "/pg/bin/clean %r",
    }
    template = dataclasses.replace(TEMPLATE, patroni=following)
    made = derive_patroni(template, NAMING, members=(NEW, SECOND), neighbours=(OLD,))
    assert made["bootstrap"]["dcs"]["postgresql"]["recovery_conf"] == {
        "archive_cleanup_command": "/pg/bin/clean %r"
    }


def test_members_are_let_in_where_the_templates_were() -> None:
    assert derived()["postgresql"]["pg_hba"] == [
        "local all postgres ident",
        "host all pg-meta 10.0.0.0/8 scram-sha-256",
        "host replication replicator 10.10.10.10/32 scram-sha-256",
        "host replication replicator 10.10.10.14/32 scram-sha-256",
        "host replication replicator 10.10.10.15/32 scram-sha-256",
    ]


def test_tags_of_the_templates_member_alone_are_left_out() -> None:
    assert derived()["tags"] == {"clonefrom": True, "version": "17"}


def test_files_and_directories_that_have_to_be_there() -> None:
    made = derived()
    assert set(named_files(made)) == {PurePosixPath("/pg/cert/server.crt"), PurePosixPath("/etc/pki/ca.crt")}
    assert set(map(str, directories(made))) == {"/var/run/postgresql", "/tmp", "/pg/log/postgres"}


def test_a_second_instance_on_a_node_has_places_of_its_own() -> None:
    beside = dataclasses.replace(
        NEW, data_directory=PurePosixPath("/pg/two/data"), port=5433, patroni_port=8009
    )
    made = derived(Naming.between(OLD, beside, scope="pg-meta", stanza="pg-meta"))
    assert made["postgresql"]["data_dir"] == "/pg/two/data"
    assert made["postgresql"]["listen"] == "10.10.10.14,127.0.0.1:5433"
    assert made["restapi"]["connect_address"] == "10.10.10.14:8009"
    assert made["postgresql"]["pgpass"] == "/pg/two/tmp/.pgpass"
    assert made["bootstrap"]["dcs"]["postgresql"]["parameters"]["log_directory"] == "/pg/two/log/postgres"


def test_the_template_is_left_as_it_is() -> None:
    before = yaml.safe_dump(PATRONI)
    derived(restore_command="x")
    assert yaml.safe_dump(PATRONI) == before


def test_the_file_says_who_made_it() -> None:
    text = patroni_text(derived())
    assert text.startswith("# Made by pgdolly clone\n")
    assert yaml.safe_load(text) == derived()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--stanza=pg-meta", "--stanza=pg-meta2"),
        ("/backup/pg-meta/x", "/backup/pg-meta2/x"),
        ("pgBackRest.pg-meta", "pgBackRest.pg-meta2"),
        ("pg-meta-1", "pg-meta2-1"),
        ("pg-meta-db", "pg-meta-db"),
        ("pg-meta2", "pg-meta2"),
        ("my-pg-meta", "my-pg-meta"),
    ],
)
def test_names_are_replaced_where_they_stand_alone(text: str, expected: str) -> None:
    assert NAMING.text(text) == expected


PGBACKREST = """\
[pg-meta]
pg1-path=/pg/data
pg1-port=5432
pg2-host=10.10.10.11
pg2-path=/pg/data
[other]
pg1-path=/elsewhere

[global]
# a comment
repo1-path=/pgbackrest/pg-meta
repo1-cipher-pass=pgBackRest.pg-meta
spool-path=/pg/spool
archive-async=y

[global:archive-push]
process-max=2
"""


def test_pgbackrest_keeps_one_stanza_which_is_the_new_clusters() -> None:
    made = pgbackrest_conf.derive_pgbackrest(PGBACKREST, NAMING, stanza="pg-meta", repository=None)
    assert made == (
        "# Made by pgdolly clone\n"
        "[global]\n"
        "repo1-path=/pgbackrest/pg-meta2\n"
        "repo1-cipher-pass=pgBackRest.pg-meta2\n"
        "spool-path=/pg/spool\n"
        "archive-async=y\n"
        "[global:archive-push]\n"
        "process-max=2\n"
        "[pg-meta2]\n"
        "pg1-path=/pg/data\n"
        "pg1-port=5432\n"
    )
    assert list(pgbackrest_conf.directories(made)) == [PurePosixPath("/pg/spool")]


def test_the_inventorys_repository_takes_the_templates_place() -> None:
    named = settings_from({"type": "s3", "path": "/own", "cipher_pass": "secret"})
    made = pgbackrest_conf.derive_pgbackrest(PGBACKREST, NAMING, stanza="pg-meta", repository=named)
    assert "repo1-path=/own\n" in made and "repo1-cipher-pass=secret\n" in made
    assert "/pgbackrest/" not in made and "pgBackRest.pg-meta" not in made


def test_the_sources_repository_is_read_with_a_file_of_its_own() -> None:
    own = pgbackrest_conf.derive_pgbackrest(PGBACKREST, NAMING, stanza="pg-meta", repository=None)
    text = pgbackrest_conf.upstream_text(settings_from({"path": "/pgbackrest/pg-meta"}), own)
    assert text == (
        "# Made by pgdolly clone\n[global]\nspool-path=/pg/spool\narchive-async=y\nrepo1-path=/pgbackrest/pg-meta\n"
    )


def test_a_pgbackrest_conf_of_its_own_is_named_where_the_templates_needs_no_name() -> None:
    own = dataclasses.replace(NEW, pgbackrest_config=PurePosixPath("/etc/two/pgbackrest.conf"))
    made = derived(Naming.between(OLD, own, scope="pg-meta", stanza="pg-meta"))
    told = "pgbackrest --config=/etc/two/pgbackrest.conf --stanza=pg-meta2 archive-push %p"
    assert archive_command_of(made) == told
    assert "archive_command" not in derived()["postgresql"]["parameters"]


@pytest.mark.parametrize(("mode", "made"), [("always", "on"), ("on", "on"), ("off", "off")])
def test_a_standby_cluster_archives_nothing(mode: str, made: str) -> None:
    """Its stanza is there once it is promoted."""
    dynamic = {"postgresql": {"parameters": {"archive_mode": mode}}}
    patroni = {**PATRONI, "postgresql": {**PATRONI["postgresql"], "parameters": {"archive_mode": mode}}}
    template = dataclasses.replace(TEMPLATE, patroni=patroni, dynamic=dynamic)
    found = derive_patroni(template, NAMING, members=(NEW, SECOND), neighbours=(OLD,))
    assert found["postgresql"]["parameters"]["archive_mode"] == made
    assert found["bootstrap"]["dcs"]["postgresql"]["parameters"]["archive_mode"] == made
    assert patroni["postgresql"]["parameters"] == {"archive_mode": mode}
