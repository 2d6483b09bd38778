"""Start, enter and kill a node: systemd in a container of systemd-nspawn, with its own root, /pg and network."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from fleet import disk, network, processes
from fleet.layout import NodePlan, Place
from fleet.running import FleetError, attempt, wait_for

BOOT_SECONDS = 60.0
HOMES = {"root": "/root", "postgres": "/var/lib/postgresql", "admin": "/home/admin", "etcd": "/var/lib/etcd"}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NSPAWN_LEAVES = tuple(Path("/run/systemd/nspawn") / kind for kind in ("propagate", "unix-export"))


def start(place: Place, node: NodePlan) -> None:
    """Start a node whose root is mounted, and do not wait for it."""
    name = node.name
    network.plug(place, name)
    argv = [
        "systemd-nspawn",
        "--quiet",
        "--boot",
        "--settings=no",
        f"--directory={place.root(name)}",
        f"--machine={place.namespace(name)}",
        f"--hostname={name}",
        f"--network-namespace-path={network.NAMESPACES / place.namespace(name)}",
        f"--bind={place.pg(name)}:/pg",
        f"--bind={place.repository}:/pg/backup",
        # Neither machined nor this machine's systemd, which may not even run, hears of it.
        "--register=no",
        "--keep-unit",
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
        "--console=pipe",
    ]
    environment = os.environ | {
        # The node's systemd accepts no other, whatever this machine mounts.
        "UNIFIED_CGROUP_HIERARCHY": "1",
        "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
        # It would leave a lock file behind when it is killed.
        "SYSTEMD_NSPAWN_LOCK": "0",
    }
    processes.start(argv, fleet=place.name, part=name, log=place.console(name), environment=environment)


def wait_until_up(place: Place, node: NodePlan) -> None:
    """Wait until systemd has started all that starts by itself.

    :raises FleetError: if it does not in time, or a unit has failed; with where to look.
    """

    def missing() -> str | None:
        if processes.leader(place.name, node.name) is None:
            return f"no systemd runs yet; {place.console(node.name)} says why"
        asked = enter(place, node, ["systemctl", "is-system-running", "--wait"], user="root")
        state = asked.stdout.strip()
        if state == "degraded":
            failed = enter(
                place, node, ["systemctl", "--failed", "--plain", "--no-legend"], user="root"
            ).stdout
            raise FleetError(f"{node.name}: units have failed, see {place.console(node.name)}:\n{failed}")
        return None if state == "running" else f"systemd says {state or asked.stderr.strip()!r}"

    wait_for(f"booting {node.name}", missing, deadline_seconds=BOOT_SECONDS)


def enter(
    place: Place,
    node: NodePlan,
    argv: Sequence[str],
    *,
    user: str,
    stdin: str | None = None,
    deadline_seconds: float = 60.0,
) -> subprocess.CompletedProcess[str]:
    """Run a command in a node, not by ssh but through its namespaces. It may fail.

    :raises FleetError: if the node is off, or the command is not done in time.
    """
    return attempt(
        (*entrance(place, node, user), *argv),
        what=f"on {node.name}",
        deadline_seconds=deadline_seconds,
        stdin=stdin,
    )


def entrance(place: Place, node: NodePlan, user: str) -> tuple[str, ...]:
    """The words that, put before a command, run it in a node."""
    leader = processes.leader(place.name, node.name)
    if leader is None:
        raise FleetError(f"{node.name} is off. Type: tests/fleet/fleet boot {node.name}")
    home = HOMES.get(user, "/")
    namespaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
    environment = (f"PATH={PATH}", f"HOME={home}", f"USER={user}", f"LOGNAME={user}", "LANG=C.UTF-8")
    return (
        *("nsenter", "--target", str(leader), *namespaces, "--root", f"--wdns={home}"),
        *("env", "-i", *environment, "runuser", "-u", user, "--"),
    )


def kill(place: Place, node: NodePlan) -> None:
    """Pull a node's plug: its network falls silent first, and then all that runs on it is gone at once.

    What it has written and not flushed is not lost, though: the page cache is this machine's.
    """
    if network.exists(place.fleet_namespace):
        network.pull(place, node.name)
    processes.kill(place.name, node.name)
    forget(place.namespace(node.name))


def forget(container: str) -> None:
    """Remove what a killed nspawn leaves behind of its container."""
    for kind in NSPAWN_LEAVES:
        disk.unmount_below(kind / container)  # newer ones mount the second
        shutil.rmtree(kind / container, ignore_errors=True)


def mount(place: Place, node: NodePlan, base: Path) -> None:
    disk.mount_overlay(base, place.node(node.name))


def is_on(place: Place, node: NodePlan) -> bool:
    return processes.leader(place.name, node.name) is not None
