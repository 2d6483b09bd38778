"""A node that is to become a member: what it has, what it is going to be, and why it may not be."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

from pgdolly.domain.cluster import Cluster, Member, ServiceManager
from pgdolly.domain.draft import MARK, Draft, DraftPath
from pgdolly.domain.errors import Refused
from pgdolly.domain.repository import RepositorySettings
from pgdolly.domain.secret import Secret
from pgdolly.drivers.configuration import MemberConfiguration, PathFacts, look_at_paths
from pgdolly.drivers.node_program import run_node_program
from pgdolly.drivers.observation import MemberFacts, observe_command, parse_facts
from pgdolly.drivers.repository import pgbackrest_path, upstream_path
from pgdolly.inventory.fleet import Fleet
from pgdolly.operations.clone import patroni_yml, pgbackrest_conf
from pgdolly.operations.clone.naming import Naming
from pgdolly.operations.request import NOTHING
from pgdolly.steps.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Blank:
    """One node, looked at and thought through; `drafts` are what is going to be written there."""

    facts: MemberFacts
    drafts: tuple[Draft, ...]
    directories: tuple[PurePosixPath, ...]
    configuration: Mapping[str, Any] = dataclasses.field(repr=False)

    @property
    def member(self) -> Member:
        return self.facts.member

    @property
    def paths(self) -> tuple[DraftPath, ...]:
        return tuple(draft.to for draft in self.drafts)


def with_programs(member: Member, template: MemberConfiguration) -> Member:
    """The member with the template's PostgreSQL, if the inventory does not say where its own is."""
    found = (template.patroni.get("postgresql") or {}).get("bin_dir")
    if member.bin_directory is not None or not found:
        return member
    return dataclasses.replace(member, bin_directory=PurePosixPath(str(found)))


async def look_at_blank(
    world: World,
    member: Member,
    *,
    template: MemberConfiguration,
    template_facts: MemberFacts,
    neighbours: Cluster,
    new: Cluster,
    restore_command: str | None,
    repository: RepositorySettings | None,
    resumed: str | None = None,
) -> Blank:
    """Look at the node and draft its files.

    :param restore_command, repository: of a standby cluster, where the source's repository can be reached.
    :param resumed: the run that holds the node already.
    :raises Refused: if the node holds something already, or lacks what the configuration needs.
    """
    shell = world.shell(member)
    found = await run_node_program(shell, observe_command(member), timeout_seconds=600)
    _refuse_occupied(member, found, resumed)
    naming = Naming.between(
        template_facts.member, member, scope=template_facts.scope, stanza=template_facts.stanza
    )
    patroni = patroni_yml.derive_patroni(
        template, naming, members=new.members, neighbours=neighbours.members, restore_command=restore_command
    )
    pgbackrest = pgbackrest_conf.derive_pgbackrest(
        template.pgbackrest, naming, stanza=template_facts.stanza, repository=new.repository
    )
    texts = {
        member.patroni_config: (
            f"Patroni's: scope {new.name}, name {member.name}",
            patroni_yml.patroni_text(patroni),
        ),
        pgbackrest_path(member): (f"pgBackRest's: stanza {new.name}", pgbackrest),
    }
    if repository is not None:
        texts[upstream_path(member)] = (
            "pgBackRest's, to read the source's repository: "
            + " ".join(f"{name}={value}" for name, value in repository.masked()),
            pgbackrest_conf.upstream_text(repository, pgbackrest),
        )
    unit = _unit(member, template, naming)
    needed = sorted({*patroni_yml.named_files(patroni)}, key=str)
    made = tuple(
        dict.fromkeys(chain(patroni_yml.directories(patroni), pgbackrest_conf.directories(pgbackrest)))
    )
    seen = await look_at_paths(shell, member, [*texts, *([unit[0]] if unit else []), *needed, *made])
    _refuse_files(member, seen, texts, needed)
    _refuse_directories(member, seen, made)
    if unit is not None and seen[unit[0]].exists and not _marked(seen[unit[0]]):
        unit = None  # the administrator's; one that came with a package names another configuration, and is overridden
    drafts = [
        Draft(
            to=DraftPath(path=path, about=about, owner=member.dbsu, as_root=not seen[path].writable),
            text=Secret(text),
        )
        for path, (about, text) in texts.items()
    ]
    if unit is not None:
        to = DraftPath(path=unit[0], about="the service, as the source's", mode=0o644, as_root=True)
        drafts.append(Draft(to=to, text=Secret(unit[1])))
    planned = {
        "version": "",
        "scope": new.name,
        "name": member.name,
        "data_directory": str(member.data_directory),
        "superuser": template_facts.superuser,
        "rest_address": patroni["restapi"]["connect_address"],
    }
    spool = next(
        (path for path in pgbackrest_conf.directories(pgbackrest) if "spool" in path.name),
        PurePosixPath("/var/spool/pgbackrest"),
    )
    found = {
        **found,
        "patroni": planned,
        "stanza": {"stanza": new.name, "spool_path": str(spool), "stop_files": []},
        "cluster": None,
    }
    if unit is not None or found["systemd"]["known"]:
        found["systemd"] = {"known": True, "enabled": True}
    return Blank(
        facts=parse_facts(member, found),
        drafts=tuple(drafts),
        directories=made,
        configuration=patroni,
    )


def _marked(path: PathFacts) -> bool:
    return path.exists and str(path.first_line or "").startswith(MARK)


def _unit(member: Member, template: MemberConfiguration, naming: Naming) -> tuple[PurePosixPath, str] | None:
    """The service's unit, for a node that systemd keeps."""
    if member.service_manager is ServiceManager.SUPERVISOR or not template.unit:
        return None
    old = str(template.member.patroni_config)
    lines = [
        naming.text(line.replace(old, str(member.patroni_config)))
        for line in template.unit.splitlines()
        if not line.startswith("#")
    ]
    return PurePosixPath(f"/etc/systemd/system/{member.service}.service"), "\n".join([MARK, *lines, ""])


def _refuse_occupied(member: Member, found: Mapping[str, Any], resumed: str | None) -> None:
    directory = found["data_directory"]

    def refuse(what: str, next_command: str | None = None) -> Refused:
        return Refused(what, where=member.name, untouched=NOTHING, next_command=next_command)

    lock = found.get("lock")
    if lock is not None and lock["run_id"] != resumed:
        raise refuse(
            f"run {lock['run_id']} ({lock.get('operation', '?')}) is under way on {member.cluster} or was interrupted",
            f"pgdolly resume {lock['run_id']}, or to give it up: pgdolly resume {lock['run_id']} --abandon",
        )
    if found.get("postmaster"):
        raise refuse(
            f"a PostgreSQL runs in {directory['path']}: the new cluster needs nodes that hold none",
            f"pgdolly status {member.cluster}",
        )
    if not directory["empty"]:
        what = "a data directory" if directory["has_version"] else "files"
        raise refuse(
            f"{directory['path']} holds {what} already: it is never overwritten by a clone",
            f"pgdolly drop {member.cluster}, if it is not needed any more; or pgdolly reset {member.cluster} --from …",
        )
    if not found["writable"]:
        raise refuse(
            f"{member.dbsu} may not write into {member.data_directory.parent}",
            f"install -d -o {member.dbsu} -m 0700 {member.data_directory.parent}",
        )


def _refuse_files(
    member: Member,
    seen: Mapping[PurePosixPath, PathFacts],
    texts: Iterable[PurePosixPath],
    needed: Iterable[PurePosixPath],
) -> None:
    for path in texts:
        if seen[path].exists and not _marked(seen[path]):
            raise Refused(
                f"{path} is there already, and no clone made it",
                where=member.name,
                untouched=NOTHING,
                next_command=f"move it away, or set pgdolly_patroni_config and pgdolly_pgbackrest_config of "
                f"{member.name} in the inventory",
            )
    missing = [str(path) for path in needed if not seen[path].exists]
    if missing:
        raise Refused(
            f"the configuration names files that are not there: {', '.join(missing)}",
            where=member.name,
            untouched=NOTHING,
            next_command="put the node's own certificates and keys there",
        )


def _refuse_directories(
    member: Member, seen: Mapping[PurePosixPath, PathFacts], made: Iterable[PurePosixPath]
) -> None:
    closed = [str(path) for path in made if not seen[path].exists and not seen[path].writable]
    if closed:
        raise Refused(
            f"{member.dbsu} cannot make directories that the configuration names: {', '.join(closed)}",
            where=member.name,
            untouched=NOTHING,
            next_command=f"as root: install -d -o {member.dbsu} -m 0700 {' '.join(closed)}",
        )


def refuse_crowded(fleet: Fleet, new: Cluster) -> None:
    """Two instances on one node need ports, directories, files and services of their own.

    :raises Refused: naming both, and what they share.
    """
    everybody = [member for cluster in fleet.clusters.values() for member in cluster.members]
    for member in new.members:
        for other in everybody:
            if other == member or other.node.address != member.node.address:
                continue
            shared = [
                name
                for name, mine, its in (
                    ("pg_port", member.port, other.port),
                    ("patroni_port", member.patroni_port, other.patroni_port),
                    ("pg_data", member.data_directory, other.data_directory),
                    ("pgdolly_patroni_config", member.patroni_config, other.patroni_config),
                    ("pgdolly_pgbackrest_config", pgbackrest_path(member), pgbackrest_path(other)),
                    ("pgdolly_service", member.service, other.service),
                )
                if mine == its
            ]
            if member.data_directory.parent == other.data_directory.parent and "pg_data" not in shared:
                shared.append("the directory above pg_data")
            if shared:
                raise Refused(
                    f"{other.name} is on the same node ({member.node.address}) and has the same {', '.join(shared)}",
                    where=member.name,
                    untouched=NOTHING,
                    next_command=f"give {member.name} its own in the inventory",
                )
