"""Timelines: where a cluster's history forked.

Source: PostgreSQL, `src/backend/access/transam/timeline.c`: a line `parent<TAB>switch point<TAB>reason` per ancestor.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pgdolly.domain.lsn import LSN


@dataclass(frozen=True, slots=True)
class Fork:
    """Timeline `parent` was left at `at` (its bytes before `at` belong to the history)."""

    parent: int
    at: LSN
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TimelineHistory:
    """A timeline and its ancestors, oldest first: the content of one `.history` file. Timeline 1 has none."""

    timeline: int
    forks: tuple[Fork, ...] = ()

    @classmethod
    def parse(cls, timeline: int, text: str) -> TimelineHistory:
        """:raises ValueError: if a line is neither empty, a comment nor `parent switch-point reason`."""
        forks = []
        for line in text.splitlines():
            stripped = line.strip()
            if not stripped or stripped.startswith("#"):
                continue
            fields = stripped.split(None, 2)
            try:
                if not fields[0].isdecimal():
                    raise ValueError
                fork = Fork(int(fields[0]), LSN.parse(fields[1]), fields[2] if len(fields) > 2 else "")
            except (ValueError, IndexError) as error:
                raise ValueError(
                    f"timeline {timeline}: history line {line!r} is not 'parent switch-point reason'"
                ) from error
            forks.append(fork)
        return cls(timeline, tuple(forks))

    @property
    def path(self) -> tuple[int, ...]:
        """The timelines from the oldest ancestor to this one."""
        return (*(fork.parent for fork in self.forks), self.timeline)

    def holds(self, timeline: int, lsn: LSN) -> bool:
        """Whether the position `lsn`, reached on `timeline`, lies on the way to this timeline."""
        begin: LSN | None = None
        for number, fork in enumerate(self.forks):
            if fork.parent == timeline:
                left = min(later.at for later in self.forks[number:])
                return (begin is None or begin <= lsn) and lsn <= left
            begin = fork.at
        return timeline == self.timeline and (begin is None or begin <= lsn)

    def timeline_at(self, lsn: LSN) -> int:
        """The timeline on which this history passes `lsn`: the newest that begins at or before it.

        So PostgreSQL reads it (src/backend/access/transam/timeline.c, tliOfPointInHistory), and it matters:
        a recovery along timeline 2 that stops at a target before 2 left 1 writes a history that runs backwards, 1 up
        to the fork of 2, 2 up to the target. Of 2 it holds nothing.
        """
        begins: list[LSN | None] = [None, *(fork.at for fork in self.forks)]
        for timeline, begin in reversed(list(zip(self.path, begins, strict=True))):
            if begin is None or begin <= lsn:
                return timeline
        raise AssertionError("the oldest timeline has no beginning")

    def fork_from(self, timeline: int) -> Fork | None:
        """Where this history left `timeline`, if it is an ancestor."""
        return next((fork for fork in self.forks if fork.parent == timeline), None)


def history_file_name(timeline: int) -> str:
    """The name of a timeline's history file: `00000002.history`."""
    return f"{timeline:08X}.history"


def newest(timelines: Iterable[int]) -> int:
    """The highest timeline, or 1 if there are none: a cluster begins on 1 and writes no history file for it."""
    return max(timelines, default=1)
