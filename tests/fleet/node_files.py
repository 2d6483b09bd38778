"""What is written onto a node, before it is first booted."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from fleet import access, backup_files, patroni_files
from fleet.layout import ADMIN, DBSU, OBJECTS_ADDRESS, OBJECTS_NAME, STORE_ADDRESS, NodePlan, Place, Plan

PG_DIRECTORIES = ("bin", "spool", "log", "log/postgres", "log/pgbackrest", "tmp", "backup")


def write(place: Place, plan: Plan, node: NodePlan, authority: str | None) -> None:
    """Write a node's own files; those that are there are written again.

    :param authority: the certificate of the fleet's own authority, PEM; None if it has none.
    """
    root = place.root(node.name)
    dbsu, admin = account(root, DBSU), account(root, ADMIN)
    if not (root / "etc/machine-id").exists():
        _put(root, "etc/machine-id", uuid.uuid4().hex + "\n")
    _put(root, "etc/hostname", node.name + "\n")
    _put(root, "etc/hosts", hosts(plan))
    _put(root, f"home/{ADMIN}/.ssh/authorized_keys", access.public_key(place), owner=admin, mode=0o600)
    _put(root, "etc/profile.d/pg.sh", profile(plan.postgres))
    if authority is not None:
        _put(root, backup_files.AUTHORITY, authority)
    if node.address == STORE_ADDRESS:
        _put(root, "etc/default/etcd", patroni_files.store(node))

    pg = place.pg(node.name)
    pg.mkdir(exist_ok=True)
    for name in ("", *PG_DIRECTORIES):
        (pg / name).mkdir(exist_ok=True)
        os.chown(pg / name, *dbsu)
    pg.chmod(0o755)
    # Pigsty's postgres writes in there, too.
    os.chown((root / backup_files.CONFIGURATION.lstrip("/")).parent, *dbsu)
    for name, text in (
        ("pb", backup_files.pb(node.cluster)),
        ("pg-backup", backup_files.pg_backup(node.cluster)),
    ):
        _put(pg, f"bin/{name}", text, owner=dbsu, mode=0o755)
        # Also for those who come without a login shell, through sudo.
        link = root / "usr/local/bin" / name
        link.unlink(missing_ok=True)
        link.symlink_to(f"/pg/bin/{name}")
    if node.is_empty:
        return
    _put(root, "etc/systemd/system/patroni.service", patroni_files.UNIT)
    patroni = patroni_files.patroni(node, plan.postgres)
    _put(root, patroni_files.CONFIGURATION, patroni, owner=dbsu, mode=0o600)
    pgbackrest = backup_files.pgbackrest(plan, node.cluster)
    _put(root, backup_files.CONFIGURATION, pgbackrest, owner=dbsu, mode=0o640)


def profile(postgres: int) -> str:
    """Return what a login shell finds at hand; patronictl knows its cluster, as by Pigsty's alias."""
    return f"""\
PATH=/pg/bin:/usr/lib/postgresql/{postgres}/bin:$PATH
export PATRONICTL_CONFIG_FILE={patroni_files.CONFIGURATION}
"""


def hosts(plan: Plan) -> str:
    nodes = "".join(f"{node.address} {node.name}\n" for node in plan.nodes)
    return f"127.0.0.1 localhost\n{nodes}{OBJECTS_ADDRESS} {OBJECTS_NAME}\n"


def account(root: Path, name: str) -> tuple[int, int]:
    """Return an account's user and group number on a node (or in a base)."""
    for line in (root / "etc/passwd").read_text().splitlines():
        fields = line.split(":")
        if fields[0] == name:
            return int(fields[2]), int(fields[3])
    raise LookupError(f"{root}/etc/passwd has no {name}")


def _put(root: Path, name: str, text: str, *, owner: tuple[int, int] = (0, 0), mode: int = 0o644) -> None:
    """Write a file below `root`; directories that are made for it are its owner's, too."""
    path = root / name.lstrip("/")
    missing = [parent for parent in path.parents if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    for made in (path, *missing):
        os.chown(made, *owner)
