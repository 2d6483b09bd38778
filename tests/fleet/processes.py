"""Control groups: what runs for a fleet is found by the group that it was started in, and by nothing else.

Each node needs one of its own anyhow: systemd takes the group that it finds itself in for its whole world, and two in
one group stop each other's services. And a fleet whose controller was killed is found by them again.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from fleet.running import FleetError, wait_for

MOUNT = Path("/sys/fs/cgroup")
END_SECONDS = 20.0


def hierarchies() -> tuple[Path, ...]:
    """The mounted hierarchies in which systemd keeps its groups: one, or two on a hybrid host.

    https://systemd.io/CGROUP_DELEGATION/
    """
    if (MOUNT / "cgroup.controllers").exists():
        return (MOUNT,)
    hybrid = MOUNT / "unified", MOUNT / "systemd"
    if all((path / "cgroup.procs").exists() for path in hybrid):
        return hybrid
    raise FleetError(f"{MOUNT}: no version 2 control groups here. Nodes run systemd, which needs them")


def group(fleet: str, part: str | None = None) -> tuple[Path, ...]:
    """The group of one part of a fleet (a node, say), or the one that holds all parts."""
    return tuple(
        mount / f"fleet-{fleet}" / part if part else mount / f"fleet-{fleet}" for mount in hierarchies()
    )


def start(
    argv: Sequence[str],
    *,
    fleet: str,
    part: str,
    log: Path,
    environment: Mapping[str, str],
    namespace: str | None = None,
) -> int:
    """Start a process that outlives this one, in its group; its output goes to `log`. Returns its process id.

    :param namespace: the network namespace that it runs in; None for this process's.
    """
    groups = group(fleet, part)
    for path in groups:
        path.mkdir(parents=True, exist_ok=True)
    # The shell joins the groups and becomes the program: nothing of it ever runs outside.
    join = "".join(f'echo $$ > "{path}/cgroup.procs" && ' for path in groups)
    inside = ("ip", "netns", "exec", namespace) if namespace else ()
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f'{join}exec "$@"', "sh", *inside, *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
            cwd="/",
        )
    # It is left to run; nobody in this process will ask how it ended, `members` looks at the group.
    _STARTED.append(process)
    return process.pid


# Popen warns of a child that is forgotten while it runs; and a killed one is reaped by polling these.
_STARTED: list[subprocess.Popen[bytes]] = []


def members(fleet: str, part: str | None = None) -> list[int]:
    """The processes of a part, or of a whole fleet, that have not ended."""
    for process in _STARTED:
        process.poll()
    found: set[int] = set()
    for top in group(fleet, part):
        # os.walk passes over a group that is removed while it looks, as systemd does all the time; rglob fails.
        for directory, _, _ in os.walk(top):
            with suppress(OSError):
                listing = Path(directory) / "cgroup.procs"
                found.update(int(line) for line in listing.read_text().split())
    return sorted(pid for pid in found if pid > 0 and not _has_ended(pid))


def leader(fleet: str, part: str) -> int | None:
    """The process that is process 1 of the container that runs in this part's group; None if none runs."""
    for pid in members(fleet, part):
        ids = _status(pid, "NSpid").split()
        if len(ids) > 1 and ids[-1] == "1":
            return pid
    return None


def kill(fleet: str, part: str | None = None) -> None:
    """Kill all processes of a part, or of a whole fleet, and remove their groups.

    :raises FleetError: if one lives on.
    """

    def alive() -> str | None:
        # Again, each time: what was killed may have started another one before.
        for pid in (living := members(fleet, part)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return f"process {living} of {part or fleet} lives on" if living else None

    wait_for(f"killing what runs for {part or fleet}", alive, deadline_seconds=END_SECONDS)
    for top in group(fleet, part):
        if top.exists():
            directories = [path for path in top.rglob("*") if path.is_dir()]
            for directory in (*sorted(directories, key=lambda path: -len(path.parts)), top):
                directory.rmdir()


def _has_ended(pid: int) -> bool:
    """Whether it is gone, or a zombie that its parent has yet to reap."""
    return _status(pid, "State")[:1] in ("", "Z", "X")


def _status(pid: int, field: str) -> str:
    """Return one field of /proc/PID/status; "" if there is no such process."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return line.partition(":")[2].strip()
    return ""
