"""What a fleet consists of, where it lies, and its passwords: values only."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fleet.running import FleetError

RepositoryKind = Literal["posix", "s3"]

SUBNET = "10.10.10.0/24"
PREFIX = 24
CONTROLLER_ADDRESS = "10.10.10.1"
OBJECTS_ADDRESS = "10.10.10.2"
OBJECTS_NAME = "sss.fleet"
OBJECTS_PORT = 9000
STORE_ADDRESS = "10.10.10.10"
STORE_PORT = 2379
POSTGRES_PORT = 5432
PATRONI_PORT = 8008
ADMIN = "admin"
DBSU = "postgres"
NAMESPACE = "/pg"  # of Patroni in etcd, as Pigsty has it

# Roles, and who may do what. They are as secret as this file is.
STORE_ROOT_PASSWORD = "Etcd.Root"
STORE_USER, STORE_PASSWORD = "patroni", "Etcd.Patroni"
SUPERUSER_PASSWORD = "DBUser.Postgres"
REPLICATION_USER, REPLICATION_PASSWORD = "replicator", "DBUser.Replicator"
REWIND_USER, REWIND_PASSWORD = "rewinder", "DBUser.Rewinder"
REST_USER, REST_PASSWORD = "postgres", "Patroni.API"
OBJECTS_KEY, OBJECTS_SECRET, OBJECTS_BUCKET = "S3RVER", "S3RVER", "pgsql"
CIPHER_PASS = "pgBackRest.${pg_cluster}"  # Pigsty's templates fill in the cluster
OBJECTS_PATH = "/pgbackrest/${pg_cluster}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """One node.

    :param is_empty: it has packages, directories and commands, but no data and no configuration: somebody will make
        a cluster on it.
    """

    name: str
    address: str
    cluster: str
    sequence: int
    role: Literal["primary", "replica"]
    is_empty: bool = False


NODES = (
    NodePlan(name="pg-meta-1", address="10.10.10.10", cluster="pg-meta", sequence=1, role="primary"),
    NodePlan(name="pg-test-1", address="10.10.10.11", cluster="pg-test", sequence=1, role="primary"),
    NodePlan(name="pg-test-2", address="10.10.10.12", cluster="pg-test", sequence=2, role="replica"),
    NodePlan(name="pg-test-3", address="10.10.10.13", cluster="pg-test", sequence=3, role="replica"),
)
EXTRA_NODES = {
    "pg-meta2": NodePlan(
        name="pg-meta2-1",
        address="10.10.10.14",
        cluster="pg-meta2",
        sequence=1,
        role="primary",
        is_empty=True,
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What `up` is asked for.

    :param postgres: major version, a key of `base.RECIPES`.
    :param full_backups: how many a posix repository keeps of each cluster.
    :param extra: clusters of EXTRA_NODES.
    """

    postgres: int = 17
    repository: RepositoryKind = "posix"
    full_backups: int = 2
    extra: tuple[str, ...] = ()

    @property
    def nodes(self) -> tuple[NodePlan, ...]:
        return NODES + tuple(EXTRA_NODES[name] for name in self.extra)

    @property
    def clusters(self) -> dict[str, tuple[NodePlan, ...]]:
        """The clusters that `up` makes, each with its primary first."""
        named: dict[str, tuple[NodePlan, ...]] = {}
        for node in self.nodes:
            if not node.is_empty:
                named[node.cluster] = (*named.get(node.cluster, ()), node)
        return named


@dataclass(frozen=True, slots=True)
class Place:
    """Where the fleet of one name lies on this machine."""

    directory: Path  # shared by all fleets
    name: str

    @classmethod
    def of_environment(cls) -> Place:
        """Return what PGDOLLY_FLEET_DIRECTORY and PGDOLLY_FLEET_NAME say.

        :raises FleetError: if the name cannot be a part of a host's name.
        """
        directory = Path(os.environ.get("PGDOLLY_FLEET_DIRECTORY", "/var/lib/pgdolly-fleet"))
        name = os.environ.get("PGDOLLY_FLEET_NAME", "pgdolly")
        if not re.fullmatch("[a-z0-9]([a-z0-9-]*[a-z0-9])?", name):
            raise FleetError(f"PGDOLLY_FLEET_NAME is {name!r}: small letters, digits and - only")
        return cls(directory.absolute(), name)

    @property
    def home(self) -> Path:
        return self.directory / "fleets" / self.name

    @property
    def asked(self) -> Path:
        """What `up` was asked for; it is there as soon as `up` has begun."""
        return self.home / "fleet.json"

    @property
    def stands(self) -> Path:
        """Written when `up` has got through."""
        return self.home / "stands"

    @property
    def inventory(self) -> Path:
        return self.home / "pigsty.yml"

    @property
    def controller(self) -> Path:
        return self.home / "controller"

    @property
    def repository(self) -> Path:
        return self.home / "repository"

    @property
    def objects(self) -> Path:
        return self.home / "s3"

    def node(self, name: str) -> Path:
        return self.home / "nodes" / name

    def root(self, name: str) -> Path:
        """The node's / as this machine sees it, while it is mounted."""
        return self.node(name) / "root"

    def pg(self, name: str) -> Path:
        return self.node(name) / "pg"

    def console(self, name: str) -> Path:
        return self.node(name) / "console.log"

    @property
    def fleet_namespace(self) -> str:
        return f"{self.name}-fleet"

    @property
    def controller_namespace(self) -> str:
        return f"{self.name}-controller"

    def namespace(self, node: str) -> str:
        return f"{self.name}-{node}"

    @property
    def namespaces(self) -> tuple[str, ...]:
        """All that a fleet of this name can have; another fleet's may begin alike."""
        nodes = (self.namespace(node.name) for node in (*NODES, *EXTRA_NODES.values()))
        return (self.fleet_namespace, self.controller_namespace, *nodes)
