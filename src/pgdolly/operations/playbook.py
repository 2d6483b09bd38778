"""What an Ansible play says: which clusters it is about, and the request for each. Pure, and free of Ansible.

A play has no prompt in which the target's name is typed, so the limit (`-l`) is where it has to stand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pgdolly.domain.errors import InvalidInput, Refused
from pgdolly.inventory.parameters import LATER, HostParameters
from pgdolly.inventory.repository import Unfilled
from pgdolly.operations.request import NOTHING, PitrRequest, parse_request

PLAYBOOK = "./pgsql-pitr.yml"
EXAMPLE = """'{"pg_pitr": {"cluster": "pg-meta", "time": "2025-12-27 17:50:00+08"}}'"""


def host_variables(
    hostvars: Mapping[str, Mapping[str, Any]], defaults: Mapping[str, Any] | None = None
) -> dict[str, dict[str, Any]]:
    """What pgdolly reads of every PostgreSQL host, in plain values.

    The other variables are left alone: to read them is to template them, and one that cannot be templated is no
    concern of a recovery.

    :param defaults: what Ansible was told outside the inventory: `-u`, `--private-key`.
    """
    return {
        host: {
            **(defaults or {}),
            **{name: _value(name, variables) for name in HostParameters.model_fields if name in variables},
        }
        for host, variables in hostvars.items()
        if "pg_cluster" in variables
    }


def _value(name: str, variables: Mapping[str, Any]) -> Any:
    return _as_far_as_it_goes(variables, name) if name in LATER else _plain(variables[name])


def _as_far_as_it_goes(container: Mapping[str, Any], key: Any) -> Any:
    """A plain value in which :class:`Unfilled` stands for what Ansible cannot fill in or decrypt.

    A repository that nobody asks for may be as wrong as it likes.
    """
    try:
        value = container[key]
        if isinstance(value, Mapping):
            return {str(name): _as_far_as_it_goes(value, name) for name in value}
        return _plain(value)
    except Exception as error:  # whatever Ansible raises: this module knows none of it
        return Unfilled(str(error))


def _plain(value: Any) -> Any:
    """Without the tags (origin, trust) that Ansible hangs on its values: subclasses of Python's own."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if getattr(value, "__ENCRYPTED__", False):
        return str(value)  # ansible-core 2.18: what comes out of a vault is no text until it is read
    for kind in (str, float, int):
        if isinstance(value, kind) and not isinstance(value, bool):
            return kind(value)
    return value


def targets_of(
    variables: Mapping[str, Mapping[str, Any]], *, limit: str | None, hosts: Collection[str]
) -> tuple[str, ...]:
    """The clusters that a play is about, in the inventory's order.

    :param variables: by host, for all hosts of the inventory.
    :param limit: what stands after `-l`.
    :param hosts: those that the limit leaves.
    :raises InvalidInput: if there is no limit, or it leaves no cluster.
    :raises Refused: if it leaves only a part of one, or means one without naming it.
    """
    members: dict[str, list[str]] = {}
    for host, of_host in variables.items():
        members.setdefault(str(of_host["pg_cluster"]), []).append(host)
    if not limit:
        raise InvalidInput(
            f"no target: name the cluster that is to be reset; the inventory has {_listed(members)}",
            untouched=NOTHING,
            next_command=f"{PLAYBOOK} -l CLUSTER -e {EXAMPLE}",
        )
    touched = [name for name, its in members.items() if any(host in hosts for host in its)]
    if not touched:
        raise InvalidInput(
            f"-l {limit} leaves no host of a PostgreSQL cluster; the inventory has {_listed(members)}",
            untouched=NOTHING,
            next_command=f"{PLAYBOOK} -l CLUSTER -e {EXAMPLE}",
        )
    terms = {term.strip() for term in re.split("[,:]", limit)}
    for name in touched:
        missing = [host for host in members[name] if host not in hosts]
        if missing:
            raise Refused(
                f"-l {limit} leaves out {', '.join(missing)} of cluster {name}, and a cluster is reset as a whole: "
                "all its members stop at the same point",
                where=name,
                untouched=NOTHING,
                next_command=f"{PLAYBOOK} -l {name}",
            )
        if name not in terms and not terms.issuperset(members[name]):
            raise Refused(
                f"-l {limit} means cluster {name} without naming it",
                where=name,
                untouched=NOTHING,
                next_command=f"{PLAYBOOK} -l {name}",
            )
    return tuple(touched)


def request_of(pg_pitr: Any) -> PitrRequest:
    """The request that the variable `pg_pitr` says; a text is read as JSON (`-e pg_pitr='{…}'`).

    :raises InvalidInput: if it is missing or cannot be understood.
    """
    given, why = pg_pitr, f"it is a {type(pg_pitr).__name__}"
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError as error:
            why = f"it is a text, and no JSON: {error}"
    if given is None or not isinstance(given, Mapping):
        # What was given is not repeated: it may describe a repository, with its secrets.
        raise InvalidInput(
            "pg_pitr is not set" if given is None else f"pg_pitr is no mapping of keys and values: {why}",
            untouched=NOTHING,
            next_command=f"{PLAYBOOK} -l CLUSTER -e {EXAMPLE}; {{}} is in-place recovery to the end of the archive",
        )
    return parse_request(_plain(given))


def refuse_source_among(targets: Mapping[str, PitrRequest]) -> None:
    """:raises Refused: if one target is to become what another one, which is reset too, was."""
    for name, request in targets.items():
        source = request.cluster
        if source is not None and source != name and source in targets:
            raise Refused(
                f"{source} is the source of {name} and would be reset too",
                where=name,
                untouched=NOTHING,
                next_command=f"{PLAYBOOK} -l {name}",
            )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
