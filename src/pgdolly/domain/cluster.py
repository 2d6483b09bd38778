"""Clusters, their members and the nodes that these live on, as the inventory names them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath

from pgdolly.domain.errors import InvalidInput
from pgdolly.domain.repository import RepositorySettings, UnusableRepository
from pgdolly.domain.secret import Secret


class ServiceManager(StrEnum):
    """What keeps Patroni running on a node."""

    SYSTEMD = "systemd"
    SUPERVISOR = "supervisor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A machine (or what stands for one) and how its shell is reached.

    `address` is where the node's servers listen; `connection` is Ansible's word: `local` or `ssh`.
    `login_refusal` says what the inventory asks of the login that pgdolly does not do.
    """

    name: str
    address: str
    connection: str = "ssh"
    login_user: str | None = None
    login_port: int | None = None
    identity_file: str | None = None
    ssh_arguments: tuple[str, ...] = ()
    login_refusal: str | None = None

    def shares_machine(self, other: Node) -> bool:
        """Whether both are one machine: this one, or one with this address."""
        return self.connection == other.connection == "local" or self.address == other.address


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One PostgreSQL of a cluster, with what the inventory says of it. Paths are the node's."""

    name: str  # Pigsty's instance name: pg-test-1
    cluster: str
    sequence: int
    role: str
    node: Node
    dbsu: str = "postgres"
    port: int = 5432
    patroni_port: int = 8008
    data_directory: PurePosixPath = PurePosixPath("/pg/data")
    bin_directory: PurePosixPath | None = None
    patroni: str = "patroni"
    patroni_config: PurePosixPath = PurePosixPath("/etc/patroni/patroni.yml")
    pgbackrest_config: PurePosixPath | None = None
    service_manager: ServiceManager | None = None  # None: not said, and not asked of the node yet
    service: str = "patroni"
    service_enabled: bool = False  # started when its node boots; found on the node
    supervisor_config: PurePosixPath | None = None

    @property
    def work_directory(self) -> PurePosixPath:
        """Where pgdolly keeps its jobs, spool, locks and sockets on the node: beside the data directory."""
        return self.data_directory.parent / "pgdolly"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A Patroni cluster: its members in the order of `pg_seq`.

    `named_repository` and `named_passwords` are what the inventory says; ask :attr:`repository` and
    :attr:`passwords` for it. `upstream` and `delay` make a standby cluster of one that is going to be cloned.
    """

    name: str
    members: tuple[Member, ...]
    version: int | None = None
    upstream: str | None = None
    delay: str | None = None
    named_passwords: tuple[tuple[str, Secret | str], ...] = ()
    named_repository: RepositorySettings | UnusableRepository | None = None
    parameters: dict[str, object] = field(default_factory=dict, compare=False, hash=False)

    @property
    def repository(self) -> RepositorySettings | None:
        """The repository that the inventory names; None if it names none.

        :raises InvalidInput: if what it names cannot be used: a template that nobody filled in, say.
        """
        if isinstance(self.named_repository, UnusableRepository):
            raise InvalidInput(
                f"the inventory's repository of {self.name} cannot be used: {self.named_repository.reason}",
                where=self.name,
                untouched="nothing was changed",
                next_command=self.named_repository.next_command,
            )
        return self.named_repository

    @property
    def passwords(self) -> dict[str, Secret]:
        """The passwords that the inventory gives to Patroni's roles, by Patroni's names of these.

        :raises InvalidInput: if one cannot be used: a template that nobody filled in, say.
        """
        for _, found in self.named_passwords:
            if isinstance(found, str):
                raise InvalidInput(found, where=self.name, untouched="nothing was changed")
        return {role: found for role, found in self.named_passwords if isinstance(found, Secret)}

    def member(self, name: str) -> Member:
        """:raises KeyError: if the cluster has no such member."""
        for member in self.members:
            if member.name == name:
                return member
        raise KeyError(name)
