"""How a standby cluster follows its source: whether it streams, and how far it is behind. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pgdolly.domain.errors import PgdollyError
from pgdolly.drivers.patroni import StandbyCluster
from pgdolly.drivers.replay import WalReceiver
from pgdolly.drivers.server_state import ServerState
from pgdolly.inventory.fleet import Fleet
from pgdolly.operations.look import ClusterLook, MemberLook, look_at_clusters
from pgdolly.operations.site import world_of
from pgdolly.operations.standby import Upstream, upstream_of
from pgdolly.steps.world import World
from pgdolly.transport.together import together


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """A standby cluster's leader and its upstream at one moment. What nobody could tell is None.

    :param source: the upstream's cluster, and `member` its member, if the inventory has the address.
    :param streaming: whether the leader's walreceiver is connected and receives.
    :param source_lsn: what the source's leader has written, if it could be asked.
    :param lag_bytes: from what is replayed to `source_lsn`, else to what the upstream has told of.
    :param waiting_bytes: what has been received and is not replayed yet.
    :param lag_seconds: 0 if nothing is to be replayed, else since the commit that was replayed last.
    :param delay_seconds: how long a commit is held back (recovery_min_apply_delay).
    :param delay: the same as Patroni's configuration has it.
    """

    source: str | None
    member: str | None
    host: str | None
    port: int | None
    streaming: bool
    slot: str | None = None
    source_lsn: str | None = None
    received_lsn: str | None = None
    replayed_lsn: str | None = None
    replayed_at: datetime | None = None
    lag_bytes: int | None = None
    lag_seconds: float | None = None
    waiting_bytes: int | None = None
    delay_seconds: float | None = None
    delay: str | None = None


async def observe_following(fleet: Fleet, world: World, looks: Sequence[ClusterLook]) -> dict[str, Following]:
    """Each standby cluster among these, by its name; sources that are not among them are looked at, too."""
    found = {
        look.name: upstream for look in looks if (upstream := upstream_of(fleet, look.facts, _receiver(look)))
    }
    known = {look.name: (look, world) for look in looks}
    named = {u.member.cluster for u in found.values() if u.member is not None} - set(known)
    known |= {name: seen for name in sorted(named) if (seen := await _look_at_source(fleet, name))}

    async def observe(name: str, upstream: Upstream) -> Following:
        look, own = known[name]
        source, around = known.get(upstream.member.cluster, (None, own)) if upstream.member else (None, own)
        # Both at one moment: what a busy source wrote between two looks would be taken for lag.
        server, source_server = await together(
            _ask(look.leader, own), _ask(source.leader if source is not None else None, around)
        )
        return following(upstream, look.facts.follows or StandbyCluster(), server, source_server)

    made = await together(*(observe(name, upstream) for name, upstream in found.items()))
    return dict(zip(found, made, strict=True))


def _receiver(look: ClusterLook) -> WalReceiver | None:
    server = look.leader.server if look.leader is not None else None
    return server.replay.receiver if server is not None and server.replay is not None else None


async def _look_at_source(fleet: Fleet, name: str) -> tuple[ClusterLook, World] | None:
    cluster = fleet.cluster(name)
    try:
        world = world_of([cluster])
    except PgdollyError:
        return None  # nobody has asked for it: that its nodes cannot be reached so is said when somebody does
    [look] = await look_at_clusters(world, [cluster])
    return look, world


async def _ask(look: MemberLook | None, world: World) -> ServerState | None:
    if look is None or look.server is None or look.private:
        return None
    return await look.asked_again(world.shell(look.facts.member))


def following(
    upstream: Upstream,
    configured: StandbyCluster,
    server: ServerState | None,
    source: ServerState | None,
) -> Following:
    """Put together what the standby cluster's leader and the source's say. Pure."""
    replay = server.replay if server is not None else None
    receiver = replay.receiver if replay is not None else None
    streaming = receiver is not None and receiver.streaming
    # A source of another system is none: the address in the configuration is another cluster's by now.
    if source is not None and (server is None or source.system_identifier != server.system_identifier):
        source = None
    replayed = server.lsn if server is not None else None
    end = source.lsn if source is not None else None
    if end is None and receiver is not None and streaming:
        end = receiver.latest_end_lsn
    lag = max(0, end.position - replayed.position) if end is not None and replayed is not None else None
    seconds = None
    if lag == 0:
        seconds = 0.0
    elif lag is not None and replay is not None and replay.replayed_at is not None:
        seconds = max(0.0, (replay.now - replay.replayed_at).total_seconds())
    received = replay.received_lsn if replay is not None else None
    return Following(
        source=upstream.member.cluster if upstream.member is not None else None,
        member=upstream.member.name if upstream.member is not None else None,
        host=upstream.host,
        port=upstream.port,
        streaming=streaming,
        slot=(receiver.slot if receiver is not None and receiver.slot else configured.slot),
        source_lsn=str(source.lsn) if source is not None and source.lsn is not None else None,
        received_lsn=str(received) if received is not None else None,
        replayed_lsn=str(replayed) if replayed is not None else None,
        replayed_at=replay.replayed_at if replay is not None else None,
        lag_bytes=lag,
        lag_seconds=seconds,
        # Where streaming begins anew, the end of what was received is the beginning of a segment.
        waiting_bytes=max(0, received.position - replayed.position)
        if received is not None and replayed is not None
        else None,
        delay_seconds=replay.delay_seconds if replay is not None else None,
        delay=configured.delay,
    )
