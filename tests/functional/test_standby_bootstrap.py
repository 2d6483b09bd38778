"""A cluster that was built as a standby cluster, and whose store has lost its configuration.

Its patroni.yml would have Patroni stream on from the former source, past the target.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml
from member import SOURCE, TARGET
from scenario import Scenario
from world import World

_WRITE = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"
_WIPE = (
    "import sys; from patroni.config import Config; from patroni.dcs import get_dcs; "
    "get_dcs(Config(sys.argv[1], validator=None)).delete_cluster()"
)


@pytest.fixture
def built_as_standby(world: World, whole_target: None) -> Iterator[None]:
    """The target's members are stopped, nothing is left of it in the store, and its patroni.yml names an upstream."""
    [source] = world.members(SOURCE)
    python, before = str(world.python_of_patroni), {}
    upstream = {"host": source.address, "port": source.port, "create_replica_methods": ["basebackup"]}
    for member in world.members(TARGET):
        world.stop_service(member)
    for member in world.members(TARGET):
        path = str(member.patroni_config)
        before[member.name] = world.as_dbsu(member, "cat", path)
        settings = yaml.safe_load(before[member.name])
        settings["bootstrap"]["dcs"]["standby_cluster"] = upstream
        world.as_dbsu(member, python, "-c", _WRITE, path, json.dumps(settings))
    world.as_dbsu(member, python, "-c", _WIPE, path)
    yield
    for member in world.members(TARGET):
        world.as_dbsu(member, python, "-c", _WRITE, str(member.patroni_config), before[member.name])


@pytest.mark.usefixtures("built_as_standby")
def test_it_does_not_follow_its_former_source(world: World, scenario: Scenario) -> None:
    world.reset("--from", SOURCE, "--time", scenario.early.time)
    world.assert_cluster_whole(rows=scenario.early.rows, archiving=False)
    configuration = world.rest(world.leader(TARGET), "config")
    assert "standby_cluster" not in configuration
    assert "archive_mode" in configuration["postgresql"]["parameters"], "the rest of it is there"
