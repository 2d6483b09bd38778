"""pigsty.yml: the inventory, as Pigsty has its users write it. Nothing in it is pgdolly's."""

from __future__ import annotations

import json
import shlex

from fleet import access, backup_files
from fleet.layout import (
    ADMIN,
    NODES,
    REPLICATION_PASSWORD,
    REPLICATION_USER,
    REST_PASSWORD,
    REST_USER,
    STORE_ADDRESS,
    STORE_ROOT_PASSWORD,
    NodePlan,
    Place,
    Plan,
)


def pigsty(place: Place, plan: Plan) -> str:
    """Return the inventory's text."""
    groups: dict[str, list[NodePlan]] = {}
    for node in plan.nodes:
        groups.setdefault(node.cluster, []).append(node)
    clusters = "".join(_cluster(name, members) for name, members in groups.items())
    repositories = "".join(_repository(name, kind) for name, kind in backup_files.repositories(plan).items())
    arguments = " ".join(shlex.quote(word) for word in access.ssh_arguments(place))
    return f"""\
all:
  children:
    infra: {{ hosts: {{ {NODES[0].address}: {{ infra_seq: 1 }} }} }}
    etcd: {{ hosts: {{ {STORE_ADDRESS}: {{ etcd_seq: 1 }} }}, vars: {{ etcd_cluster: etcd }} }}
{clusters}
  vars:
    admin_ip: {NODES[0].address}
    ansible_user: {ADMIN}
    ansible_ssh_private_key_file: {access.private_key(place)}
    ansible_ssh_common_args: {json.dumps(arguments)}
    pg_version: {plan.postgres}
    pg_replication_username: {REPLICATION_USER}
    pg_replication_password: {REPLICATION_PASSWORD}
    patroni_username: {REST_USER}
    patroni_password: {REST_PASSWORD}
    etcd_root_password: {STORE_ROOT_PASSWORD}
    pgbackrest_method: {backup_files.METHODS[plan.repository]}
    pgbackrest_repo:
{repositories}"""


def _cluster(name: str, members: list[NodePlan]) -> str:
    hosts = "".join(
        f"        {node.address}: {{ pg_seq: {node.sequence}, pg_role: {node.role} }}\n" for node in members
    )
    return f"    {name}:\n      hosts:\n{hosts}      vars: {{ pg_cluster: {name} }}\n"


def _repository(name: str, options: dict[str, str | int]) -> str:
    lines = "".join(f"        {option}: {json.dumps(value)}\n" for option, value in options.items())
    return f"      {name}:\n{lines}"
