"""Waiting always ends: with what was waited for, or at the deadline. On a clock of the test's own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgdolly.domain.errors import CommandFailed, DeadlinePassed
from pgdolly.steps import world

seconds = st.integers(0, 4000).map(lambda quarters: quarters / 4)  # exact in binary


@dataclass
class Clock:
    """Time that passes only when somebody sleeps or a look takes a while."""

    now: float = 1000.0
    looks: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, for_seconds: float) -> None:
        assert for_seconds > 0, "a wait without a pause keeps a node busy"
        self.now += for_seconds


def wait(clock: Clock, *, found_after: float | None, look_takes: float, deadline: float, poll: float) -> str:
    async def look() -> str | None:
        begun = clock.now
        clock.looks.append(begun - 1000)
        clock.now += look_takes
        return "found" if found_after is not None and begun - 1000 >= found_after else None

    with (
        patch("pgdolly.steps.world.time.monotonic", clock.monotonic),
        patch("pgdolly.steps.world.asyncio.sleep", clock.sleep),
    ):
        waiting = world.wait_for(
            look,
            what="Patroni to make pg-test-1 the leader",
            where="pg-test-1",
            deadline_seconds=deadline,
            next_command="pgdolly resume 1",
            describe=lambda: f"look {len(clock.looks)}",
            poll_seconds=poll,
        )
        # No event loop: whatever waits otherwise than by the clock's sleep would suspend here.
        try:
            waiting.send(None)
        except StopIteration as stopped:
            found: str = stopped.value
            return found
        raise AssertionError("it waits for something that is not the clock")


@given(
    found_after=st.none() | seconds,
    look_takes=st.integers(0, 40).map(lambda quarters: quarters / 4),
    deadline=seconds,
    poll=st.integers(1, 400).map(lambda quarters: quarters / 4),
)
def test_a_wait_ends_when_it_is_met_or_at_its_deadline(
    found_after: float | None, look_takes: float, deadline: float, poll: float
) -> None:
    clock = Clock()
    try:
        assert (
            wait(clock, found_after=found_after, look_takes=look_takes, deadline=deadline, poll=poll)
            == "found"
        )
        met = True
    except DeadlinePassed:
        met = False
    looks, took = clock.looks, clock.now - 1000
    assert looks[0] == 0, "what is there already is not waited for"
    assert took <= deadline + look_takes, (
        "one look may be under way at the deadline, but no pause goes beyond it"
    )
    assert all(later - earlier <= poll + look_takes for earlier, later in pairwise(looks))
    if met:
        assert found_after is not None and looks[-1] >= found_after
        assert not [look for look in looks[:-1] if look >= found_after], (
            "the first look that finds it ends it"
        )
    else:
        assert took >= deadline, "nobody gives up early"
        assert found_after is None or found_after > looks[-1]


def test_a_deadline_says_what_was_waited_for_and_what_was_seen_last() -> None:
    with pytest.raises(DeadlinePassed) as raised:
        wait(Clock(), found_after=None, look_takes=0, deadline=3, poll=1)
    assert raised.value.what == "waited 3 s for Patroni to make pg-test-1 the leader; last seen: look 4"
    assert raised.value.where == "pg-test-1"
    assert raised.value.next_command == "pgdolly resume 1"


def test_what_is_false_but_not_none_is_found() -> None:
    async def look() -> int | None:
        return 0

    assert asyncio.run(world.wait_for(look, what="it", where="here", deadline_seconds=1)) == 0


def test_an_error_of_the_look_ends_the_wait() -> None:
    async def look() -> None:
        raise CommandFailed("psql failed")

    with pytest.raises(CommandFailed, match="psql failed"):
        asyncio.run(world.wait_for(look, what="it", where="here", deadline_seconds=60))
