"""Why a cluster is not dropped, said before anything is touched. Pure, over what was observed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from pgdolly.domain.cluster import Cluster, Member
from pgdolly.domain.errors import Refused, Unreachable
from pgdolly.drivers.removal import Remains, files_of_clone
from pgdolly.inventory.fleet import Fleet
from pgdolly.operations.drop.observe import DropFacts, Neighbour
from pgdolly.operations.followers import described
from pgdolly.operations.locking import held
from pgdolly.operations.request import NOTHING


def refuse(facts: DropFacts, fleet: Fleet, *, with_backups: bool) -> None:
    """:raises Refused, Unreachable: with what stands in the way, and what to type next."""
    _refuse_silent(facts)
    for member in facts.members:
        if member.lock is not None:
            raise held(facts.cluster.name, member.member.name, member.lock)
    for member in facts.members:
        _refuse_member(member)
        _refuse_shared(member.member, fleet)
    _refuse_strangers(facts)
    _refuse_followers(facts)
    if with_backups:
        _refuse_stanza(facts)


def refuse_unlockable(facts: DropFacts) -> None:
    """:raises Refused: if a node has no place for the run's lock; only what is not gone yet needs one."""
    for member in facts.members:
        if not member.lockable:
            above = member.member.work_directory.parent
            raise Refused(
                f"{above} cannot be written by {member.member.dbsu}: pgdolly keeps its lock there",
                where=member.member.name,
                untouched=NOTHING,
                next_command=f"install -d -o {member.member.dbsu} -m 0700 {above}; or take "
                f"{member.member.node.address} out of the inventory, if nothing of it is there",
            )


def _refuse_silent(facts: DropFacts) -> None:
    """A member that is left alone would come up again one day, with old data and into an empty store."""
    for member, error in facts.silent:
        error.what = f"it cannot be looked at, and would come up again with its old data: {error.what}"
        error.where = member.name
        error.untouched = NOTHING
        if isinstance(error, Unreachable):
            error.next_command = (
                f"bring {member.name} up, and again: pgdolly drop {facts.cluster.name}; or, if its node is gone for "
                f"good, take {member.node.address} out of the inventory first"
            )
        raise error


def _refuse_member(member: Remains) -> None:
    own, where = member.member, member.member.name
    named = member.patroni_data_directory
    if named is not None and named != own.data_directory:
        raise Refused(
            f"the inventory says pg_data {own.data_directory}, Patroni's configuration {named}",
            where=where,
            untouched=NOTHING,
            next_command=f"set pg_data of {where} to {named}",
        )
    if member.objection is not None:
        raise Refused(
            member.objection,
            where=where,
            untouched=NOTHING,
            next_command=f"look at it, and set pg_data of {where}",
        )
    if member.patronis and not member.serviced:
        raise Refused(
            f"Patroni runs there as process {member.patronis[0]}, and is kept by no service that pgdolly knows: it "
            "would be started again, or start PostgreSQL again",
            where=where,
            untouched=NOTHING,
            next_command="set pgdolly_service, or pgdolly_service_manager, in the inventory; or stop it there",
        )
    if member.shared_tablespaces:
        raise Refused(
            f"its tablespaces are those of another server, too: {', '.join(member.shared_tablespaces)}",
            where=where,
            untouched=NOTHING,
            next_command="stop and remove one of the two servers by hand",
        )


def others_on_node(member: Member, fleet: Fleet) -> Iterator[Member]:
    """All other members, of whichever cluster, that live on the same machine."""
    for cluster in fleet.clusters.values():
        for other in cluster.members:
            if other.name != member.name and other.node.shares_machine(member.node):
                yield other


def _refuse_shared(member: Member, fleet: Fleet) -> None:
    """What another member on the same machine has, too, is not this one's to remove."""
    for other in others_on_node(member, fleet):
        one, two = member.data_directory, other.data_directory
        if one == two or one.is_relative_to(two) or two.is_relative_to(one):
            raise Refused(
                f"its data directory {one} is, holds or lies in {two} of {other.name}",
                where=member.name,
                untouched=NOTHING,
                next_command=f"set pg_data of {member.name} and of {other.name}",
            )
        if (member.service, member.supervisor_config) == (other.service, other.supervisor_config):
            raise Refused(
                f"its service {member.service} is that of {other.name}, too, which would be stopped",
                where=member.name,
                untouched=NOTHING,
                next_command=f"set pgdolly_service of {member.name} and of {other.name}",
            )


def shared_files(member: Member, fleet: Fleet) -> dict[PurePosixPath, str]:
    """Files of this member that are those of another member on the same machine, by that one's name."""
    own = set(files_of_clone(member))
    return {
        path: other.name
        for other in others_on_node(member, fleet)
        for path in own.intersection(files_of_clone(other))
    }


def names_of(facts: DropFacts) -> tuple[str, ...]:
    """What Patroni may call the cluster's members."""
    return tuple(sorted({name for m in facts.members for name in (m.member.name, m.patroni_name)}))


def _refuse_strangers(facts: DropFacts) -> None:
    """What the store holds must be this cluster's, and nobody else's."""
    cluster = facts.cluster.name
    scopes = sorted({member.scope for member in facts.members if member.scope is not None})
    if len(scopes) > 1:
        raise Refused(
            f"its members have different scopes in Patroni's configuration: {', '.join(scopes)}",
            where=cluster,
            untouched=NOTHING,
            next_command="compare pgdolly_patroni_config of its hosts in the inventory",
        )
    if facts.store is None:
        return
    strangers = sorted(set(facts.store.members) - set(names_of(facts)))
    if strangers:
        raise Refused(
            f"Patroni's store has members of {scopes[0]} that the inventory does not name: {', '.join(strangers)}",
            where=cluster,
            untouched=NOTHING,
            next_command="add them to the inventory; or stop their Patroni, wait half a minute, and again: "
            f"pgdolly drop {cluster}",
        )
    for other in facts.neighbours:
        if other.scope in scopes and other.store == facts.store and not facts.store.empty:
            raise Refused(
                f"its entries in Patroni's store are those of {other.cluster.name}, too: both have scope {other.scope}",
                where=cluster,
                untouched=NOTHING,
                next_command="compare the scope and the namespace in their Patroni configurations",
            )


def _refuse_followers(facts: DropFacts) -> None:
    """:raises Refused: naming everybody who replicates from the cluster."""
    found = [
        *described([member.followers for member in facts.members], names_of(facts)),
        *_standby_clusters(facts),
    ]
    if found:
        raise Refused(
            f"it is replicated from: {'; '.join(found)}",
            where=facts.cluster.name,
            untouched=NOTHING,
            next_command="end that first: promote or drop a standby cluster, stop what receives, drop a slot that "
            "nobody needs (patronictl edit-config "
            f"{facts.cluster.name} --set slots.NAME=null --force where Patroni keeps it, else SELECT "
            "pg_drop_replication_slot('…'))",
        )


def _standby_clusters(facts: DropFacts) -> Iterator[str]:
    for other in facts.neighbours:
        if other.store is not None:
            followed = followed_member(other, facts)
            if followed is not None:
                yield f"standby cluster {other.cluster.name} follows {followed} (standby_cluster in its configuration)"
        elif other.problem is not None and upstream_is(other.cluster, facts.cluster):
            yield (
                f"standby cluster {other.cluster.name} follows it by the inventory (pg_upstream "
                f"{other.cluster.upstream}), and could not be asked: {other.problem}"
            )


def followed_member(other: Neighbour, facts: DropFacts) -> str | None:
    """The member whose address another cluster's `standby_cluster` names."""
    if other.store is None or other.store.standby_of is None:
        return None
    hosts, ports = (part.split(",") for part in other.store.standby_of)
    for number, host in enumerate(hosts):
        port = (ports[number] if number < len(ports) else ports[-1]) or "5432"
        for member in facts.cluster.members:
            known = {member.node.address, (facts.store.members.get(member.name) if facts.store else None)}
            if host.strip() in known and port.strip() == str(member.port):
                return member.name
    return None


def upstream_is(cluster: Cluster, upstream: Cluster) -> bool:
    """Whether a cluster follows another one by the inventory: Pigsty names an address, a person perhaps a member."""
    members = {word for member in upstream.members for word in (member.name, member.node.address)}
    return cluster.upstream is not None and cluster.upstream in {upstream.name, *members}


def _refuse_stanza(facts: DropFacts) -> None:
    """Whose backups are deleted has to be beyond doubt: they cannot be had again."""
    name = facts.cluster.name
    stanzas = sorted({member.stanza for member in facts.members if member.stanza is not None})
    if len(stanzas) > 1:
        raise Refused(
            f"its members' pgBackRest configurations name different stanzas: {', '.join(stanzas)}",
            where=name,
            untouched=NOTHING,
            next_command=f"pgdolly drop {name}, without --with-backups",
        )
    configured = [
        member.member.name
        for member in facts.members
        if any(file.path == files_of_clone(member.member)[1] and not file.empty for file in member.files)
    ]
    if not stanzas and configured:
        raise Refused(
            f"no stanza in the pgBackRest configuration of {', '.join(configured)} has its data directory as pg1-path: "
            "which backups are its own cannot be told",
            where=name,
            untouched=NOTHING,
            next_command=f"pgdolly drop {name}, without --with-backups",
        )
    for stanza in stanzas:
        for other in facts.neighbours:
            if stanza in (other.cluster.name, other.stanza):
                raise Refused(
                    f"its pgBackRest configuration names stanza {stanza}, which is that of {other.cluster.name}",
                    where=name,
                    untouched=NOTHING,
                    next_command=f"pgdolly drop {name}, without --with-backups",
                )
            if other.problem is not None and stanza != name:
                raise Refused(
                    f"whether stanza {stanza} is that of {other.cluster.name}, too, cannot be told: {other.problem}",
                    where=name,
                    untouched=NOTHING,
                    next_command=f"pgdolly drop {name}, without --with-backups",
                )
