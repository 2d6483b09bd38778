"""One world for all functional tests: a sandbox or, with --fleet, a fleet. What is missing fails them.

With `-n 3 --dist loadfile` there are three worlds, and each file's tests run in one of them. PGDOLLY_TEST_WORLD is the
number of the first one, by default 0, for whoever has other tests under way. With PGDOLLY_TEST_KEEP=1 the world stays
up when the tests are over, and the next ones take it as they find it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.register_assert_rewrite("controller", "result", "scenario", "servers", "world")

import scenario as scenario_module  # noqa: E402
from controller import Controller  # noqa: E402
from fleet_world import FleetWorld  # noqa: E402
from member import TARGET  # noqa: E402
from sandbox_world import SandboxWorld  # noqa: E402
from scenario import Scenario  # noqa: E402
from world import World  # noqa: E402

from fleet import Fleet  # noqa: E402
from fleet.layout import Place  # noqa: E402
from home import locked_home  # noqa: E402

WORLD = int(os.environ.get("PGDOLLY_TEST_WORLD", "0")) + int(
    os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
)
NETWORK = f"127.10.{20 + WORLD}"
FLEET = f"functional-{WORLD}"
KEEP = os.environ.get("PGDOLLY_TEST_KEEP") == "1"
LOG_LINES = 25

# For the report of a failure, which is made outside every fixture.
_UP = pytest.StashKey[World]()


PROJECT = Path(__file__).parents[2]
# What only one kind of world has: the sandbox is reached by ssh here and nowhere else; nodes go down on a fleet alone.
ON_A_SANDBOX = ("test_7_over_ssh.py", "test_clone_several.py")
ON_A_FLEET = ("test_9_nodes.py", "test_clone_on_nodes.py")
# The files that take minutes, the longest first.
LONGEST = (
    "test_clone.py",
    "test_9_nodes.py",
    "test_check.py",
    "test_drop.py",
    "test_4_own_history.py",
    "test_clone_on_nodes.py",
    "test_5_killed.py",
)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what is not there in this world; None leaves the question to pytest."""
    others = ON_A_SANDBOX if config.getoption("--fleet") else ON_A_FLEET
    return True if collection_path.name in others else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first, so that no worker begins one when the others are done."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def made_here(name: str, kind: Callable[[Path], World], up: pytest.Stash) -> Iterator[World]:
    """A world, taken away again whatever comes."""
    with locked_home(f"functional-{name}") as home:
        found = kind(home)
        if not KEEP:
            found.take_away()
            shutil.rmtree(found.runs_directory, ignore_errors=True)
        try:
            found.bring_up()
            up[_UP] = found
            yield found
        finally:
            if not KEEP:
                found.take_away()
                shutil.rmtree(home)


@pytest.fixture(scope="session")
def world(pytestconfig: pytest.Config) -> Iterator[World]:
    """Two clusters, empty nodes for a third one, a store and a repository."""
    if pytestconfig.getoption("--fleet"):
        place = replace(Place.of_environment(), name=FLEET)
        postgres = pytestconfig.getoption("--postgres")
        yield from made_here(
            f"fleet-{FLEET}", lambda home: FleetWorld(home, place, postgres), pytestconfig.stash
        )
    else:
        yield from made_here(NETWORK, lambda home: SandboxWorld(home, NETWORK), pytestconfig.stash)


@pytest.fixture(scope="session")
def scenario(world: World) -> Scenario:
    """The source's history; it is quiet from then on."""
    return scenario_module.build(world)


@pytest.fixture(autouse=True)
def source_untouched(world: World, scenario: Scenario) -> Iterator[None]:
    """No test may leave a trace on the source's members, in its store or in its stanza."""
    before = world.look_at_source()
    yield
    world.assert_source_untouched(before)


@pytest.fixture(autouse=True)
def no_run_left(world: World, source_untouched: None) -> Iterator[None]:
    """A test that failed must not fail the next ones by the run that it left on the target."""
    yield
    for run in world.open_runs():
        world.pgdolly("resume", run, "--abandon", status=None)


@pytest.fixture
def whole_target(world: World) -> None:
    """A target that runs, whatever the tests before have made of it."""
    states = sorted((role, state) for role, state, _ in world.view(TARGET)["members"].values())
    if states != [("leader", "running"), ("replica", "streaming"), ("replica", "streaming")]:
        world.reset("--from", "pg-meta")


@pytest.fixture
def own_backups(world: World) -> None:
    """A target whose backups work, its newest one of its present history."""
    if world.pgdolly("check", TARGET, status=None).status != 0:
        world.pgdolly("cleanup", TARGET, "--yes")


@pytest.fixture
def fleet(world: World) -> Iterator[Fleet]:
    """The fleet, with every node on and its network whole again in the end."""
    assert isinstance(world, FleetWorld)
    yield world.fleet
    world.fleet.mend()
    for name, node in world.fleet.nodes.items():
        if node.pid is None:
            world.fleet.boot(name)


@pytest.fixture
def manual_rights(fleet: Fleet) -> Iterator[None]:
    """Who logs in may do what the manual's sudoers fragment says, and no more."""
    text = (PROJECT / "docs" / "how-to" / "fleet.md").read_text()
    [fragment] = re.findall(r"```sudoers\n(.*?)```", text, re.DOTALL)
    files = {node.root / "etc/sudoers.d/admin": node for node in fleet.nodes.values()}
    before = {file: file.read_text() for file in files}
    for file in files:
        file.write_text(fragment)
    checked = fleet.exec("pg-test-1", "visudo", "-cf", "/etc/sudoers.d/admin", user="root")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    more = fleet.exec("pg-test-1", "sudo", "-n", "id", user="admin")
    assert more.returncode != 0, "the fleet's own rules are still there"
    yield
    for file, rules in before.items():
        file.write_text(rules)


@pytest.fixture
def controllers() -> Iterator[list[Controller]]:
    """Those that a test starts; none outlives it."""
    started: list[Controller] = []
    yield started
    for controller in started:
        controller.end()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Put the ends of the servers' logs into the report of a failure."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    if report.failed and (up := item.config.stash.get(_UP, None)) is not None:
        for member in up.members(TARGET):
            for name, text in up.logs(member):
                if lines := text.splitlines()[-LOG_LINES:]:
                    report.sections.append((f"the end of {name}", "\n".join(lines)))
    return report  # type: ignore[return-value]
