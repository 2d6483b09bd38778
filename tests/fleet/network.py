"""The network: a namespace with a bridge, one namespace for each node, one for the controller.

Links are made inside the namespaces, none in this machine's own: nothing here can meet what else runs on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fleet.layout import CONTROLLER_ADDRESS, OBJECTS_ADDRESS, PREFIX, NodePlan, Place
from fleet.running import run

BRIDGE = "bridge"
CONTROLLER_PORT = "controller"
NAMESPACES = Path("/run/netns")


def make(place: Place, nodes: Sequence[NodePlan]) -> None:
    """Make namespaces, bridge and links; those that are there stay."""
    fleet = place.fleet_namespace
    if not exists(fleet):
        _add_namespace(fleet)
        _ip(fleet, "link", "add", BRIDGE, "type", "bridge")
        _ip(fleet, "address", "add", f"{OBJECTS_ADDRESS}/{PREFIX}", "dev", BRIDGE)
        _ip(fleet, "link", "set", BRIDGE, "up")
    _join(place, place.controller_namespace, CONTROLLER_PORT, CONTROLLER_ADDRESS)
    for node in nodes:
        _join(place, place.namespace(node.name), node.name, node.address)


def plug(place: Place, port: str) -> None:
    """Take a link of the bridge up: a node's name, or CONTROLLER_PORT."""
    _ip(place.fleet_namespace, "link", "set", port, "up")


def pull(place: Place, port: str) -> None:
    """Take a link of the bridge down. Nobody is told: packets are lost, as with a pulled cable."""
    _ip(place.fleet_namespace, "link", "set", port, "down")


def is_plugged(place: Place, port: str) -> bool:
    flags = _ip(place.fleet_namespace, "-o", "link", "show", port).partition("<")[2].partition(">")[0]
    return "UP" in flags.split(",")


def exists(namespace: str) -> bool:
    return (NAMESPACES / namespace).exists()


def remove(place: Place) -> None:
    """Remove the fleet's namespaces, and with them their links."""
    for namespace in place.namespaces:
        if exists(namespace):
            run(["ip", "netns", "delete", namespace], what=f"removing the namespace {namespace}")


def _join(place: Place, namespace: str, port: str, address: str) -> None:
    if exists(namespace):
        return
    _add_namespace(namespace)
    fleet = place.fleet_namespace
    _ip(fleet, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace)
    _ip(fleet, "link", "set", port, "master", BRIDGE, "up")
    _ip(namespace, "address", "add", f"{address}/{PREFIX}", "dev", "eth0")
    _ip(namespace, "link", "set", "eth0", "up")


def _add_namespace(name: str) -> None:
    run(["ip", "netns", "add", name], what=f"adding the namespace {name}")
    _ip(name, "link", "set", "lo", "up")


def _ip(namespace: str, *arguments: str) -> str:
    return run(["ip", "-n", namespace, *arguments], what=f"setting up the network of {namespace}")
