"""One sandbox for all functional tests. A server that is missing fails them; nothing is skipped.

PGDOLLY_TEST_NETWORK names another loopback network than 127.10.20. With PGDOLLY_TEST_KEEP=1 the sandbox stays up
when the tests are over, and the next ones take it as they find it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("scenario", "world")

import scenario as scenario_module  # noqa: E402
from scenario import Scenario  # noqa: E402
from world import TARGET, Controller, Sandbox  # noqa: E402

NETWORK = os.environ.get("PGDOLLY_TEST_NETWORK", "127.10.20")
KEEP = os.environ.get("PGDOLLY_TEST_KEEP") == "1"
LOG_LINES = 25
UP_SECONDS = 400.0

# For the report of a failure, which is made outside every fixture.
_UP = pytest.StashKey[Sandbox]()


@pytest.fixture(scope="session")
def sandbox(pytestconfig: pytest.Config) -> Iterator[Sandbox]:
    """Two clusters, a store and a repository, taken away again whatever comes."""
    # The name is always the same, so that what a killed session has left is found and taken away.
    home = Path(tempfile.gettempdir()) / f"pgdolly-functional-{os.geteuid()}-{NETWORK}"
    home.mkdir(mode=0o700, exist_ok=True)
    assert home.lstat().st_uid == os.geteuid() and not home.is_symlink(), f"{home} is somebody else's"
    with (home / "session.lock").open("w") as lock:
        fcntl.flock(
            lock, fcntl.LOCK_EX | fcntl.LOCK_NB
        )  # fails at once if other functional tests are under way
        found = Sandbox(home, NETWORK)
        if not KEEP:
            found.pgdolly("sandbox", "down", "--purge", deadline_seconds=UP_SECONDS)
            shutil.rmtree(found.runs_directory, ignore_errors=True)
        try:
            found.pgdolly("sandbox", "up", "--network", NETWORK, deadline_seconds=UP_SECONDS)
            pytestconfig.stash[_UP] = found
            yield found
        finally:
            if not KEEP:
                found.pgdolly("sandbox", "down", "--purge", deadline_seconds=UP_SECONDS)
                shutil.rmtree(home)


@pytest.fixture(scope="session")
def scenario(sandbox: Sandbox) -> Scenario:
    """The source's history; it is quiet from then on."""
    return scenario_module.build(sandbox)


@pytest.fixture(autouse=True)
def source_untouched(sandbox: Sandbox, scenario: Scenario) -> Iterator[None]:
    """No test may leave a trace on the source's members, in its store or in its stanza."""
    before = sandbox.look_at_source()
    yield
    sandbox.assert_source_untouched(before)


@pytest.fixture(autouse=True)
def no_run_left(sandbox: Sandbox, source_untouched: None) -> Iterator[None]:
    """A test that failed must not fail the next ones by the run that it left on the target."""
    yield
    for run in sandbox.runs():
        if run["state"] in ("interrupted", "failed", "paused"):
            sandbox.pgdolly("resume", run["run_id"], "--abandon", status=None)


@pytest.fixture
def whole_target(sandbox: Sandbox) -> None:
    """A target that runs, whatever the tests before have made of it."""
    states = sorted((role, state) for role, state, _ in sandbox.view(TARGET)["members"].values())
    if states != [("leader", "running"), ("replica", "streaming"), ("replica", "streaming")]:
        sandbox.reset("--from", "pg-meta")


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
            for log in member.logs:
                lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
                if lines:
                    report.sections.append((f"the end of {log}", "\n".join(lines)))
    return report  # type: ignore[return-value]
