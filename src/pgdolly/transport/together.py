"""Several things at once, and none left behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    together = asyncio.gather
else:

    async def together(*work: Any) -> list[Any]:
        """What all of them return, in their order; or, once all have ended, the first one's error.

        asyncio.gather raises at once and leaves the others at work. When the program ends with that error they are
        cancelled, and asyncio waits for ever for a process whose making is cancelled.
        """
        tasks = [asyncio.ensure_future(each) for each in work]
        gathered = asyncio.gather(*tasks, return_exceptions=True)  # which ends all of them if it is cancelled
        await gathered
        return [task.result() for task in tasks]  # an error that is returned is a result, and not raised
