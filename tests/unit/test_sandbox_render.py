"""The sandbox's configuration files: what they say, without a server in sight."""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from pgdolly.domain.errors import InvalidInput
from pgdolly.sandbox import render
from pgdolly.sandbox.added import occupied, with_added
from pgdolly.sandbox.layout import World, checked_directory, checked_network, default_directory
from pgdolly.sandbox.members import missing_members, no_leader, parse_cluster
from pgdolly.sandbox.record import Record, read_record, write_record
from pgdolly.sandbox.status import SandboxStatus
from pgdolly.sandbox.supervise import ProgramState

PASSWORDS = render.Passwords(superuser="one", replication="two", rewind="three")


def world(
    directory: str = "/var/lib/pgdolly/sandbox", *, network: str = "127.10.10", user: str = "postgres"
) -> World:
    return World(
        home=Path("/root/.pgdolly"),
        directory=Path(directory),
        network=network,
        user=user,
        user_home="/var/lib/postgresql",
        pg_version=15,
        pg_bin=Path("/usr/lib/postgresql/15/bin"),
        environment_bin=Path("/opt/environment/bin"),
        pgbackrest=Path("/usr/bin/pgbackrest"),
        etcd=Path("/usr/bin/etcd"),
    )


def ini(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


def test_members_have_pigstys_addresses() -> None:
    assert [(node.name, node.address, node.role) for node in world().nodes] == [
        ("pg-meta-1", "127.10.10.10", "primary"),
        ("pg-test-1", "127.10.10.11", "primary"),
        ("pg-test-2", "127.10.10.12", "replica"),
        ("pg-test-3", "127.10.10.13", "replica"),
    ]


def test_two_networks_share_no_address_and_no_directory() -> None:
    first, second = world(), world(network="127.10.20")
    ports = [{port for program in one.programs for port in one.ports_of(program)} for one in (first, second)]
    assert not ports[0] & ports[1]
    directories = {default_directory(one.home, one.network, is_root=True) for one in (first, second)}
    assert directories == {Path("/var/lib/pgdolly/sandbox"), Path("/var/lib/pgdolly/sandbox-127.10.20")}


def test_members_share_nothing_but_the_repository() -> None:
    own = [
        {
            node.data_directory,
            node.socket_directory,
            node.spool_directory,
            node.lock_directory,
            node.log_directory,
        }
        for node in world().nodes
    ]
    assert len(set.union(*own)) == sum(len(paths) for paths in own)
    repositories = {
        ini(render.pgbackrest_config(world(), node))["global"]["repo1-path"] for node in world().nodes
    }
    assert repositories == {"/var/lib/pgdolly/sandbox/backup"}


@pytest.mark.parametrize("network", ["10.0.0", "127.10", "127.10.10.10", "127.10.300", "", "localhost"])
def test_network_that_is_not_loopback_is_refused(network: str) -> None:
    with pytest.raises(InvalidInput, match="loopback"):
        checked_network(network)


@pytest.mark.parametrize(
    "directory", ["relative", "/with blank", "/with'quote", "/with%percent", "/with;semicolon"]
)
def test_directory_that_would_need_quoting_is_refused(directory: str) -> None:
    with pytest.raises(InvalidInput, match="absolute path"):
        checked_directory(Path(directory))


def test_directory_too_long_for_unix_sockets_is_refused() -> None:
    fits = Path("/" + "d" * 73)
    assert checked_directory(fits) == fits
    for node in world(str(fits)).nodes:
        assert len(str(node.socket_directory / ".s.PGSQL.5432.lock")) <= 107
    # supervisord binds its socket under a name with its pid behind a dot, then links it.
    assert len(f"{world(str(fits)).supervisor_socket}.4194304") <= 107
    with pytest.raises(InvalidInput, match="unix socket"):
        checked_directory(Path("/" + "d" * 74))


def test_archive_command_is_the_same_on_every_member() -> None:
    """What differs is the configuration that their environment names: the DCS has one command for all."""
    one = world()
    for node in one.members("pg-test"):
        settings = yaml.safe_load(render.patroni_config(one, node, PASSWORDS))
        parameters = settings["bootstrap"]["dcs"]["postgresql"]["parameters"]
        assert parameters["archive_command"] == "pgbackrest --stanza=pg-test archive-push %p"
        assert parameters["archive_mode"] == "on"
        assert "archive_command" not in settings["postgresql"]["parameters"]
        assert render.node_environment(one, node)["PGBACKREST_CONFIG"] == str(node.pgbackrest_config)


def test_patroni_config_round_trips_its_passwords_and_keeps_them_out_of_reprs() -> None:
    one = world()
    text = render.patroni_config(one, one.node("pg-test-2"), PASSWORDS)
    assert render.read_passwords(text) == PASSWORDS
    assert not re.search("one|two|three", repr(PASSWORDS))


def test_patroni_config_trusts_local_connections_only() -> None:
    one = world()
    settings = yaml.safe_load(render.patroni_config(one, one.node("pg-meta-1"), PASSWORDS))
    for rule in settings["postgresql"]["pg_hba"]:
        assert rule.endswith("trust") == rule.startswith("local "), rule
    assert settings["postgresql"]["use_unix_socket"] is True


def test_supervisor_has_one_program_per_server_and_signals_no_groups() -> None:
    one = world()
    config = ini(render.supervisor_config(one))
    programs = [section for section in config.sections() if section.startswith("program:")]
    assert programs == [f"program:{name}" for name in one.programs]
    for section in programs:
        program = config[section]
        assert program["stopsignal"] == "TERM"
        assert program["stopasgroup"] == program["killasgroup"] == "false"
        assert f'{render.MARKER}="{one.directory}"' in program["environment"]
        assert "user" not in program  # supervisord itself runs as the servers' account
    assert config["program:pg-test-3"]["command"] == (
        "/opt/environment/bin/patroni /var/lib/pgdolly/sandbox/pg-test-3/patroni.yml"
    )


def test_inventory_is_pigstys() -> None:
    tree: dict[str, Any] = yaml.safe_load(render.inventory(world()))["all"]
    assert tree["children"]["etcd"] == {
        "hosts": {"127.10.10.10": {"etcd_seq": 1}},
        "vars": {"etcd_cluster": "etcd"},
    }
    test = tree["children"]["pg-test"]
    assert test["vars"] == {"pg_cluster": "pg-test"}
    assert test["hosts"]["127.10.10.12"] == {
        "pg_seq": 2,
        "pg_role": "replica",
        "pg_data": "/var/lib/pgdolly/sandbox/pg-test-2/data",
        "pgdolly_service": "pg-test-2",
        "pgdolly_patroni_config": "/var/lib/pgdolly/sandbox/pg-test-2/patroni.yml",
        "pgdolly_pgbackrest_config": "/var/lib/pgdolly/sandbox/pg-test-2/pgbackrest.conf",
    }
    assert tree["vars"]["pg_dbsu"] == "postgres"
    assert tree["vars"]["pgbackrest_repo"]["local"]["path"] == "/var/lib/pgdolly/sandbox/backup"


def test_wrappers_drop_root_and_carry_the_nodes_own_configuration() -> None:
    one = world()
    scripts = render.wrappers(one, one.node("pg-test-2"))
    assert set(scripts) == {"pb", "pg-backup", "pgbackrest"}
    for script in scripts.values():
        assert script.startswith("#!/bin/sh\n")
        assert f"exec {render.RUNUSER} -u postgres -- env" in script
        assert "PGBACKREST_CONFIG=/var/lib/pgdolly/sandbox/pg-test-2/pgbackrest.conf" in script


def test_shell_finds_the_nodes_commands_before_all_others() -> None:
    one = world()
    node = one.node("pg-test-1")
    assert render.shell_path(one, node).split(":") == [
        "/var/lib/pgdolly/sandbox/bin/pg-test-1",
        "/opt/environment/bin",
        "/usr/lib/postgresql/15/bin",
    ]
    assert render.shell_environment(one, node)["ANSIBLE_INVENTORY"] == "/root/.pgdolly/sandbox/pigsty.yml"


def test_unknown_node_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="'pg-test-4'"):
        world().node("pg-test-4")


NAMES = ("pg-test-1", "pg-test-2")


def cluster_document(**second: object) -> dict[str, Any]:
    leader = {"name": "pg-test-1", "role": "leader", "state": "running", "timeline": 2}
    replica = {"name": "pg-test-2", "role": "replica", "state": "streaming", "timeline": 2, "lag": 0}
    return {"scope": "pg-test", "members": [leader, {**replica, **second}]}


def test_cluster_with_a_leader_and_streaming_replicas_misses_nothing() -> None:
    assert missing_members(parse_cluster(cluster_document()), NAMES) is None


@pytest.mark.parametrize(
    ("second", "lack"),
    [
        ({"state": "starting"}, "pg-test-2 is starting"),
        ({"timeline": 1}, "on timeline 1, the leader on 2"),
        ({"name": "other"}, "pg-test-2 has not joined"),
    ],
)
def test_cluster_names_what_it_misses(second: dict[str, object], lack: str) -> None:
    missing = missing_members(parse_cluster(cluster_document(**second)), NAMES)
    assert missing is not None
    assert lack in missing


def test_silent_cluster_has_no_leader() -> None:
    assert no_leader(parse_cluster({})) == "no leader"


def test_lag_that_patroni_cannot_tell_is_unknown() -> None:
    view = parse_cluster(cluster_document(lag="unknown") | {"pause": True})
    assert [member.lag_bytes for member in view.members] == [None, None]
    assert view.is_paused


DIRECTORY = Path("/var/lib/pgdolly/sandbox")


def world_with(added: Mapping[str, int], directory: str = str(DIRECTORY)) -> World:
    return replace(world(directory), added=added)


def test_added_nodes_take_the_next_addresses_in_the_order_in_which_they_came() -> None:
    first = with_added({}, ["pg-meta2"], DIRECTORY)
    later = with_added(first, ["pg-dev:2", "pg-meta2"], DIRECTORY)
    assert list(later.items()) == [("pg-meta2", 1), ("pg-dev", 2)]
    nodes = world_with(later).nodes
    assert nodes[:4] == world().nodes
    assert [(node.name, node.address, node.role) for node in nodes[4:]] == [
        ("pg-meta2-1", "127.10.10.14", "primary"),
        ("pg-dev-1", "127.10.10.15", "primary"),
        ("pg-dev-2", "127.10.10.16", "replica"),
    ]


def test_added_cluster_stays_as_it_is_if_no_number_is_said() -> None:
    assert with_added({"pg-meta2": 3}, ["pg-meta2", "pg-meta2:3"], DIRECTORY) == {"pg-meta2": 3}
    with pytest.raises(InvalidInput, match="has 3 members in this sandbox, not 1"):
        with_added({"pg-meta2": 3}, ["pg-meta2:1"], DIRECTORY)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        *((name, "every sandbox") for name in ("pg-meta", "pg-test:2")),
        *(
            (name, "cannot be a cluster's name")
            for name in ("", ":2", "etcd", "all", "Pg", "1a", "a_b", "a-", "a b")
        ),
        *((name, "1 to 5 members") for name in ("a:", "a:0", "a:6", "a:12", "a:x", "a:1:1")),
        ("a" * 90, "too long a name"),
    ],
)
def test_cluster_that_cannot_be_added_is_refused(asked: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as raised:
        with_added({}, [asked], DIRECTORY)
    assert raised.value.where == "--with"


def test_addresses_end_with_the_network() -> None:
    full = with_added({}, [f"c{number}:5" for number in range(48)], DIRECTORY)
    assert world_with(full).nodes[-1].address == "127.10.10.253"
    assert with_added(full, ["last"], DIRECTORY)["last"] == 1
    with pytest.raises(InvalidInput, match="no address left for last:2"):
        with_added(full, ["last:2"], DIRECTORY)


def test_added_nodes_sockets_fit_into_their_paths() -> None:
    name = "a" * 40
    fits = "/" + "d" * (107 - 1 - len(f"/{name}-5/run/.s.PGSQL.5432.lock"))
    [node, *_] = world_with(with_added({}, [f"{name}:5"], Path(fits)), fits).members(name)
    assert len(str(node.socket_directory / ".s.PGSQL.5432.lock")) == 107
    with pytest.raises(InvalidInput, match="too long a name"):
        with_added({}, [name], Path(fits + "d"))


def test_added_nodes_have_programs_directories_and_hosts_like_all_others() -> None:
    one = world_with({"pg-meta2": 2})
    programs = [
        section for section in ini(render.supervisor_config(one)).sections() if section.startswith("program:")
    ]
    assert programs[-2:] == ["program:pg-meta2-1", "program:pg-meta2-2"]
    assert ini(render.supervisor_config(one))["program:pg-meta2-2"]["autostart"] == "false"
    groups = yaml.safe_load(render.inventory(one))["all"]["children"]
    assert groups["pg-meta2"]["vars"] == {"pg_cluster": "pg-meta2"}
    roles = {address: host["pg_role"] for address, host in groups["pg-meta2"]["hosts"].items()}
    assert roles == {"127.10.10.14": "primary", "127.10.10.15": "replica"}
    for host in groups["pg-meta2"]["hosts"].values():
        assert host.keys() == groups["pg-test"]["hosts"]["127.10.10.12"].keys()
    for node in one.members("pg-meta2"):
        made = {path for path in render.directories(one) if node.directory in (path, *path.parents)}
        own = {node.socket_directory, node.log_directory, node.spool_directory, node.lock_directory}
        assert made == {node.directory, *own}
        assert "stanza=pg-meta2\n" in render.wrappers(one, node)["pb"]


def test_added_clusters_are_remembered_and_older_records_have_none(tmp_path: Path) -> None:
    record = Record.of(world_with({"pg-meta2": 1, "pg-dev": 2}), complete=True)
    write_record(tmp_path / "new.json", record)
    assert read_record(tmp_path / "new.json") == record
    (tmp_path / "old.json").write_text(
        '{"home": "/h", "directory": "/d", "network": "127.10.10", "user": "postgres", "pg_version": 15}'
    )
    old = read_record(tmp_path / "old.json")
    assert old is not None and old.added == {}


def test_patroni_runs_on_an_added_node_only_once_it_has_configuration_and_data(tmp_path: Path) -> None:
    """With its configuration and no data it would make a cluster of its own there."""
    one = world_with({"pg-meta2": 2}, str(tmp_path))
    first, second = one.members("pg-meta2")
    assert occupied(one, "pg-test") == one.members("pg-test")
    for node in (first, second):
        (node.data_directory / "global").mkdir(parents=True)
    first.patroni_config.touch()
    (second.data_directory / "global/pg_control").touch()
    assert occupied(one, "pg-meta2") == ()
    (first.data_directory / "global/pg_control").touch()
    assert occupied(one, "pg-meta2") == (first,)


def test_sandbox_with_empty_nodes_is_up() -> None:
    programs = (ProgramState("etcd", "RUNNING", 1, 1), ProgramState("pg-meta2-1", "STOPPED", None, 0))
    seen = SandboxStatus(programs=programs, clusters={}, missing={}, empty={"pg-meta2": ("pg-meta2-1",)})
    assert seen.is_up
    assert not replace(seen, empty={}).is_up


@pytest.mark.parametrize(
    ("role", "state", "lack"),
    [
        ("standby_leader", "streaming", None),
        ("standby_leader", "in archive recovery", None),
        ("standby_leader", "starting", "pg-test-1 is starting"),
        ("leader", "in archive recovery", "pg-test-1 is in archive recovery"),
    ],
)
def test_leader_of_a_standby_cluster_may_follow_by_the_archive(
    role: str, state: str, lack: str | None
) -> None:
    document = cluster_document()
    document["members"][0] |= {"role": role, "state": state}
    assert no_leader(parse_cluster(document)) == lack
