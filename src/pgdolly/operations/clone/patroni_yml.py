"""A new member's patroni.yml, made of a template's. Pure.

Source: Patroni, "YAML Configuration Settings" and "Dynamic Configuration Settings".
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import yaml

from pgdolly.domain.cluster import Member
from pgdolly.domain.draft import MARK
from pgdolly.drivers.configuration import MemberConfiguration
from pgdolly.drivers.repository import upstream_path
from pgdolly.operations.clone.naming import Naming

# Whom a member of the template serves, or is served by, is no matter of the new one's.
_PERSONAL_TAGS = ("nofailover", "noloadbalance", "replicatefrom", "nosync", "nostream", "failover_priority")
# What belongs to one life of the template: its consumers' slots, its present state.
_PERSONAL_SETTINGS = ("standby_cluster", "slots", "pause", "synchronous_mode_strict")
_NAMED_FILES = ("certfile", "keyfile", "cafile", "cacert", "cert", "key")
_FILE_SETTINGS = ("ssl_cert_file", "ssl_key_file", "ssl_ca_file")


def derive_patroni(
    template: MemberConfiguration,
    naming: Naming,
    *,
    members: Sequence[Member],
    neighbours: Sequence[Member],
    restore_command: str | None = None,
    delay: str | None = None,
) -> dict[str, Any]:
    """The new member's configuration.

    Its passwords are the template's still: as long as it is a standby cluster, its roles are.

    :param members: the new cluster's. :param neighbours: the template's cluster's.
    :param restore_command: how it gets WAL that its upstream does not have any more, while it is a standby cluster.
    :param delay: how much later it replays then. Patroni takes that of `standby_cluster` for the standby leader alone,
        and its replicas, which receive everything at once, would run ahead of it.
    """
    new = naming.new
    derived: dict[str, Any] = copy.deepcopy(dict(template.patroni))
    derived["scope"], derived["name"] = new.cluster, new.name
    _listen(derived.setdefault("restapi", {}), naming, new.patroni_port, new)
    postgresql = derived.setdefault("postgresql", {})
    own_recovery = _own_recovery(postgresql.pop("recovery_conf", None), naming.old)
    for key in ("callbacks", "create_replica_methods", "custom_conf", "pgbackrest", "parameters"):
        if key in postgresql:
            postgresql[key] = naming.everywhere(postgresql[key])
    for method in postgresql.get("create_replica_methods") or ():
        if method in postgresql:
            postgresql[method] = naming.everywhere(postgresql[method])
    _listen(postgresql, naming, new.port, new)
    postgresql["data_dir"] = str(new.data_directory)
    if new.bin_directory is not None:
        postgresql["bin_dir"] = str(new.bin_directory)
    if "pgpass" in postgresql:
        postgresql["pgpass"] = _pgpass(str(postgresql["pgpass"]), naming)
    _places(postgresql.get("parameters"), naming, template.patroni["postgresql"].get("parameters"))
    _archive_as_a_primary(postgresql.get("parameters"))
    if "pg_hba" in postgresql:
        postgresql["pg_hba"] = list(_admitted(postgresql["pg_hba"], members, neighbours))
    if new.pgbackrest_config is not None and naming.old.pgbackrest_config is None:
        # The template's is where pgBackRest looks by itself; several clones on one host each have their own.
        command = archive_command_of(derived | {"bootstrap": {"dcs": derive_dynamic(template, naming)}})
        told = command.replace("pgbackrest ", f"pgbackrest --config={new.pgbackrest_config} ", 1)
        postgresql.setdefault("parameters", {})["archive_command"] = told
    recovery = {"restore_command": restore_command, "recovery_min_apply_delay": delay}
    if any(recovery.values()):
        postgresql["recovery_conf"] = {name: value for name, value in recovery.items() if value is not None}
    tags = {key: value for key, value in (derived.get("tags") or {}).items() if key not in _PERSONAL_TAGS}
    derived["tags"] = naming.everywhere(tags)
    bootstrap = derived.setdefault("bootstrap", {})
    bootstrap.pop("method", None)  # the data is there before Patroni is
    bootstrap["dcs"] = derive_dynamic(template, naming, recovery_conf=own_recovery)
    return derived


def derive_dynamic(
    template: MemberConfiguration, naming: Naming, *, recovery_conf: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The new cluster's configuration in Patroni's store, without `standby_cluster`.

    That never stands in patroni.yml: an emptied store would make a standby cluster again of one that was promoted.
    """
    dynamic = {key: value for key, value in template.dynamic.items() if key not in _PERSONAL_SETTINGS}
    postgresql = dict(dynamic.get("postgresql") or {})
    hba = postgresql.pop("pg_hba", None)
    if recovery_conf:
        postgresql.setdefault("recovery_conf", dict(recovery_conf))
    renamed: dict[str, Any] = naming.everywhere({**dynamic, "postgresql": postgresql})
    _archive_as_a_primary(renamed["postgresql"].get("parameters"))
    if hba is not None:
        renamed["postgresql"]["pg_hba"] = hba
    _places(renamed["postgresql"].get("parameters"), naming, postgresql.get("parameters"))
    return renamed


def patroni_text(configuration: Mapping[str, Any]) -> str:
    """The file."""
    return f"{MARK}\n" + yaml.safe_dump(dict(configuration), sort_keys=False, allow_unicode=True)


def named_files(configuration: Mapping[str, Any]) -> Iterator[PurePosixPath]:
    """Certificates and keys that the configuration needs, and that nobody has put there yet, perhaps."""
    for key, value in configuration.items():
        if isinstance(value, Mapping):
            yield from named_files(value)
        elif key in (*_NAMED_FILES, *_FILE_SETTINGS) and str(value).startswith("/"):
            yield PurePosixPath(str(value))


def directories(configuration: Mapping[str, Any]) -> Iterator[PurePosixPath]:
    """Directories that PostgreSQL wants to find."""
    postgresql = configuration["postgresql"]
    for parameters in (
        postgresql.get("parameters") or {},
        (configuration["bootstrap"]["dcs"].get("postgresql") or {}).get("parameters") or {},
    ):
        for key in ("log_directory", "unix_socket_directories"):
            for each in str(parameters.get(key, "")).split(","):
                if each.strip().startswith("/"):
                    yield PurePosixPath(each.strip())


def archive_command_of(configuration: Mapping[str, Any]) -> str:
    """What the new cluster is going to archive with."""
    dynamic = (configuration["bootstrap"]["dcs"].get("postgresql") or {}).get("parameters") or {}
    local = configuration["postgresql"].get("parameters") or {}
    return str(local.get("archive_command") or dynamic.get("archive_command") or "")


def _listen(section: dict[str, Any], naming: Naming, port: int, new: Member) -> None:
    if "listen" in section:
        section["listen"] = naming.listening(str(section["listen"]), port)
    section["connect_address"] = f"{new.node.address}:{port}"
    if "proxy_address" in section:
        section["proxy_address"] = naming.listening(str(section["proxy_address"]), port)


def _pgpass(path: str, naming: Naming) -> str:
    """Two instances on one node must not write the same file."""
    placed = naming.place(path)
    beside = naming.old.data_directory == naming.new.data_directory
    return placed if placed != path or beside else str(naming.new.data_directory.parent / "pgpass")


def _own_recovery(recovery: Mapping[str, Any] | None, old: Member) -> dict[str, Any]:
    """The template's settings of recovery, but for those by which it follows its own upstream."""
    return {
        name: value
        for name, value in (recovery or {}).items()
        if name != "recovery_min_apply_delay" and str(upstream_path(old)) not in str(value)
    }


def _places(parameters: dict[str, Any] | None, naming: Naming, before: Mapping[str, Any] | None) -> None:
    for key in ("log_directory", "unix_socket_directories"):
        if parameters and before and key in parameters:
            parameters[key] = naming.places(str(before[key]))


def _archive_as_a_primary(parameters: dict[str, Any] | None) -> None:
    """With `always` a standby cluster would archive, too: into a stanza that there is after its promotion only."""
    if parameters and str(parameters.get("archive_mode")).lower() == "always":
        parameters["archive_mode"] = "on"


def _admitted(lines: Sequence[Any], members: Sequence[Member], neighbours: Sequence[Member]) -> Iterator[str]:
    """pg_hba's lines; after one for a member of the template's cluster, the same for those of the new one."""
    seen = set()
    for line in map(str, lines):
        if line not in seen:
            seen.add(line)
            yield line
        fields = line.split()
        own = next((each.node.address for each in neighbours if f"{each.node.address}/32" in fields), None)
        for member in members if own is not None else ():
            same = line.replace(f"{own}/32", f"{member.node.address}/32")
            if same not in seen:
                seen.add(same)
                yield same
