"""Host variables: what pgdolly reads of an inventory, checked at this edge and nowhere else.

Names are Pigsty's; what Pigsty has no name for is prefixed `pgdolly_`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pgdolly.domain.cluster import Member, Node, ServiceManager
from pgdolly.domain.errors import InvalidInput
from pgdolly.domain.secret import Secret
from pgdolly.inventory.login import login_refusal, with_aliases
from pgdolly.inventory.passwords import VARIABLES, named_password
from pgdolly.inventory.repository import NamedRepository, Unfilled, named_repository

# Read for those who need the repository or passwords: whatever is wrong with them is said then, and not before.
LATER = frozenset(
    {"pgbackrest_enabled", "pgbackrest_method", "pgbackrest_repo", "admin_ip", *VARIABLES.values()}
)
# Without these a host is no member; all others may be left empty (`pg_upstream:`), as if they were not there.
_IDENTITY = frozenset({"pg_cluster", "pg_seq"})


def _splittable(value: str) -> str:
    shlex.split(value)  # its ValueError says what is wrong: a quotation that is not closed
    return value


class HostParameters(BaseModel):
    """The variables of one host that belongs to a PostgreSQL cluster; all others are ignored."""

    # An inventory holds passphrases: none is to come into a message.
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    pg_cluster: str = Field(
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$"
    )  # it becomes a part of paths and step ids
    pg_seq: int
    pg_role: Literal["primary", "replica", "offline", "standby", "delayed"] = "replica"
    pg_upstream: str | None = None
    pg_delay: str | None = None
    pg_version: int | None = None
    pg_data: PurePosixPath = PurePosixPath("/pg/data")
    pg_bin_dir: PurePosixPath | None = None
    pg_port: int = Field(default=5432, ge=1, le=65535)
    pg_dbsu: str = "postgres"
    patroni_port: int = Field(default=8008, ge=1, le=65535)
    pgbackrest_enabled: Any = Field(default=True, repr=False)
    pgbackrest_method: Any = Field(default=None, repr=False)
    pgbackrest_repo: Any = Field(default=None, repr=False)
    admin_ip: Any = Field(default=None, repr=False)
    ansible_host: str | None = None
    ansible_user: str | None = None
    ansible_port: int | None = Field(default=None, ge=1, le=65535)
    ansible_connection: str = "ssh"
    ansible_ssh_private_key_file: str | None = None
    ansible_ssh_common_args: Annotated[str, AfterValidator(_splittable)] = ""
    ansible_ssh_extra_args: Annotated[str, AfterValidator(_splittable)] = ""
    pg_dbsu_password: Any = Field(default=None, repr=False)
    pg_replication_password: Any = Field(default=None, repr=False)
    pgdolly_rewind_password: Any = Field(default=None, repr=False)
    pgdolly_patroni: str = "patroni"
    pgdolly_patroni_config: PurePosixPath = PurePosixPath("/etc/patroni/patroni.yml")
    pgdolly_pgbackrest_config: PurePosixPath | None = None
    pgdolly_service: str = "patroni"
    pgdolly_service_manager: ServiceManager | None = None  # found on the node
    pgdolly_supervisor_config: PurePosixPath | None = None

    def passwords(self) -> tuple[tuple[str, Secret | str], ...]:
        """Those that the inventory gives to Patroni's roles, by Patroni's names of these, or why one cannot be used."""
        return tuple(
            (role, named_password(variable, value))
            for role, variable in VARIABLES.items()
            if (value := getattr(self, variable)) not in (None, "")
        )

    def repository(self) -> NamedRepository:
        """The repository that the inventory names for the host's cluster."""
        return named_repository(
            cluster=self.pg_cluster,
            enabled=self.pgbackrest_enabled,
            method=self.pgbackrest_method,
            repositories=self.pgbackrest_repo,
            admin_ip=self.admin_ip,
        )


def member_from_variables(host: str, variables: Mapping[str, Any]) -> tuple[Member, HostParameters]:
    """The member that a host's variables describe.

    :raises InvalidInput: naming the host, the variable and what is wrong with it.
    """
    named = with_aliases(variables)
    given = {
        name: named[name]
        for name in HostParameters.model_fields
        if name in named and (name in _IDENTITY or named[name] not in (None, ""))
    }
    for name, value in given.items():
        if name in LATER:
            continue
        if isinstance(value, Unfilled):
            raise InvalidInput(
                f"{name}: {value.reason}", where=f"inventory, host {host}", untouched="nothing was changed"
            )
        if isinstance(value, str) and ("{{" in value or "{%" in value):
            raise InvalidInput(
                f"{name}: it is a template, {value!r}, which ansible-inventory does not fill in",
                where=f"inventory, host {host}",
                untouched="nothing was changed",
                next_command=f"write the value of {name} out, or use ./pgsql-pitr.yml, where Ansible fills it in",
            )
    try:
        parameters = HostParameters.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(
            f"{name}: {first['msg']} (got {first.get('input')!r})"
            if first["type"] != "missing"
            else f"{name} is not set",
            where=f"inventory, host {host}",
            untouched="nothing was changed",
        ) from error
    node = Node(
        name=f"{parameters.pg_cluster}-{parameters.pg_seq}",
        address=parameters.ansible_host or host,
        connection=parameters.ansible_connection,
        login_user=parameters.ansible_user,
        login_port=parameters.ansible_port,
        identity_file=parameters.ansible_ssh_private_key_file,
        ssh_arguments=(
            *shlex.split(parameters.ansible_ssh_common_args),
            *shlex.split(parameters.ansible_ssh_extra_args),
        ),
        login_refusal=login_refusal(variables),
    )
    member = Member(
        name=node.name,
        cluster=parameters.pg_cluster,
        sequence=parameters.pg_seq,
        role=parameters.pg_role,
        node=node,
        dbsu=parameters.pg_dbsu,
        port=parameters.pg_port,
        patroni_port=parameters.patroni_port,
        data_directory=parameters.pg_data,
        bin_directory=parameters.pg_bin_dir,
        patroni=parameters.pgdolly_patroni,
        patroni_config=parameters.pgdolly_patroni_config,
        pgbackrest_config=parameters.pgdolly_pgbackrest_config,
        service_manager=parameters.pgdolly_service_manager,
        service=parameters.pgdolly_service,
        supervisor_config=parameters.pgdolly_supervisor_config,
    )
    return member, parameters
