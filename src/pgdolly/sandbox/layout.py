"""What a sandbox consists of: its clusters, members, addresses, paths and ports. Pure values."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pgdolly.domain.errors import InvalidInput

DEFAULT_NETWORK = "127.10.10"
POSTGRES_PORT = 5432
PATRONI_PORT = 8008
ETCD_CLIENT_PORT = 2379
ETCD_PEER_PORT = 2380
ETCD = "etcd"

# cluster: how many members it has. The first member's address is <network>.10, as in Pigsty's sandbox.
CLUSTERS = {"pg-meta": 1, "pg-test": 3}
FIRST_HOST = 10

# sockaddr_un.sun_path holds 108 bytes with the final NUL (unix(7)). The longest path is a member's PostgreSQL
# socket; its lock file is longer still, and so is the name under which supervisord binds its own at first.
LONGEST_SOCKET_PATH = 107

# The directory's name goes unquoted into INI, YAML and shell files: a plain alphabet spares their quoting.
PLAIN_PATH = re.compile(r"/[A-Za-z0-9._/+@-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxNode:
    """One member of a sandbox cluster, with everything of its own below one directory.

    :param sequence: Pigsty's `pg_seq`, counted from 1; the first member is the one that bootstraps.
    """

    cluster: str
    sequence: int
    address: str
    directory: Path
    wrappers: Path

    @property
    def name(self) -> str:
        return f"{self.cluster}-{self.sequence}"

    @property
    def role(self) -> str:
        """Pigsty's `pg_role`: what the member was built as, not what it is now."""
        return "primary" if self.sequence == 1 else "replica"

    @property
    def data_directory(self) -> Path:
        return self.directory / "data"

    @property
    def socket_directory(self) -> Path:
        return self.directory / "run"

    @property
    def log_directory(self) -> Path:
        return self.directory / "log"

    @property
    def spool_directory(self) -> Path:
        return self.directory / "spool"

    @property
    def lock_directory(self) -> Path:
        return self.directory / "lock"

    @property
    def patroni_config(self) -> Path:
        return self.directory / "patroni.yml"

    @property
    def pgbackrest_config(self) -> Path:
        return self.directory / "pgbackrest.conf"

    @property
    def patroni_url(self) -> str:
        return f"http://{self.address}:{PATRONI_PORT}"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One sandbox.

    :param home: the controller's side: the inventory and what is remembered about the sandbox.
    :param directory: the servers' side: data, configuration, sockets, logs and the repository.
    :param network: the first three octets of every address, within 127.0.0.0/8.
    :param user: the account that the servers run as.
    :param pg_bin: the directory of PostgreSQL's server programs.
    :param environment_bin: the directory of Patroni and supervisord, in the running Python environment.
    :param added: clusters whose nodes were added, with how many members each, in the order of their addresses. The
        sandbox makes the nodes; the cluster comes from somebody else, or never.
    """

    home: Path
    directory: Path
    network: str
    user: str
    user_home: str
    pg_version: int
    pg_bin: Path
    environment_bin: Path
    pgbackrest: Path
    etcd: Path
    added: Mapping[str, int] = field(default_factory=dict)

    @property
    def clusters(self) -> dict[str, int]:
        """Every cluster that has nodes, with how many members."""
        return {**CLUSTERS, **self.added}

    @property
    def nodes(self) -> tuple[SandboxNode, ...]:
        members = [
            (cluster, sequence) for cluster, size in self.clusters.items() for sequence in range(1, size + 1)
        ]
        return tuple(
            SandboxNode(
                cluster=cluster,
                sequence=sequence,
                address=f"{self.network}.{FIRST_HOST + position}",
                directory=self.directory / f"{cluster}-{sequence}",
                wrappers=self.directory / "bin" / f"{cluster}-{sequence}",
            )
            for position, (cluster, sequence) in enumerate(members)
        )

    def members(self, cluster: str) -> tuple[SandboxNode, ...]:
        return tuple(node for node in self.nodes if node.cluster == cluster)

    def node(self, name: str) -> SandboxNode:
        """Return the member called `name`.

        :raises InvalidInput: if there is none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise InvalidInput(f"the sandbox has no node {name!r}: {', '.join(node.name for node in self.nodes)}")

    @property
    def programs(self) -> tuple[str, ...]:
        """The names of supervisord's programs, in the order in which they start."""
        return (ETCD, *(node.name for node in self.nodes))

    @property
    def etcd_address(self) -> str:
        return f"{self.network}.{FIRST_HOST}"

    @property
    def inventory(self) -> Path:
        return inventory_path(self.home)

    @property
    def repository(self) -> Path:
        return self.directory / "backup"

    @property
    def log_directory(self) -> Path:
        return self.directory / "log"

    @property
    def run_directory(self) -> Path:
        return self.directory / "run"

    @property
    def supervisor_config(self) -> Path:
        return self.directory / "supervisord.conf"

    @property
    def supervisor_socket(self) -> Path:
        return self.run_directory / "supervisor.sock"

    def log_of(self, program: str) -> Path:
        """The file that holds what a program of supervisord's writes."""
        return (
            self.log_directory / "etcd.log"
            if program == ETCD
            else self.node(program).log_directory / "patroni.log"
        )

    def ports_of(self, program: str) -> tuple[tuple[str, int], ...]:
        """The (address, port) pairs that a program listens on, a member's PostgreSQL included."""
        if program == ETCD:
            return ((self.etcd_address, ETCD_CLIENT_PORT), (self.etcd_address, ETCD_PEER_PORT))
        address = self.node(program).address
        return ((address, POSTGRES_PORT), (address, PATRONI_PORT))


def inventory_path(home: Path) -> Path:
    """The address of the sandbox's Ansible inventory below the controller's home."""
    return home / "sandbox" / "pigsty.yml"


def default_directory(home: Path, network: str, *, is_root: bool) -> Path:
    """Where the servers' files go if nobody says so.

    Root's home is closed to the servers' account, so root's sandboxes lie in /var/lib, one per network.
    """
    if not is_root:
        return home / "sandbox"
    name = "sandbox" if network == DEFAULT_NETWORK else f"sandbox-{network}"
    return Path("/var/lib/pgdolly") / name


def checked_network(network: str) -> str:
    """Return `network` if it is the first three octets of loopback addresses.

    :raises InvalidInput: otherwise; an address outside 127.0.0.0/8 would be seen by other machines.
    """
    try:
        address = ipaddress.IPv4Address(f"{network}.{FIRST_HOST}")
    except ValueError:
        address = None
    if address is None or not address.is_loopback:
        raise InvalidInput(
            f"{network!r} is not a loopback network such as {DEFAULT_NETWORK}", where="--network"
        )
    return network


def checked_directory(directory: Path) -> Path:
    """Return `directory` if configuration files and unix sockets can bear its name.

    :raises InvalidInput: otherwise.
    """
    if not PLAIN_PATH.fullmatch(str(directory)):
        raise InvalidInput(
            f"{directory} must be an absolute path of letters, digits and . _ + @ - /", where="--directory"
        )
    longest = longest_directory(CLUSTERS)
    if len(str(directory)) > longest:
        raise InvalidInput(
            f"{directory} has {len(str(directory))} characters and may have {longest}: "
            f"a unix socket's path must fit into {LONGEST_SOCKET_PATH} bytes",
            where="--directory",
        )
    return directory


def longest_directory(clusters: Iterable[str]) -> int:
    """Return how many characters a sandbox's directory may have for these clusters' sockets to lie below it."""
    return LONGEST_SOCKET_PATH - max(len(f"/{name}-1/run/.s.PGSQL.5432.lock") for name in clusters)
