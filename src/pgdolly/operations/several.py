"""Several resets at once: all are shown to be possible before the first begins, and none waits for another."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from pgdolly.domain.errors import PgdollyError
from pgdolly.inventory.fleet import Fleet
from pgdolly.operations.request import PitrRequest
from pgdolly.operations.reset.run import PreparedReset, prepare

T = TypeVar("T")


async def prepare_all(fleet: Fleet, requests: Mapping[str, PitrRequest]) -> dict[str, PreparedReset]:
    """Look at all targets at once, and plan for each.

    :raises PgdollyError: if one is not possible; with the reasons of all that are not.
    """
    found = await each_to_its_end({name: prepare(fleet, name, request) for name, request in requests.items()})
    errors = {name: result for name, result in found.items() if isinstance(result, Exception)}
    if errors:
        raise with_the_others(errors.values())
    return {name: result for name, result in found.items() if isinstance(result, PreparedReset)}


async def each_to_its_end(work: Mapping[str, Coroutine[Any, Any, T]]) -> dict[str, T | Exception]:
    """Do all of it at once; what fails stops nothing else, and its exception is its result.

    :raises asyncio.CancelledError: if this was cancelled; all of the work is by then.
    """
    results: dict[str, T | Exception] = {}
    for name, result in zip(work, await asyncio.gather(*work.values(), return_exceptions=True), strict=True):
        if isinstance(result, BaseException) and not isinstance(result, Exception):
            raise result
        results[name] = result
    return results


def with_the_others(errors: Iterable[Exception]) -> Exception:
    """The first error, with what the others say as notes of it; one that is no `PgdollyError` comes first."""
    first, *others = sorted(errors, key=lambda each: isinstance(each, PgdollyError))
    for other in others:
        first.add_note(f"and {other}")
        if isinstance(other, PgdollyError) and other.next_command:
            first.add_note(f"  next: {other.next_command}")
    return first
