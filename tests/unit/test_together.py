"""Several things at once: an error is raised once all have ended."""

from __future__ import annotations

import asyncio

import pytest

from pgdolly.transport.together import together


async def after(seconds: float, ended: list[float], error: Exception | None = None) -> float:
    await asyncio.sleep(seconds)
    ended.append(seconds)
    if error is not None:
        raise error
    return seconds


def test_results_come_in_order() -> None:
    async def main() -> list[float]:
        return list(await together(after(0.02, []), after(0.0, [])))

    assert asyncio.run(main()) == [0.02, 0.0]


def test_nobody_is_left_at_work_when_one_fails() -> None:
    """The first one's error, in their order, whoever failed first."""
    ended: list[float] = []

    async def main() -> None:
        await together(
            after(0.03, ended, ValueError("the first")),
            after(0.0, ended, OSError("sooner")),
            after(0.05, ended),
        )

    with pytest.raises(ValueError, match="the first"):
        asyncio.run(main())
    assert ended == [0.0, 0.03, 0.05]


def test_an_error_that_is_returned_is_a_result() -> None:
    """Members that do not answer are told of by their errors."""

    async def told() -> Exception:
        return OSError("no route")

    async def main() -> list[Exception]:
        return list(await together(told(), told()))

    assert [str(error) for error in asyncio.run(main())] == ["no route", "no route"]
    assert asyncio.run(nothing()) == []


async def nothing() -> list[object]:
    return list(await together())


def test_it_is_cancelled_with_all_that_is_at_work() -> None:
    ended: list[float] = []

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(together(after(30.0, ended), after(40.0, ended)), 0.02)

    asyncio.run(main())
    assert ended == []
