"""The fleet out of host variables, as Ansible hands them over."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest

from pgdolly.domain.cluster import Member, Node, ServiceManager
from pgdolly.domain.errors import InvalidInput
from pgdolly.inventory.fleet import Fleet, fleet_from_variables, refuse_hosts_of_two_clusters

ORIGIN = "pigsty.yml"


def of(cluster: str, sequence: int, **variables: Any) -> dict[str, Any]:
    return {"pg_cluster": cluster, "pg_seq": sequence, **variables}


FLEET: dict[str, dict[str, Any]] = {
    "10.10.10.13": of("pg-test", 3, pg_role="offline"),
    "10.10.10.11": of("pg-test", 1, pg_role="primary", pg_version=18, pg_users=[{"name": "app"}]),
    "10.10.10.12": of("pg-test", 2),
    "10.10.10.10": of("pg-meta", 1, pg_role="primary", ansible_host="meta.internal"),
    "10.10.10.9": {"etcd_seq": 1},
}


def refused(hostvars: dict[str, dict[str, Any]]) -> InvalidInput:
    with pytest.raises(InvalidInput) as raised:
        fleet_from_variables(hostvars, ORIGIN)
    assert raised.value.untouched == "nothing was changed"
    return raised.value


def fleet() -> Fleet:
    return fleet_from_variables(FLEET, ORIGIN)


def test_hosts_are_gathered_into_clusters_in_the_order_of_pg_seq() -> None:
    found = fleet()
    assert {
        name: [member.name for member in cluster.members] for name, cluster in found.clusters.items()
    } == {
        "pg-test": ["pg-test-1", "pg-test-2", "pg-test-3"],
        "pg-meta": ["pg-meta-1"],
    }
    assert [member.role for member in found.cluster("pg-test").members] == ["primary", "replica", "offline"]
    assert found.cluster("pg-test").version == 18
    assert found.cluster("pg-test").member("pg-test-2").node.address == "10.10.10.12"
    with pytest.raises(KeyError):
        found.cluster("pg-test").member("pg-meta-1")


def test_every_variable_reaches_its_member() -> None:
    variables = of(
        "pg-test",
        7,
        pg_role="replica",
        pg_upstream="10.10.10.10",
        pg_version="17",
        pg_data="/data/pg",
        pg_bin_dir="/usr/pgsql/bin",
        pg_port="5433",
        pg_dbsu="dba",
        patroni_port=8009,
        ansible_host="10.0.0.7",
        ansible_user="admin",
        ansible_port="2222",
        ansible_connection="local",
        ansible_ssh_private_key_file="~/.ssh/fleet",
        ansible_ssh_common_args="-o ProxyJump=gate -o 'User Known=a b'",
        pgdolly_patroni="/opt/patroni/bin/patroni",
        pgdolly_patroni_config="/opt/patroni.yml",
        pgdolly_pgbackrest_config="/opt/pgbackrest.conf",
        pgdolly_service="pg-test-7",
        pgdolly_service_manager="supervisor",
        pgdolly_supervisor_config="/opt/supervisord.conf",
    )
    found = fleet_from_variables({"seven": variables}, ORIGIN).cluster("pg-test")
    assert (found.version, found.upstream) == (17, "10.10.10.10")
    assert found.members == (
        Member(
            name="pg-test-7",
            cluster="pg-test",
            sequence=7,
            role="replica",
            node=Node(
                name="pg-test-7",
                address="10.0.0.7",
                connection="local",
                login_user="admin",
                login_port=2222,
                identity_file="~/.ssh/fleet",
                ssh_arguments=("-o", "ProxyJump=gate", "-o", "User Known=a b"),
            ),
            dbsu="dba",
            port=5433,
            patroni_port=8009,
            data_directory=PurePosixPath("/data/pg"),
            bin_directory=PurePosixPath("/usr/pgsql/bin"),
            patroni="/opt/patroni/bin/patroni",
            patroni_config=PurePosixPath("/opt/patroni.yml"),
            pgbackrest_config=PurePosixPath("/opt/pgbackrest.conf"),
            service_manager=ServiceManager.SUPERVISOR,
            service="pg-test-7",
            supervisor_config=PurePosixPath("/opt/supervisord.conf"),
        ),
    )


def test_pigstys_defaults_count_where_the_inventory_is_silent() -> None:
    [member] = fleet_from_variables({"one": of("pg-test", 1)}, ORIGIN).cluster("pg-test").members
    assert (member.role, member.dbsu, member.port, member.patroni_port) == ("replica", "postgres", 5432, 8008)
    assert (str(member.data_directory), str(member.work_directory)) == ("/pg/data", "/pg/pgdolly")
    assert (member.node.address, member.node.connection) == ("one", "ssh")


def test_hosts_that_differ_in_pg_version_are_no_cluster() -> None:
    error = refused({"one": of("pg-test", 1, pg_version=17), "two": of("pg-test", 2, pg_version="18")})
    assert "the hosts of pg-test differ in pg_version (one: 17, two: 18)" in error.what
    agreed = {"one": of("pg-test", 1), "two": of("pg-test", 2, pg_version="18")}
    assert fleet_from_variables(agreed, ORIGIN).cluster("pg-test").version == 18


def test_what_is_left_empty_counts_as_not_set() -> None:
    variables = of("pg-test", 1, pg_role=None, pg_upstream="", pg_bin_dir="", pg_port=None, ansible_user="")
    [member] = fleet_from_variables({"one": variables}, ORIGIN).cluster("pg-test").members
    assert (member.role, member.bin_directory, member.port) == ("replica", None, 5432)
    assert member.node.login_user is None


def test_only_the_leader_that_was_built_makes_a_standby_cluster() -> None:
    cascade = {
        "one": of("pg-test", 1, pg_role="primary"),
        "two": of("pg-test", 2, pg_upstream="one"),
    }
    assert fleet_from_variables(cascade, ORIGIN).cluster("pg-test").upstream is None
    cascade["one"]["pg_upstream"] = "elsewhere"
    assert fleet_from_variables(cascade, ORIGIN).cluster("pg-test").upstream == "elsewhere"


def test_a_host_in_the_groups_of_two_clusters() -> None:
    hostvars = {
        "one": of("pg-dev", 1),
        "two": of("pg-test", 2),
        "three": of("pg-test", 3),
        "etcd": {"etcd_seq": 1},
    }
    groups = {"pg-dev": ["one", "two"], "pg-test": ["two", "three"], "europe": ["one", "two", "etcd"]}
    with pytest.raises(InvalidInput, match="host two is in the groups of clusters pg-dev and pg-test"):
        refuse_hosts_of_two_clusters(hostvars, groups, ORIGIN)
    refuse_hosts_of_two_clusters(hostvars, {**groups, "pg-dev": ["one"]}, ORIGIN)


def test_two_hosts_cannot_be_the_same_member() -> None:
    error = refused({"one": of("pg-test", 1), "two": of("pg-test", 2), "three": of("pg-test", 2)})
    assert str(error) == "pigsty.yml: hosts two and three both have pg_seq 2 of pg-test"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"pg_cluster": "pg-test"}, "pg_seq is not set"),
        (of("pg-test", 1, pg_seq="one"), "pg_seq: Input should be a valid integer"),
        (of("pg-test", 1, pg_role="leader"), "pg_role: Input should be 'primary', 'replica'"),
        (of("pg-test", 1, pg_port=70000), "pg_port: Input should be less than or equal to 65535"),
        (of("pg-test", 1, pg_cluster=["pg-test"]), "pg_cluster: Input should be a valid string"),
        (of("pg-test", 1, pg_data=5), "pg_data: "),
        (of("pg-test", 1, pgdolly_service_manager="runit"), "pgdolly_service_manager: "),
        (of("pg-test", 1, ansible_ssh_common_args="-o 'half"), "ansible_ssh_common_args: "),
        (of("pg-test", 1, pg_data="{{ pg_fs_main }}/data"), "pg_data: it is a template"),
        (of("", 1), "pg_cluster: "),
        (of("pg/test", 1), "pg_cluster: "),
    ],
)
def test_a_wrong_variable_is_named_with_its_host(variables: dict[str, Any], message: str) -> None:
    error = refused({"fine": of("pg-meta", 1), "10.10.10.11": variables})
    assert error.where == "inventory, host 10.10.10.11"
    assert message in error.what


def test_an_inventory_without_postgresql_has_no_cluster() -> None:
    empty = fleet_from_variables({"etcd": {"etcd_seq": 1}}, ORIGIN)
    with pytest.raises(InvalidInput, match="no cluster 'pg-test' in the inventory: it has none"):
        empty.cluster("pg-test")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pg-tset", ("no cluster 'pg-tset'", "it has pg-meta, pg-test", "did you mean 'pg-test'?")),
        ("warehouse", ("no cluster 'warehouse'", "it has pg-meta, pg-test")),
        ("pg-test-2", ("'pg-test-2' is a node of cluster 'pg-test'",)),
        ("10.10.10.12", ("'10.10.10.12' is a node of cluster 'pg-test'",)),
        ("meta.internal", ("'meta.internal' is a node of cluster 'pg-meta'",)),
    ],
)
def test_what_is_no_cluster_is_refused_with_what_was_perhaps_meant(name: str, words: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput) as raised:
        fleet().cluster(name)
    assert raised.value.where == ORIGIN
    assert raised.value.untouched == "nothing was changed"
    for word in words:
        assert word in str(raised.value)
    assert ("did you mean" in str(raised.value)) is (name == "pg-tset")
