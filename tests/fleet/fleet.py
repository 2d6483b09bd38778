"""The fleet, as tests use it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from fleet import (
    access,
    base,
    clusters,
    disk,
    host,
    inventory,
    machine,
    network,
    node_files,
    objects,
    processes,
    store,
)
from fleet.layout import DBSU, STORE_ADDRESS, NodePlan, Place, Plan
from fleet.running import FleetError, run, side_by_side, wait_for

WHOLE_SECONDS = 90.0
COMMAND_SECONDS = 60.0


def _silent(_: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a fleet that stands."""

    place: Place
    plan: NodePlan

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def address(self) -> str:
        return self.plan.address

    @property
    def cluster(self) -> str:
        return self.plan.cluster

    @property
    def root(self) -> Path:
        """Its / as this machine sees it."""
        return self.place.root(self.name)

    @property
    def pg(self) -> Path:
        """Its /pg as this machine sees it."""
        return self.place.pg(self.name)

    @property
    def console(self) -> Path:
        """Its console and journal, since the fleet is up."""
        return self.place.console(self.name)

    @property
    def pid(self) -> int | None:
        """The process that is its process 1; None if it is off."""
        return processes.leader(self.place.name, self.name)


@dataclass(frozen=True, slots=True)
class Fleet:
    """A fleet that stands, or stood when it was opened."""

    place: Place
    plan: Plan

    @classmethod
    def open(cls, place: Place | None = None) -> Fleet:
        """Open the fleet that `up` has made.

        :raises FleetError: if there is none, or `up` did not get through.
        """
        place = place or Place.of_environment()
        if not place.asked.exists():
            raise FleetError(f"no fleet {place.name} in {place.directory}. Type: tests/fleet/fleet up")
        if not place.stands.exists():
            raise FleetError(
                f"the fleet in {place.home} did not get up. Type: tests/fleet/fleet down, and then up"
            )
        written = json.loads(place.asked.read_text())
        return cls(place, Plan(**(written | {"extra": tuple(written["extra"])})))

    @classmethod
    def up(
        cls, plan: Plan | None = None, *, place: Place | None = None, say: Callable[[str], None] = _silent
    ) -> Fleet:
        """Make the fleet, with all clusters running, streaming and backed up. One that stands is taken as it is.

        :param say: told what takes how long.
        :raises FleetError: if it cannot be made; if one stands that is ill, or another one than `plan`.
        """
        plan, place = plan or Plan(), place or Place.of_environment()
        host.prepare(objects=plan.repository == "s3", say=say)
        if place.asked.exists():
            fleet = cls.open(place)
            if fleet.plan != plan:
                raise FleetError(
                    f"a fleet stands in {place.home}, but another one: {fleet.plan}. "
                    "Type: tests/fleet/fleet down, and then up"
                )
            if ills := fleet.ills():
                raise FleetError(
                    "\n".join(("the fleet stands, but is not well:", *ills))
                    + "\nType: tests/fleet/fleet down, and then up (or boot a node that is off, mend what is cut)"
                )
            say("it stands already, and is well")
            return fleet
        disk.ensure_plain(place.directory)
        tree = base.ensure(place, plan.postgres, say)
        take_down(place)
        place.home.mkdir(parents=True, exist_ok=True)
        place.asked.write_text(json.dumps(asdict(plan)))
        begun = time.monotonic()

        def took(what: str) -> None:
            say(f"{time.monotonic() - begun:5.1f} s  {what}")

        cls(place, plan)._make(tree, took)
        place.stands.touch()
        took("all is up")
        return cls(place, plan)

    def _make(self, tree: Path, took: Callable[[str], None]) -> None:
        place, plan = self.place, self.plan
        access.make_controller_key(place)
        place.repository.mkdir()
        os.chown(place.repository, *node_files.account(tree, DBSU))
        authority = objects.make_certificates(place) if plan.repository == "s3" else None
        for node in plan.nodes:
            place.node(node.name).mkdir(parents=True)
            machine.mount(place, node, tree)
            node_files.write(place, plan, node, authority)
            access.make_host_key(place, node)
        access.write_controller_files(place, plan.nodes)
        place.inventory.write_text(inventory.pigsty(place, plan))
        network.make(place, plan.nodes)
        if plan.repository == "s3":
            objects.start(place)
        took("nodes are laid out")
        for node in plan.nodes:
            machine.start(place, node)
        side_by_side(*(lambda node=node: machine.wait_until_up(place, node) for node in plan.nodes))
        took("nodes are booted")
        store.start(place, next(node for node in plan.nodes if node.address == STORE_ADDRESS))
        took("etcd runs")
        side_by_side(
            *(
                lambda members=members: clusters.bootstrap(place, members, took)
                for members in plan.clusters.values()
            )
        )

    def down(self, *, purge: bool = False) -> None:
        take_down(self.place, purge=purge)

    @property
    def inventory(self) -> Path:
        return self.place.inventory

    @property
    def ssh_config(self) -> Path:
        return access.ssh_config(self.place)

    @property
    def nodes(self) -> dict[str, Node]:
        return {node.name: Node(self.place, node) for node in self.plan.nodes}

    @property
    def controller_prefix(self) -> list[str]:
        """The words that, put before a command, run it where the controller is."""
        return ["ip", "netns", "exec", self.place.controller_namespace]

    def repository(self, cluster: str) -> Path:
        """Where the posix repository of a cluster's stanza lies: all clusters' are in one directory."""
        if self.plan.repository != "posix":
            raise FleetError(
                f"the repository of {cluster} is no directory: this fleet's is {self.plan.repository}"
            )
        if cluster not in {node.cluster for node in self.plan.nodes}:
            raise FleetError(f"no cluster {cluster} in this fleet")
        return self.place.repository

    def exec(
        self,
        node: str,
        *argv: str,
        user: str = DBSU,
        stdin: str | None = None,
        timeout: float = COMMAND_SECONDS,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a node, through its namespaces and not by ssh. It may fail: look at `returncode`.

        :param timeout: seconds.
        :raises FleetError: if the node is off, or the command is not done in time.
        """
        return machine.enter(
            self.place, self.planned(node), argv, user=user, stdin=stdin, deadline_seconds=timeout
        )

    def power_off(self, node: str) -> None:
        """Pull a node's plug."""
        machine.kill(self.place, self.planned(node))

    def boot(self, node: str) -> None:
        """Start a node that is off on the disks that it had, and wait until all that starts by itself has."""
        planned = self.planned(node)
        if machine.is_on(self.place, planned):
            raise FleetError(f"{node} is on")
        machine.start(self.place, planned)
        machine.wait_until_up(self.place, planned)

    def cut(self) -> None:
        """Cut the controller's network."""
        network.pull(self.place, network.CONTROLLER_PORT)

    def mend(self) -> None:
        """Undo `cut`."""
        network.plug(self.place, network.CONTROLLER_PORT)

    def wait_until_whole(self, cluster: str, *, timeout: float = WHOLE_SECONDS) -> None:
        """Wait until one member leads and all others stream from it.

        :raises FleetError: after `timeout` seconds, with what was missing.
        """
        members = self.plan.clusters[cluster]
        wait_for(
            f"{cluster}: whole", lambda: clusters.not_whole(self.place, members), deadline_seconds=timeout
        )

    def ills(self) -> list[str]:
        """What is not as `up` leaves it: a line each."""
        if not network.exists(self.place.fleet_namespace):
            return ["all of it is off, as if this machine had been started anew"]
        found = [f"{node.name} is off" for node in self.nodes.values() if node.pid is None]
        if not network.is_plugged(self.place, network.CONTROLLER_PORT):
            found.append("the controller's network is cut")
        if self.plan.repository == "s3" and (silent := objects.silent(self.place)):
            found.append(silent)
        for name, members in self.plan.clusters.items():
            if (lack := clusters.not_whole(self.place, members)) is not None:
                found.append(f"{name}: {lack}")
        return found

    def planned(self, name: str) -> NodePlan:
        """Return a node as it was planned.

        :raises FleetError: naming those that there are, if there is none of this name.
        """
        for node in self.plan.nodes:
            if node.name == name:
                return node
        raise FleetError(f"no node {name}: there are {', '.join(node.name for node in self.plan.nodes)}")


def take_down(place: Place, *, purge: bool = False) -> list[Path]:
    """End all that runs for a fleet, whole or not, and remove all that it has.

    :param purge: also the bases that nobody stands on.
    :return: what stays of what was to be purged, as other fleets stand on it.
    """
    _remains(place)
    if place.home.exists():
        shutil.rmtree(place.home)
    with suppress(OSError):
        place.home.parent.rmdir()
    stay: list[Path] = []
    if purge and place.directory.exists():
        stay = base.purge(place)
        if not stay and not place.home.parent.exists():
            for entry in place.directory.glob("s3rver-*"):
                shutil.rmtree(entry)
            disk.release_plain(place.directory)
            with suppress(OSError):  # somebody has put something of their own there
                place.directory.rmdir()
    return stay


def _remains(place: Place) -> None:
    """End processes, unmount, and remove namespaces: all but the files."""
    processes.kill(place.name)
    for namespace in place.namespaces:
        _end_inside(namespace)
        machine.forget(namespace)
    disk.unmount_below(place.home)
    network.remove(place)


def _end_inside(namespace: str) -> None:
    """End what runs in a namespace: what somebody has run as the controller, and ssh's shared connections."""
    if not network.exists(namespace):
        return

    def alive() -> str | None:
        listed = run(["ip", "netns", "pids", namespace], what=f"looking into {namespace}").split()
        living = [int(pid) for pid in listed if int(pid) != os.getpid()]
        for pid in living:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return f"process {living} lives on" if living else None

    wait_for(f"ending what runs in {namespace}", alive, deadline_seconds=processes.END_SECONDS)
