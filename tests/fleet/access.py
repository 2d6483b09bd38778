"""How the controller gets onto nodes: a key, the nodes' host keys, and an ssh configuration that knows both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fleet.layout import ADMIN, NodePlan, Place
from fleet.running import run


def private_key(place: Place) -> Path:
    return place.controller / "id_ed25519"


def public_key(place: Place) -> str:
    return private_key(place).with_suffix(".pub").read_text()


def known_hosts(place: Place) -> Path:
    return place.controller / "known_hosts"


def ssh_config(place: Place) -> Path:
    return place.controller / "ssh_config"


def ssh_arguments(place: Place) -> tuple[str, ...]:
    """What makes ssh trust these nodes, and nothing of the caller's own."""
    return (
        *("-o", f"UserKnownHostsFile={known_hosts(place)}"),
        *("-o", "GlobalKnownHostsFile=/dev/null"),
        *("-o", "StrictHostKeyChecking=yes"),
        *("-o", "IdentitiesOnly=yes"),
    )


def make_controller_key(place: Place) -> None:
    place.controller.mkdir(parents=True, exist_ok=True)
    place.controller.chmod(0o700)
    _make_key(private_key(place), f"controller of fleet {place.name}")


def make_host_key(place: Place, node: NodePlan) -> None:
    """Give a node, whose root is mounted, a host key of its own."""
    _make_key(_host_key(place, node), node.name)


def write_controller_files(place: Place, nodes: Sequence[NodePlan]) -> None:
    """Write known_hosts and ssh_config, once the nodes have their keys."""
    keys = {
        node: " ".join(_host_key(place, node).with_suffix(".pub").read_text().split()[:2]) for node in nodes
    }
    known_hosts(place).write_text(
        "".join(f"{node.address},{node.name} {key}\n" for node, key in keys.items())
    )
    options = "\n".join(
        f"    {option.replace('=', ' ', 1)}" for option in ssh_arguments(place) if option != "-o"
    )
    everywhere = f"Host *\n    User {ADMIN}\n    IdentityFile {private_key(place)}\n{options}\n"
    named = "".join(f"Host {node.name}\n    HostName {node.address}\n" for node in nodes)
    ssh_config(place).write_text(named + everywhere)


def _host_key(place: Place, node: NodePlan) -> Path:
    return place.root(node.name) / "etc/ssh/ssh_host_ed25519_key"


def _make_key(path: Path, comment: str) -> None:
    if not path.exists():
        run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)],
            what=f"making the key {path}",
        )
