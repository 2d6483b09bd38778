"""The Ansible door: which clusters a play is about, what its host variables and `pg_pitr` say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from pgdolly.domain.errors import InvalidInput, Refused
from pgdolly.inventory.fleet import fleet_from_variables
from pgdolly.inventory.repository import Unfilled
from pgdolly.operations.playbook import host_variables, refuse_source_among, request_of, targets_of
from pgdolly.operations.request import PitrRequest

META, TEST = ("10.10.10.10",), ("10.10.10.11", "10.10.10.12", "10.10.10.13")
VARIABLES: dict[str, dict[str, Any]] = {
    host: {"pg_cluster": name, "pg_seq": sequence, "ansible_connection": "local"}
    for name, hosts in (("pg-meta", META), ("pg-test", TEST))
    for sequence, host in enumerate(hosts, 1)
}


class Tagged(str):
    """As Ansible's own strings are: a subclass that carries where it came from."""


# -- the targets


@pytest.mark.parametrize(
    ("limit", "hosts", "targets"),
    [
        ("pg-test", TEST, ("pg-test",)),
        (",".join(TEST), TEST, ("pg-test",)),
        ("10.10.10.10", META, ("pg-meta",)),
        ("pg-meta,pg-test", META + TEST, ("pg-meta", "pg-test")),
        ("pg-test:pg-meta", META + TEST, ("pg-meta", "pg-test")),
        ("pg-test, localhost", (*TEST, "localhost"), ("pg-test",)),
    ],
)
def test_clusters_that_are_named(limit: str, hosts: tuple[str, ...], targets: tuple[str, ...]) -> None:
    assert targets_of(VARIABLES, limit=limit, hosts=hosts) == targets


@pytest.mark.parametrize("limit", [None, ""])
def test_no_limit_is_no_target(limit: str | None) -> None:
    with pytest.raises(InvalidInput, match=r"no target: .* pg-meta, pg-test") as caught:
        targets_of(VARIABLES, limit=limit, hosts=META + TEST)
    assert caught.value.untouched == "nothing was changed"
    assert "./pgsql-pitr.yml -l CLUSTER -e " in (caught.value.next_command or "")


def test_no_cluster_is_left() -> None:
    with pytest.raises(InvalidInput, match="-l infra leaves no host of a PostgreSQL cluster"):
        targets_of(VARIABLES, limit="infra", hosts=("10.10.10.99",))


@pytest.mark.parametrize("limit", ["10.10.10.11", "pg-test:!10.10.10.12:!10.10.10.13", "pg-test[0]"])
def test_a_part_of_a_cluster(limit: str) -> None:
    with pytest.raises(
        Refused, match=r"leaves out 10\.10\.10\.12, 10\.10\.10\.13 of cluster pg-test"
    ) as caught:
        targets_of(VARIABLES, limit=limit, hosts=TEST[:1])
    assert caught.value.next_command == "./pgsql-pitr.yml -l pg-test"


@pytest.mark.parametrize(
    ("limit", "hosts", "unnamed"),
    [
        ("all", META + TEST, "pg-meta"),
        ("*", META + TEST, "pg-meta"),
        ("pg-t*", TEST, "pg-test"),
        ("etcd", META, "pg-meta"),  # in a small fleet the store lives on a database's host
        ("etcd,pg-test", META + TEST, "pg-meta"),
        ("@failed.retry", TEST, "pg-test"),
    ],
)
def test_a_cluster_that_is_meant_without_being_named(
    limit: str, hosts: tuple[str, ...], unnamed: str
) -> None:
    with pytest.raises(Refused, match=f"means cluster {unnamed} without naming it"):
        targets_of(VARIABLES, limit=limit, hosts=hosts)


def test_a_source_that_would_be_reset_too() -> None:
    both = {"pg-meta": PitrRequest(cluster="pg-meta"), "pg-test": PitrRequest(cluster="pg-meta")}
    with pytest.raises(Refused, match="pg-meta is the source of pg-test and would be reset too"):
        refuse_source_among(both)
    refuse_source_among({"pg-meta": PitrRequest(cluster="pg-meta")})
    refuse_source_among({"pg-test": PitrRequest(), "pg-meta": PitrRequest()})
    refuse_source_among(
        {"pg-test": PitrRequest(cluster="pg-meta"), "pg-test2": PitrRequest(cluster="pg-meta")}
    )


# -- the variables


class Lazy(Mapping[str, Any]):
    """As Ansible's: a variable is templated when it is read, and some cannot be."""

    def __init__(self, variables: dict[str, Any]) -> None:
        self.variables = variables

    def __getitem__(self, name: str) -> Any:
        if name == "broken":
            raise RuntimeError("'nowhere' is undefined")
        return self.variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.variables)

    def __len__(self) -> int:
        return len(self.variables)


def test_only_what_pgdolly_reads_is_templated() -> None:
    given = {
        "pg_cluster": Tagged("pg-meta"),
        "pg_seq": 1,
        "broken": "{{ nowhere }}",
        "pg_data": Tagged("/pg/data"),
    }
    found = host_variables({"10.10.10.10": Lazy(given), "localhost": Lazy({"broken": ""})})
    assert found == {"10.10.10.10": {"pg_cluster": "pg-meta", "pg_seq": 1, "pg_data": "/pg/data"}}
    assert {type(value) for value in found["10.10.10.10"].values()} == {str, int}


class Encrypted:
    """As ansible-core 2.18's: no text, but one when it is read."""

    __ENCRYPTED__ = True

    def __str__(self) -> str:
        return "/out/of/a/vault"


def test_what_comes_out_of_a_vault_is_a_text() -> None:
    given = {"pg_cluster": "pg-meta", "pg_seq": 1, "pg_data": Encrypted()}
    found = host_variables({"host": given})["host"]["pg_data"]
    assert (found, type(found)) == ("/out/of/a/vault", str)


def test_what_ansible_cannot_fill_in_of_a_repository_is_kept_for_who_asks() -> None:
    away = Lazy({"type": "s3", "broken": "{{ nowhere }}"})
    given = {
        "pg_cluster": "pg-meta",
        "pg_seq": 1,
        "admin_ip": Tagged("10.0.0.1"),
        "pgbackrest_method": Tagged("near"),
        "pgbackrest_repo": Lazy({"near": Lazy({"path": Tagged("/${admin_ip}/b")}), "away": away}),
    }
    found = host_variables({"host": Lazy(given)})
    assert found["host"]["pgbackrest_repo"] == {
        "near": {"path": "/${admin_ip}/b"},
        "away": {"type": "s3", "broken": Unfilled("'nowhere' is undefined")},
    }
    near = fleet_from_variables(found, "here").cluster("pg-meta").repository
    assert near is not None and near.options == (("repo1-path", "/10.0.0.1/b"),)
    given["pgbackrest_method"] = "away"
    away_from = fleet_from_variables(host_variables({"host": Lazy(given)}), "here").cluster("pg-meta")
    with pytest.raises(InvalidInput, match=r"pgbackrest_repo\.away\.broken: 'nowhere' is undefined"):
        _ = away_from.repository


def test_the_inventory_comes_before_the_command_line() -> None:
    defaults = {"ansible_user": "dba", "ansible_connection": "ssh"}
    found = host_variables(VARIABLES, defaults)
    member = fleet_from_variables(found, "here").cluster("pg-test").members[0]
    assert (member.node.login_user, member.node.connection) == ("dba", "local")


# -- the request


def test_the_request_as_it_is_typed() -> None:
    # The manual page's own: Ansible reads it as YAML.
    typed = """{"pg_pitr": { "cluster": "pg-meta", "time": "2025-12-27 17:50:00+08" ,archive: true }}"""
    request = request_of(yaml.safe_load(typed)["pg_pitr"])
    assert (request.cluster, request.archive) == ("pg-meta", True)
    assert request.target().time == datetime(2025, 12, 27, 9, 50, tzinfo=UTC)


def test_tagged_values_are_as_good() -> None:
    request = request_of({Tagged("cluster"): Tagged("pg-meta"), "db_include": [Tagged("app")]})
    assert request == PitrRequest(cluster="pg-meta", db_include=("app",))
    assert type(request.cluster) is str


def test_a_time_that_yaml_has_read() -> None:
    request = request_of(yaml.safe_load("time: 2025-12-27 17:50:00+08"))
    assert request.target().time == datetime(2025, 12, 27, 9, 50, tzinfo=UTC)


def test_json_in_a_text_and_the_empty_request() -> None:
    assert request_of('{"cluster": "pg-meta"}') == PitrRequest(cluster="pg-meta")
    assert request_of({}) == request_of("{}") == PitrRequest()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "pg_pitr is not set"),
        ("pg-meta", "no mapping of keys and values: it is a text, and no JSON: "),
        ("", "no mapping"),
        (["pg-meta"], "no mapping"),
        ('"pg-meta"', "no mapping"),
        (True, "no mapping"),
        ({"clutser": "pg-meta"}, "unknown key 'clutser'"),
    ],
)
def test_what_is_no_request(given: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        request_of(given)
    assert caught.value.untouched == "nothing was changed"
