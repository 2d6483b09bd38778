"""The repository that an inventory names, and that its secrets stay secret."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgdolly.domain.cluster import Cluster
from pgdolly.domain.errors import InvalidInput
from pgdolly.domain.repository import UnusableRepository, UnusableSetting, is_secret, settings_from
from pgdolly.domain.secret import Secret
from pgdolly.inventory.fleet import fleet_from_variables
from pgdolly.inventory.parameters import HostParameters
from pgdolly.inventory.repository import Unfilled

HIDDEN = "hidden-from-all"
STORE = {
    "type": "s3",
    "s3_key": f"{HIDDEN}-1",
    "s3_key_secret": f"{HIDDEN}-2",
    "cipher_pass": f"{HIDDEN}.${{pg_cluster}}",
    "s3_endpoint": "${admin_ip}",
    "some_new_token": f"{HIDDEN}-3",
}


def cluster(**variables: Any) -> Cluster:
    hostvars = {"one": {"pg_cluster": "pg-one", "pg_seq": 1, **variables}}
    return fleet_from_variables(hostvars, "pigsty.yml").cluster("pg-one")


# -- secrets


@given(st.text(min_size=4))
def test_a_secret_is_seen_by_nobody_who_prints_it(text: str) -> None:
    secret = Secret(text)
    assert {repr(secret), str(secret), f"{secret}", f"{secret!r:>3}", "%s" % secret} == {"***"}  # noqa: UP031
    assert secret.reveal() == text
    assert (secret == Secret(text), secret == text, hash(secret) == hash(Secret(text))) == (True, False, True)


def test_a_secret_is_written_nowhere() -> None:
    secret = Secret(HIDDEN)
    with pytest.raises(TypeError):
        json.dumps({"key": secret})
    with pytest.raises(TypeError, match="not written down"):
        pickle.dumps(secret)
    assert copy.deepcopy(secret) == secret and HIDDEN not in repr(vars(Secret))


def test_nothing_that_holds_a_repository_shows_its_secrets() -> None:
    found = cluster(pgbackrest_method="store", pgbackrest_repo={"store": STORE}, admin_ip="10.0.0.1")
    assert found.repository is not None
    for shown in (
        repr(found),
        str(found.repository),
        json.dumps(found.repository.masked()),
        json.dumps(asdict(found), default=str),
        repr(HostParameters(pg_cluster="pg-one", pg_seq=1, pgbackrest_repo={"store": STORE})),
    ):
        assert HIDDEN not in shown
    assert dict(found.repository.revealed()) == {
        "repo1-type": "s3",
        "repo1-s3-key": f"{HIDDEN}-1",
        "repo1-s3-key-secret": f"{HIDDEN}-2",
        "repo1-cipher-pass": f"{HIDDEN}.pg-one",
        "repo1-s3-endpoint": "10.0.0.1",
        "repo1-some-new-token": f"{HIDDEN}-3",
    }


@pytest.mark.parametrize(
    ("option", "secret"),
    [
        ("cipher-pass", True),
        ("s3-key", True),
        ("s3-token", True),
        ("gcs-key", True),
        ("azure-key", True),
        ("azure-account", True),
        ("sftp-private-key-passphrase", True),
        ("s3-key-type", False),
        ("s3-uri-style", False),
        ("storage-ca-file", False),
        ("sftp-private-key-file", False),
        ("cipher-type", False),
        ("path", False),
    ],
)
def test_which_options_are_secret(option: str, secret: bool) -> None:
    assert is_secret(option) is secret


# -- which repository


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"pgbackrest_method": "minio"},  # Pigsty's own defaults: only the nodes know them
        {"pgbackrest_repo": None},
        {"pgbackrest_repo": {"local": {"path": "/pg/backup"}}, "pgbackrest_enabled": False},
        {"pgbackrest_repo": {"local": {"path": "/pg/backup"}}, "pgbackrest_enabled": "no"},
    ],
)
def test_an_inventory_that_names_no_repository(variables: dict[str, Any]) -> None:
    assert cluster(**variables).repository is None


def test_local_is_the_default() -> None:
    found = cluster(
        pgbackrest_repo={"local": {"path": "/pg/backup/${pg_cluster}"}, "minio": STORE}
    ).repository
    assert found is not None and found.kind == "posix"
    assert found.options == (("repo1-path", "/pg/backup/pg-one"),)


def test_values_as_yaml_reads_them() -> None:
    found = cluster(
        pgbackrest_repo={
            "local": {"bundle": True, "block": False, "retention_full": 2, "storage_tag": ["a=b", "c=d"]}
        }
    ).repository
    assert found is not None and found.options == (
        ("repo1-bundle", "y"),
        ("repo1-block", "n"),
        ("repo1-retention-full", "2"),
        ("repo1-storage-tag", "a=b"),
        ("repo1-storage-tag", "c=d"),
    )


def test_placeholders_that_are_not_pigstys_stand() -> None:
    found = cluster(pgbackrest_repo={"local": {"path": "/pg/${HOME}/$x"}}).repository
    assert found is not None and found.options == (("repo1-path", "/pg/${HOME}/$x"),)


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"pgbackrest_method": "minio"}, "pgbackrest_method is minio, and pgbackrest_repo has local"),
        ({"pgbackrest_method": "{{ where }}"}, "pgbackrest_method is a template"),
        ({"pgbackrest_method": Unfilled("undefined")}, "pgbackrest_method: undefined"),
        ({"pgbackrest_enabled": "{{ really }}"}, "pgbackrest_enabled is a template"),
        ({"pgbackrest_repo": "{{ all_of_them }}"}, "pgbackrest_repo is a template"),
        ({"pgbackrest_repo": Unfilled("undefined")}, "pgbackrest_repo: undefined"),
        ({"pgbackrest_repo": "/pg/backup"}, "pgbackrest_repo is no mapping"),
        ({"pgbackrest_repo": {"local": "/pg/backup"}}, r"pgbackrest_repo\.local is no mapping"),
        ({"pgbackrest_repo": {"local": {}}}, r"pgbackrest_repo\.local is no mapping"),
        ({"pgbackrest_repo": {"local": {"path": None}}}, r"local: path has no value"),
        ({"pgbackrest_repo": {"local": {"path": {"a": 1}}}}, r"local: path is a dict"),
        ({"pgbackrest_repo": {"local": {"path": "{% if x %}"}}}, r"local\.path is a template"),
        ({"pgbackrest_repo": {"local": {"path": Unfilled("undefined")}}}, r"local\.path: undefined"),
        ({"pgbackrest_repo": {"local": {"path": "/a\nrepo2-path=/b"}}}, "path has a line feed"),
        ({"pgbackrest_repo": {"local": {"path = x": "/a"}}}, "'path = x' is no name of an option"),
        ({"pgbackrest_repo": {"local": {5: "/a"}}}, "'5' is no name of an option"),
        ({"pgbackrest_repo": {"local": {"path": "/${admin_ip}"}}}, "needs admin_ip, which is not set"),
        (
            {"pgbackrest_repo": {"local": {"path": "/${admin_ip}"}}, "admin_ip": "{{ ip }}"},
            "admin_ip is a template",
        ),
    ],
)
def test_a_repository_that_cannot_be_used_is_said_to_who_asks(variables: dict[str, Any], reason: str) -> None:
    found = cluster(**{"pgbackrest_repo": {"local": {"path": "/pg/backup"}}, **variables})
    assert isinstance(found.named_repository, UnusableRepository)
    with pytest.raises(InvalidInput, match=reason) as raised:
        _ = found.repository
    assert (raised.value.where, raised.value.untouched) == ("pg-one", "nothing was changed")


def test_hosts_that_name_different_repositories() -> None:
    hostvars = {
        f"host-{sequence}": {
            "pg_cluster": "pg-one",
            "pg_seq": sequence,
            "pgbackrest_repo": {"local": {"path": f"/pg/{sequence}"}},
        }
        for sequence in (1, 2)
    }
    with pytest.raises(InvalidInput, match="hosts host-1 and host-2 name different ones"):
        _ = fleet_from_variables(hostvars, "pigsty.yml").cluster("pg-one").repository


def test_an_error_never_tells_a_secret() -> None:
    with pytest.raises(UnusableSetting) as raised:
        settings_from({"cipher_pass": f"{HIDDEN}\n"})
    assert HIDDEN not in str(raised.value)
    with pytest.raises(InvalidInput) as wrong:
        cluster(pg_port="many", pgbackrest_repo={"local": {"cipher_pass": HIDDEN}})
    assert HIDDEN not in f"{wrong.value} {wrong.value.__cause__}"
