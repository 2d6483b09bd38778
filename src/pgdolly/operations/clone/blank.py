"""A node that is to become a member: what it has, what it is going to be, and why it may not be."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

from pgdolly.domain.cluster import Cluster, Member, ServiceManager
from pgdolly.domain.draft import MARK, Draft, DraftPath
from pgdolly.domain.repository import RepositorySettings
from pgdolly.domain.secret import Secret
from pgdolly.drivers.configuration import MemberConfiguration, look_at_paths
from pgdolly.drivers.node_program import run_node_program
from pgdolly.drivers.observation import MemberFacts, observe_command, parse_facts
from pgdolly.drivers.repository import pgbackrest_path, upstream_path
from pgdolly.operations.clone import patroni_yml, pgbackrest_conf
from pgdolly.operations.clone.naming import Naming
from pgdolly.operations.clone.refusals import (
    refuse_directories,
    refuse_files,
    refuse_occupied,
    refuse_stopped,
)
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
    delay: str | None,
    resumed: str | None = None,
) -> Blank:
    """Look at the node and draft its files.

    :param restore_command, repository: of a standby cluster, where the source's repository can be reached.
    :param delay: of a standby cluster that replays late.
    :param resumed: the run that holds the node already.
    :raises Refused: if the node holds something already, or lacks what the configuration needs.
    """
    shell = world.shell(member)
    found = await run_node_program(shell, observe_command(member), timeout_seconds=600)
    refuse_occupied(member, found, resumed)
    naming = Naming.between(
        template_facts.member, member, scope=template_facts.scope, stanza=template_facts.stanza
    )
    patroni = patroni_yml.derive_patroni(
        template,
        naming,
        members=new.members,
        neighbours=neighbours.members,
        restore_command=restore_command,
        delay=delay,
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
    stops = pgbackrest_conf.stop_files(pgbackrest, new.name)
    looked = [*texts, *([unit[0]] if unit else []), *needed, *made, *stops]
    seen = await look_at_paths(shell, member, looked)
    refuse_files(member, seen, texts, needed)
    refuse_directories(member, seen, made)
    refuse_stopped(member, [path for path in stops if seen[path].exists])
    if unit is not None and seen[unit[0]].exists and not seen[unit[0]].made:
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
        "lock": None,  # what is left of it here is the resumed run's own
    }
    if unit is not None or found["systemd"]["known"]:
        found["systemd"] = {"known": True, "enabled": True}
    return Blank(
        facts=parse_facts(member, found),
        drafts=tuple(drafts),
        directories=made,
        configuration=patroni,
    )


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
