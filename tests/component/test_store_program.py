"""What is written into Patroni's store is there in the end, or the program on the node fails and says what is not.

Patroni's methods swallow the errors of a store: they log them and return False. The library here does the same; its
store is a file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pgdolly.drivers.node_program import program_source

NOBODY = "9223372036854775807"

CONFIG = """
import os

import yaml


class Config:
    local_configuration = {"bootstrap": {"dcs": {"ttl": 30}}}

    def __init__(self, path, validator=None):
        self.path = path or yaml.safe_load(os.environ.pop("PATRONI_CONFIGURATION"))["store"]
"""
DCS = """
import json
from types import SimpleNamespace as Value

class Store:
    def __init__(self, path):
        self.path = path

    def _read(self):
        with open(self.path) as text:
            return json.load(text)

    def _write(self, method, **entries):
        found = self._read()
        if method in found["fails"]:
            return False
        # Patroni 4.0 returns nothing where 4.1 returns True.
        with open(self.path, "w") as text:
            json.dump({**found, **entries}, text)

    def get_cluster(self):
        found = self._read()
        name = found.get("leader")
        config, history = found.get("config"), found.get("history")
        return Value(
            initialize=found.get("initialize"),
            leader=name and Value(name=name),
            config=None if config is None else Value(data=config),
            history=history and Value(lines=json.loads(history)),
            status=Value(last_lsn=found.get("status", 0)),
            failsafe=found.get("failsafe"),
            failover=None if not found.get("failover") else Value(leader=found["failover"], candidate=None),
            sync=Value(is_empty=not found.get("sync")),
            members=[Value(name=each, conn_url=None) for each in found.get("members", ())],
            is_empty=lambda: not {"initialize", "config", "history"} & set(found),
        )

    def initialize(self, create_new=True, sysid=""):
        return self._write("initialize", initialize=sysid)

    def cancel_initialization(self):
        return self._write("cancel_initialization", initialize=None)

    def delete_leader(self, leader):
        return self._write("delete_leader", leader=None)

    def set_history_value(self, value):
        return self._write("set_history_value", history=value)

    def write_status(self, value):
        return self._write("write_status", status=value["optime"])

    def write_failsafe(self, value):
        return self._write("write_failsafe", failsafe=value)

    def delete_sync_state(self):
        return self._write("delete_sync_state", sync=None)

    def manual_failover(self, leader, candidate):
        return self._write("manual_failover", failover=None)

    def set_config_value(self, value):
        return self._write("set_config_value", config=json.loads(value))

    def delete_cluster(self):
        return self._write("delete_cluster", initialize=None, leader=None, config=None)


def get_dcs(config):
    return Store(config.path)
"""
FORMER = {
    "initialize": "4711",
    "leader": "pg-test-1",
    "config": {"ttl": 20, "pause": True},
    "history": '[[1, 25623960, "no recovery target specified"]]',
    "status": 67393608,
    "failsafe": {"pg-test-1": "http://127.0.0.1:8008/patroni"},
    "failover": "pg-test-1",
    "sync": {"leader": "pg-test-1"},
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "fence": {},
    "reset": {},
    "begin": {},
    "look": {},
    "found": {"standby_cluster": {"host": "10.0.0.1"}, "system_identifier": 4712},
    "remove": {"members": []},
}


def store(
    tmp_path: Path, action: str, held: dict[str, Any], *fails: str, drafted: bool = False
) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Run the program; return it, and what the store holds afterwards.

    :param drafted: the configuration that leads to the store is on no node yet.
    """
    library = tmp_path / "library" / "patroni"
    (library / "dcs").mkdir(parents=True)
    (library / "__init__.py").touch()
    (library / "config.py").write_text(CONFIG)
    (library / "dcs" / "__init__.py").write_text(DCS)
    entries = tmp_path / "store.json"
    entries.write_text(json.dumps({**held, "fails": fails}))
    # What the program waits for a store that is behind is not waited for here.
    source = program_source("store").replace("SETTLE_SECONDS = 10", "SETTLE_SECONDS = 0.1")
    path = entries
    if drafted:
        path, source = tmp_path / "nowhere.yml", f"SECRETS = {{'store': {str(entries)!r}}}\n{source}"
    arguments = {"patroni_config": str(path), "action": action, **ARGUMENTS[action]}
    done = subprocess.run(
        [sys.executable, "-", json.dumps(arguments)],
        input=source,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(library.parent)},
    )
    after = json.loads(entries.read_text())
    return done, after


def test_a_fence_stands(tmp_path: Path) -> None:
    done, after = store(tmp_path, "fence", FORMER)
    assert done.returncode == 0, done.stderr
    assert after["initialize"] == NOBODY


def test_a_reset_leaves_nothing_of_the_former_life_but_the_configuration(tmp_path: Path) -> None:
    done, after = store(tmp_path, "reset", FORMER)
    assert done.returncode == 0, done.stderr
    assert after["config"] == {"ttl": 20}
    assert (after["initialize"], after["history"], after["status"]) == (None, "[]", 0)
    assert not after["sync"] and not after["failover"] and not after["failsafe"]


def test_a_standby_cluster_is_begun(tmp_path: Path) -> None:
    done, after = store(tmp_path, "found", {})
    assert done.returncode == 0, done.stderr
    assert after["initialize"] == "4712"
    assert after["config"] == {"ttl": 30, "standby_cluster": {"host": "10.0.0.1"}}


STALE = {**FORMER, "leader": None}
"""A former cluster's: nobody keeps its entries up any more."""


@pytest.mark.parametrize("action", ["begin", "found"])
@pytest.mark.parametrize("held", [{}, STALE], ids=["an empty store", "a former life"])
def test_a_new_cluster_takes_nothing_from_a_former_one_of_its_name(
    tmp_path: Path, action: str, held: dict[str, Any]
) -> None:
    done, after = store(tmp_path, action, held)
    assert done.returncode == 0, done.stderr
    standby = {"standby_cluster": {"host": "10.0.0.1"}} if action == "found" else {}
    assert after["config"] == {"ttl": 30, **standby}
    assert after["initialize"] == ("4712" if action == "found" else None)
    assert (after["history"], after["status"]) == ("[]", 0)
    assert not after.get("sync") and not after.get("failover") and not after["failsafe"]


@pytest.mark.parametrize("action", ["begin", "found"])
@pytest.mark.parametrize("alive", [{"leader": "there-1"}, {"members": ["there-1"]}])
def test_a_cluster_that_lives_is_not_begun_anew(tmp_path: Path, action: str, alive: dict[str, Any]) -> None:
    done, after = store(tmp_path, action, {**STALE, **alive})
    assert done.returncode != 0 and "there-1" in done.stderr and "Traceback" not in done.stderr
    assert after == {**STALE, **alive, "fails": []}


def test_a_store_is_looked_into_by_a_configuration_that_is_on_no_node(tmp_path: Path) -> None:
    done, _ = store(tmp_path, "look", {**FORMER, "members": ["pg-test-1"]}, drafted=True)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert (seen["leader"], list(seen["members"]), seen["empty"]) == ("pg-test-1", ["pg-test-1"], False)


@pytest.mark.parametrize(
    ("action", "method", "entry"),
    [
        ("fence", "initialize", "initialize"),
        ("reset", "cancel_initialization", "initialize"),
        ("reset", "set_history_value", "history"),
        ("reset", "write_status", "status"),
        ("reset", "write_failsafe", "failsafe"),
        ("reset", "delete_sync_state", "sync"),
        ("reset", "manual_failover", "failover"),
        ("reset", "set_config_value", "config"),
        ("begin", "set_config_value", "config"),
        ("found", "set_config_value", "config"),
        ("found", "initialize", "initialize"),
        ("remove", "delete_cluster", "refused"),
    ],
)
def test_a_write_that_the_store_did_not_take_fails(
    tmp_path: Path, action: str, method: str, entry: str
) -> None:
    done, _ = store(tmp_path, action, STALE if action in ("begin", "found") else FORMER, method)
    assert done.returncode != 0, done.stdout
    assert entry in done.stderr and "Traceback" not in done.stderr


def test_a_leader_whose_key_is_not_this_nodes_to_delete_is_no_failure(tmp_path: Path) -> None:
    """It goes by itself, with the time that it has to live."""
    done, _ = store(tmp_path, "reset", FORMER, "delete_leader")
    assert done.returncode == 0, done.stderr
