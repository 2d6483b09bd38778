"""The repository that a host's variables name: `pgbackrest_repo[pgbackrest_method]`, as Pigsty reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pgdolly.domain.repository import (
    RepositorySettings,
    UnusableRepository,
    UnusableSetting,
    settings_from,
)

NamedRepository = RepositorySettings | UnusableRepository | None

DEFAULT_METHOD = "local"  # Pigsty's
# A template that ansible-inventory leaves as it stands is filled in by the playbook.
_FILLED_BY_ANSIBLE = "./pgsql-pitr.yml, where Ansible fills it in"


@dataclass(frozen=True, slots=True)
class Unfilled:
    """What stands for a variable, or a part of one, that Ansible could not fill in or decrypt."""

    reason: str


def named_repository(
    *, cluster: str, enabled: object, method: object, repositories: object, admin_ip: object
) -> NamedRepository:
    """The cluster's repository; None if the inventory names none, and the nodes' configuration alone says it.

    Never raises: most commands need no repository, and a wrong one is no concern of theirs.

    :param enabled: `pgbackrest_enabled`. :param method: `pgbackrest_method`. :param repositories: `pgbackrest_repo`.
    """
    if repositories is None:
        return None
    for name, value in (("pgbackrest_enabled", enabled), ("pgbackrest_method", method)):
        if isinstance(value, Unfilled):
            return UnusableRepository(f"{name}: {value.reason}")
        if _is_template(value):
            return _template(name)
    if enabled is False or str(enabled).lower() in ("false", "no", "off", "n", "0"):
        return None
    if isinstance(repositories, Unfilled):
        return UnusableRepository(f"pgbackrest_repo: {repositories.reason}")
    if _is_template(repositories):
        return _template("pgbackrest_repo")
    chosen = str(method) if method not in (None, "") else DEFAULT_METHOD
    if not isinstance(repositories, Mapping):
        return UnusableRepository("pgbackrest_repo is no mapping of names to repositories")
    if chosen not in repositories:
        has = ", ".join(sorted(str(name) for name in repositories)) or "none"
        return UnusableRepository(f"pgbackrest_method is {chosen}, and pgbackrest_repo has {has}")
    return _settings(f"pgbackrest_repo.{chosen}", repositories[chosen], cluster, admin_ip)


def _settings(where: str, repository: object, cluster: str, admin_ip: object) -> NamedRepository:
    if isinstance(repository, Unfilled):
        return UnusableRepository(f"{where}: {repository.reason}")
    if _is_template(repository):
        return _template(where)
    if not isinstance(repository, Mapping) or not repository:
        return UnusableRepository(f"{where} is no mapping of options to values")
    for key, value in repository.items():
        if isinstance(value, Unfilled):
            return UnusableRepository(f"{where}.{key}: {value.reason}")
        if _is_template(value):
            return _template(f"{where}.{key}")
    address = None if admin_ip is None or isinstance(admin_ip, Unfilled) else str(admin_ip)
    if _is_template(admin_ip) and any("${admin_ip}" in str(value) for value in repository.values()):
        return _template("admin_ip")
    try:
        return settings_from(repository).filled({"pg_cluster": cluster, "admin_ip": address})
    except UnusableSetting as error:
        return UnusableRepository(f"{where}: {error}")


def _is_template(value: object) -> bool:
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def _template(name: str) -> UnusableRepository:
    return UnusableRepository(
        f"{name} is a template, which ansible-inventory does not fill in",
        f"write the value of {name} out, or use {_FILLED_BY_ANSIBLE}",
    )
