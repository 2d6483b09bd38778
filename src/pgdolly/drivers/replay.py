"""What a server that recovers says of its upstream and of its replay: a part of server_state.py's one statement.

Source: PostgreSQL, pg_stat_wal_receiver, "Recovery Information Functions", recovery_min_apply_delay.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pgdolly.domain.lsn import LSN

# pg_stat_wal_receiver has no row while nothing is connected to an upstream.
REPLAY_SQL = """(SELECT jsonb_build_object(
  'received', pg_last_wal_receive_lsn(),
  'replayed_at', extract(epoch FROM pg_last_xact_replay_timestamp()),
  'now', extract(epoch FROM clock_timestamp()),
  'delay_ms', (SELECT setting FROM pg_settings WHERE name = 'recovery_min_apply_delay'),
  'receiver', (SELECT jsonb_build_object('status', status, 'host', sender_host, 'port', sender_port,
   'slot', slot_name, 'latest_end', latest_end_lsn) FROM pg_stat_wal_receiver))
  WHERE pg_is_in_recovery())"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalReceiver:
    """The connection to an upstream.

    :param latest_end_lsn: the last position that the upstream has told of.
    """

    status: str  # starting, streaming, waiting, restarting, stopping, stopped
    host: str | None
    port: int | None
    slot: str | None = None
    latest_end_lsn: LSN | None = None

    @property
    def streaming(self) -> bool:
        return self.status == "streaming"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A recovering server at one moment, by its own clock.

    :param received_lsn: the end of what has come by streaming since it was started.
    :param replayed_at: when the last transaction that it has replayed was committed, by the upstream's clock.
    :param delay_seconds: how long it holds a commit back (recovery_min_apply_delay).
    """

    receiver: WalReceiver | None
    received_lsn: LSN | None
    replayed_at: datetime | None
    now: datetime
    delay_seconds: float


def parse_replay(found: dict[str, Any] | None) -> Replay | None:
    """Read that part of the row; None for a server that does not recover.

    :raises ValueError, KeyError, TypeError: if it is another answer.
    """
    if found is None:
        return None
    receiver = found["receiver"]
    return Replay(
        receiver=WalReceiver(
            status=receiver["status"],
            host=receiver["host"],
            port=receiver["port"],
            slot=receiver["slot"],
            latest_end_lsn=_lsn(receiver["latest_end"]),
        )
        if receiver is not None
        else None,
        received_lsn=_lsn(found["received"]),
        replayed_at=datetime.fromtimestamp(found["replayed_at"], UTC)
        if found["replayed_at"] is not None
        else None,
        now=datetime.fromtimestamp(found["now"], UTC),
        delay_seconds=int(found["delay_ms"]) / 1000,
    )


def _lsn(text: str | None) -> LSN | None:
    return LSN.parse(text) if text else None
