"""What the leader says of its replicas."""

from __future__ import annotations

from dataclasses import dataclass

from pgdolly.domain.lsn import LSN
from pgdolly.drivers import postgres
from pgdolly.drivers.postgres import Instance
from pgdolly.steps.world import StepContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Streaming:
    """One replica's connection: `current_lsn` is the leader's position when it was asked."""

    state: str
    replay_lsn: LSN | None
    current_lsn: LSN

    @property
    def caught_up(self) -> bool:
        return self.has_replayed(self.current_lsn)

    def has_replayed(self, goal: LSN) -> bool:
        return self.state == "streaming" and self.replay_lsn is not None and self.replay_lsn >= goal


async def streaming_state(context: StepContext, leader: Instance, patroni_name: str) -> Streaming | None:
    """How a replica streams from the leader, or None if it does not."""
    shell = context.world.shell(leader.member)
    sql = (
        "SELECT state, replay_lsn, pg_current_wal_lsn() FROM pg_stat_replication "
        f"WHERE application_name = '{patroni_name}'"
    )
    rows = await postgres.query(
        shell,
        await postgres.public_sql_command(shell, leader, sql),
        doing=f"ask {leader.member.name} for its replicas",
    )
    if not rows:
        return None
    state, replay, current = rows[0]
    return Streaming(
        state=state, replay_lsn=LSN.parse(replay) if replay else None, current_lsn=LSN.parse(current)
    )
