"""The same servers, reached by SSH through a network that can be cut node by node."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from controller import Controller
from member import SOURCE, TARGET
from scenario import Scenario
from test_5_killed import _replaying, _restoring
from world import World

from sshd import Relay, Sshd, running_sshd

FROM = ("--from", SOURCE)
CUT_SECONDS = 8.0
UNREACHABLE = 5


@dataclass(frozen=True, slots=True)
class Network:
    """One sshd, and a relay to it for every node; `inventory` is the sandbox's, by SSH."""

    sshd: Sshd
    inventory: Path
    relays: dict[str, Relay]

    def cut(self, *members: str) -> None:
        for member in members:
            self.relays[member].cut()

    def mend(self) -> None:
        for relay in self.relays.values():
            relay.mend()


@pytest.fixture(scope="module")
def network(world: World) -> Iterator[Network]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sshd = stack.enter_context(running_sshd(directory))
        relays = {}
        tree = json.loads(json.dumps(world.tree))
        # A cut is noticed after 2 to 3 s, so that the test need not take long.
        tree["all"]["vars"] |= {
            "ansible_connection": "ssh",
            "ansible_ssh_common_args": f"-F {directory}/ssh_config -o ConnectTimeout=2",
            "ansible_ssh_extra_args": "-o ServerAliveInterval=1 -o ServerAliveCountMax=2",
        }
        for cluster in tree["all"]["children"].values():
            if "pg_cluster" not in cluster.get("vars", {}):
                continue
            for host in cluster["hosts"].values():
                name = f"{cluster['vars']['pg_cluster']}-{host['pg_seq']}"
                relays[name] = Relay(sshd.port)
                stack.callback(relays[name].close)
                host["ansible_host"] = f"{name}.ssh"
        sshd.configure({f"{name}.ssh": relay.port for name, relay in relays.items()})
        inventory = directory / "pigsty.yml"
        inventory.write_text(yaml.safe_dump(tree))
        yield Network(sshd, inventory, relays)


@pytest.fixture(autouse=True)
def no_cut_is_left(network: Network) -> Iterator[None]:
    yield
    network.mend()


def start(world: World, network: Network, *options: str) -> Controller:
    return world.start(
        "reset", TARGET, *FROM, *options, "--inventory", str(network.inventory), "--yes", "--output=json"
    )


@pytest.mark.parametrize("moment", [_restoring, _replaying], ids=["during the restore", "during the replay"])
def test_a_network_that_is_cut_for_a_while_does_not_end_a_reset(
    world: World,
    scenario: Scenario,
    network: Network,
    controllers: list[Controller],
    moment: Callable[[Controller], bool],
) -> None:
    taken = world.archived_timelines(TARGET) | world.archived_timelines(SOURCE)
    controller = start(world, network, "--time", scenario.late.time, "--set", scenario.backups[0])
    controllers.append(controller)
    controller.wait_for(lambda: moment(controller), "the moment to cut the network")
    network.cut(*network.relays)
    threading.Timer(CUT_SECONDS, network.mend).start()
    output = controller.wait()
    assert controller.process.returncode == 0, output
    events = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    lost = {each["node"] for each in events if each.get("event") == "node_lost"}
    back = {each["node"] for each in events if each.get("event") == "node_back"}
    assert lost and lost == back, output
    assert world.state_of(controller.run()) == "finished"
    assert world.assert_cluster_whole(rows=scenario.late.rows, archiving=False) > max(taken)


def test_a_node_that_is_down_is_named_before_anything_is_touched(
    world: World, scenario: Scenario, network: Network
) -> None:
    network.cut("pg-test-2")
    with world.nothing_changes():
        result = world.pgdolly(
            "reset", TARGET, *FROM, "--check", "-i", str(network.inventory), status=UNREACHABLE
        )
    assert "pg-test-2.ssh cannot be reached by SSH" in result.stderr
    assert f"ssh -F {network.sshd.directory}/ssh_config" in result.stderr


def test_the_commands_that_only_look_work_by_ssh(
    world: World, scenario: Scenario, network: Network, whole_target: None
) -> None:
    by_ssh = ("--inventory", str(network.inventory), "--output=json")
    before = network.sshd.logins

    def members(*options: str) -> list[tuple[str, ...]]:
        """What does not change from one look to the next, as the lag does."""
        [cluster] = json.loads(world.pgdolly("status", TARGET, *options).stdout)["clusters"]
        stable = ("name", "role", "archive_mode", "postgres_version", "problem")
        return [tuple(str(member[name]) for name in stable) for member in cluster["members"]]

    assert members(*by_ssh) == members("--output=json")
    assert network.sshd.logins == before + 3
