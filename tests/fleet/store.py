"""etcd on the first node: its users and what Patroni's may do.

https://etcd.io/docs/v3.5/op-guide/authentication/rbac/
"""

from __future__ import annotations

from fleet import machine
from fleet.layout import (
    NAMESPACE,
    STORE_ADDRESS,
    STORE_PASSWORD,
    STORE_PORT,
    STORE_ROOT_PASSWORD,
    STORE_USER,
    NodePlan,
    Place,
)
from fleet.running import FleetError, wait_for

START_SECONDS = 60.0
ENDPOINT = f"http://{STORE_ADDRESS}:{STORE_PORT}"


def start(place: Place, node: NodePlan) -> None:
    """Start the store, for the first time, and close it to all but its two users."""
    _must(place, node, "systemctl", "enable", "--now", "--quiet", "etcd.service")
    wait_for("starting etcd", lambda: unhealthy(place, node), deadline_seconds=START_SECONDS)
    for words in (
        ("user", "add", f"root:{STORE_ROOT_PASSWORD}"),
        ("user", "grant-role", "root", "root"),
        ("role", "add", STORE_USER),
        ("role", "grant-permission", STORE_USER, "--prefix=true", "readwrite", f"{NAMESPACE}/"),
        ("user", "add", f"{STORE_USER}:{STORE_PASSWORD}"),
        ("user", "grant-role", STORE_USER, STORE_USER),
        ("auth", "enable"),
    ):
        _etcdctl(place, node, *words)


def unhealthy(place: Place, node: NodePlan) -> str | None:
    """Return None if etcd is healthy, else what it says."""
    asked = machine.enter(
        place, node, ["curl", "--silent", "--max-time", "2", f"{ENDPOINT}/health"], user="root"
    )
    return None if '"health":"true"' in asked.stdout else f"etcd says {asked.stdout!r}"


def _etcdctl(place: Place, node: NodePlan, *words: str) -> str:
    return _must(place, node, "env", "ETCDCTL_API=3", "etcdctl", f"--endpoints={ENDPOINT}", *words)


def _must(place: Place, node: NodePlan, *argv: str) -> str:
    done = machine.enter(place, node, argv, user="root")
    if done.returncode != 0:
        raise FleetError(f"{node.name}: {' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout
