"""Several resets in one go: all at the same time, each to its own end."""

from __future__ import annotations

import asyncio

import pytest

from pgdolly.domain.errors import PgdollyError, Refused
from pgdolly.operations.several import each_to_its_end, with_the_others


def test_they_go_on_at_the_same_time() -> None:
    """Each waits for the other, so one after the other they would never end."""

    async def both() -> dict[str, str | Exception]:
        here, there = asyncio.Event(), asyncio.Event()

        async def one(mine: asyncio.Event, other: asyncio.Event, name: str) -> str:
            mine.set()
            await other.wait()
            return name

        async with asyncio.timeout(10):
            return await each_to_its_end(
                {"pg-one": one(here, there, "one"), "pg-two": one(there, here, "two")}
            )

    assert asyncio.run(both()) == {"pg-one": "one", "pg-two": "two"}


def test_one_that_fails_stops_no_other() -> None:
    done: list[str] = []

    async def fails() -> str:
        raise Refused("no")

    async def goes_on() -> str:
        for _ in range(3):
            await asyncio.sleep(0)
        done.append("pg-two")
        return "whole"

    found = asyncio.run(each_to_its_end({"pg-one": fails(), "pg-two": goes_on()}))
    assert isinstance(found["pg-one"], Refused) and found["pg-two"] == "whole"
    assert done == ["pg-two"]


def test_an_interruption_reaches_all_of_them() -> None:
    told: list[str] = []

    async def waits(name: str) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.append(name)
            raise

    async def interrupted() -> None:
        task = asyncio.ensure_future(each_to_its_end({"pg-one": waits("pg-one"), "pg-two": waits("pg-two")}))
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupted())
    assert sorted(told) == ["pg-one", "pg-two"]


def test_all_reasons_are_told() -> None:
    error = with_the_others([Refused("first", next_command="a"), Refused("second", next_command="b")])
    assert isinstance(error, PgdollyError) and error.what == "first"
    assert error.__notes__ == ["and second", "  next: b"]
    defect = ValueError("a defect")
    assert with_the_others([Refused("first"), defect]) is defect
