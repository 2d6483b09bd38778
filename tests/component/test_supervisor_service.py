"""Patroni's service under a real supervisord: started, stopped and asked for as the steps do it."""

from __future__ import annotations

import asyncio
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from pgdolly.domain.cluster import Member, Node, ServiceManager
from pgdolly.domain.errors import CommandFailed
from pgdolly.drivers import services
from pgdolly.transport.local import LocalShell

ACCOUNT = pwd.getpwuid(os.geteuid()).pw_name
CONFIGURATION = """\
[unix_http_server]
file={directory}/supervisor.sock

[supervisord]
logfile={directory}/supervisord.log
pidfile={directory}/supervisord.pid
nodaemon=true
user={account}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{directory}/supervisor.sock

[program:slow-to-stop]
command=sh {directory}/slow-to-stop {directory}
autostart=false
startsecs=1

[program:broken]
command=sh -c 'exit 1'
autostart=false
startsecs=1
"""
SLOW_TO_STOP = """\
trap 'sleep 0.5; touch "$1/ended"; exit 0' TERM
touch "$1/began"
while :; do sleep 0.1; done
"""


@pytest.fixture
def configuration(tmp_path: Path) -> Iterator[Path]:
    written = tmp_path / "supervisord.conf"
    written.write_text(CONFIGURATION.format(directory=tmp_path, account=ACCOUNT))
    (tmp_path / "slow-to-stop").write_text(SLOW_TO_STOP)
    process = subprocess.Popen((str(Path(sys.executable).parent / "supervisord"), "-c", str(written)))
    try:
        for _ in range(200):
            if (tmp_path / "supervisor.sock").exists():
                break
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.05)
        yield written
    finally:
        process.terminate()
        process.wait(20)


def service(configuration: Path, name: str) -> Member:
    return Member(
        name="pg-test-1",
        cluster="pg-test",
        sequence=1,
        role="primary",
        node=Node(name="node-1", address="127.0.0.1"),
        patroni=str(Path(sys.executable).parent / "patroni"),
        service_manager=ServiceManager.SUPERVISOR,
        service=name,
        supervisor_config=PurePosixPath(configuration),
    )


SHELL = LocalShell("node-1", ACCOUNT)


def test_it_is_up_when_it_was_started_and_down_when_it_was_stopped(
    configuration: Path, tmp_path: Path
) -> None:
    member = service(configuration, "slow-to-stop")

    async def live_and_die() -> None:
        assert await services.knows_service(SHELL, member)
        assert not await services.is_active(SHELL, member)
        for _ in range(2):  # what is up already is not started
            await services.start_service(SHELL, member)
            assert await services.is_active(SHELL, member)
            assert (tmp_path / "began").exists()
        for _ in range(2):
            await services.stop_service(SHELL, member)
            assert (tmp_path / "ended").exists()
            assert not await services.is_active(SHELL, member)

    asyncio.run(live_and_die())


def test_one_that_is_on_its_way_down_is_started_when_it_is_down(configuration: Path, tmp_path: Path) -> None:
    member = service(configuration, "slow-to-stop")

    async def at_once() -> None:
        await services.start_service(SHELL, member)
        stopping = asyncio.create_task(services.stop_service(SHELL, member))
        while await services.is_active(SHELL, member) and not (tmp_path / "ended").exists():
            pass
        await services.start_service(SHELL, member)
        await stopping
        assert (tmp_path / "ended").exists()
        assert await services.is_active(SHELL, member)

    asyncio.run(asyncio.wait_for(at_once(), 30))


def test_one_that_is_up_again_before_the_stop_looks_has_been_stopped(
    configuration: Path, tmp_path: Path
) -> None:
    member = service(configuration, "slow-to-stop")
    stop = services.stop_command(member)
    assert stop.stdin is not None and "POLL_SECONDS = 0.1" in stop.stdin
    seldom = replace(stop, stdin=stop.stdin.replace("POLL_SECONDS = 0.1", "POLL_SECONDS = 6"))

    async def at_once() -> None:
        await services.start_service(SHELL, member)
        stopping = asyncio.create_task(SHELL.run(seldom))
        while await services.is_active(SHELL, member) and not (tmp_path / "ended").exists():
            pass
        await services.start_service(SHELL, member)
        assert not stopping.done()
        assert (await stopping).ok
        assert await services.is_active(SHELL, member)

    asyncio.run(asyncio.wait_for(at_once(), 30))


def test_one_that_ends_at_once_is_an_error(configuration: Path) -> None:
    with pytest.raises(CommandFailed, match="start Patroni") as raised:
        asyncio.run(services.start_service(SHELL, service(configuration, "broken")))
    assert "supervisor: broken is BACKOFF: Exited too quickly" in raised.value.stderr_end


def test_one_that_supervisor_does_not_know(configuration: Path) -> None:
    member = service(configuration, "another")
    assert not asyncio.run(services.knows_service(SHELL, member))
    assert not asyncio.run(services.is_active(SHELL, member))
    with pytest.raises(CommandFailed) as raised:
        asyncio.run(services.start_service(SHELL, member))
    assert "BAD_NAME" in raised.value.stderr_end
