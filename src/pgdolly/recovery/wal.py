"""The WAL along a path of timelines, as far as an archive holds it.

Source: PostgreSQL, `src/backend/access/transam/xlogrecovery.c` (`XLogFileReadAnyTLI`) and `xlog.c`
(`XLogInitNewTimeline`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from pgdolly.domain.backup import Archive, ArchivedSegment
from pgdolly.domain.lsn import LSN, WalSegment
from pgdolly.domain.timeline import TimelineHistory


@dataclass(frozen=True, slots=True, kw_only=True)
class WalGap:
    """Segments, one after the other on a path, that cannot be had; there are later ones.

    `stored_twice`: at least one is in the archive with two contents, which archive-get refuses.
    """

    first: WalSegment
    last: WalSegment
    stored_twice: bool = False

    @property
    def count(self) -> int:
        return self.last.number - self.first.number + 1

    def __str__(self) -> str:
        names = (
            self.first.name if self.count == 1 else f"{self.first.name} to {self.last.name} ({self.count})"
        )
        return f"{names}{', stored twice with different content' if self.stored_twice else ''}"


class WalPath:
    """The segments that a recovery along `history` reads, in the order in which it reads them.

    A timeline that was left within a segment is continued in the next timeline's own file for that segment,
    which begins with a copy of the former's. Only that file counts: where it is missing but the former's is
    whole, PostgreSQL reads the former's, and goes on past the fork without a word.
    """

    def __init__(
        self, history: TimelineHistory, segments: dict[int, list[ArchivedSegment]], segment_size: int
    ) -> None:
        self.history = history
        self.segment_size = segment_size
        self._of_timeline = segments
        self.segments: list[ArchivedSegment] = []
        begin = 0
        for fork in history.forks:
            end = max(begin, fork.at.position // segment_size)
            self.segments += _between(segments.get(fork.parent, []), begin, end)
            begin = end
        self.segments += _between(segments.get(history.timeline, []), begin, None)
        self._own_begin = begin
        self._numbers = [archived.segment.number for archived in self.segments]

    def segment_at(self, number: int) -> WalSegment:
        """The segment that the path needs at a position, whether the archive has it or not."""
        last_byte = LSN((number + 1) * self.segment_size - 1)
        return WalSegment(self.history.timeline_at(last_byte), number, self.segment_size)

    def find(self, number: int) -> ArchivedSegment | None:
        index = self._index(number)
        return self.segments[index] if index is not None else None

    def run_from(self, number: int) -> list[ArchivedSegment]:
        """The segments from a position on, up to the first that is missing; empty if that one is."""
        index = self._index(number)
        return [] if index is None else self.segments[index : self._run_end(index)]

    def run_end(self, number: int) -> WalSegment:
        """The last segment of the run from a position on.

        :raises KeyError: if the segment at the position is missing.
        """
        index = self._index(number)
        if index is None:
            raise KeyError(self.segment_at(number).name)
        return self.segments[self._run_end(index) - 1].segment

    def last_before(self, number: int) -> ArchivedSegment | None:
        """The last segment that is there before a position."""
        index = bisect_left(self._numbers, number)
        return self.segments[index - 1] if index else None

    def covers(self, first: int, last: int) -> bool:
        """Whether all segments between two positions, both included, are there."""
        start, end = self._index(first), self._index(last)
        return start is not None and end is not None and end - start == last - first

    def missing(self, first: int, last: int) -> Iterator[WalSegment]:
        """The segments between two positions, both included, that are not there."""
        return (self.segment_at(number) for number in range(first, last + 1) if self._index(number) is None)

    @property
    def end(self) -> ArchivedSegment | None:
        """The last segment on the path, whether or not all before it are there."""
        return self.segments[-1] if self.segments else None

    def runs(self) -> Iterator[list[ArchivedSegment]]:
        """The segments on the path, in runs without a gap."""
        index = 0
        while index < len(self.segments):
            end = self._run_end(index)
            yield self.segments[index:end]
            index = end

    def gaps(self, duplicates: tuple[WalSegment, ...] = ()) -> Iterator[WalGap]:
        """What is missing between the first segment on the path and the last one that was written for certain.

        Whoever began the path's own timeline had read all WAL before: its history says so, before any segment of
        it is archived.
        """
        ends = [(run[0].segment.number, run[-1].segment.number) for run in self.runs()]
        if ends and ends[-1][1] + 1 < self._own_begin:
            ends.append((self._own_begin, self._own_begin))
        for (_, before), (after, _) in pairwise(ends):
            first, last = self.segment_at(before + 1), self.segment_at(after - 1)
            twice = any(
                before < segment.number < after and segment == self.segment_at(segment.number)
                for segment in duplicates
            )
            yield WalGap(first=first, last=last, stored_twice=twice)

    def strays_after(self, segment: WalSegment) -> bool:
        """Whether PostgreSQL, having read `segment`, would go on into a branch that the path has left.

        It opens the newest file there is for the next position, among the timelines of the history that are not
        older than the one it reads.
        """
        number = segment.number + 1
        if self._index(number) is not None:
            return False
        wanted = self.segment_at(number).timeline
        return any(
            segment.timeline <= timeline < wanted
            and _between(self._of_timeline.get(timeline, []), number, number + 1)
            for timeline in self.history.path
        )

    def _index(self, number: int) -> int | None:
        index = bisect_left(self._numbers, number)
        return index if index < len(self._numbers) and self._numbers[index] == number else None

    def _run_end(self, index: int) -> int:
        # Numbers only grow, by one within a run: number minus index stays the same just there.
        numbers = self._numbers
        offset = numbers[index] - index
        return bisect_right(range(len(numbers)), offset, lo=index, key=lambda i: numbers[i] - i)


class ArchiveWal:
    """An archive's segments, ready to be laid along paths. Builds each path once."""

    def __init__(self, archive: Archive, segment_size: int) -> None:
        self.archive = archive
        self.segment_size = segment_size
        self.of_timeline: dict[int, list[ArchivedSegment]] = {}
        for archived in archive.segments:
            self.of_timeline.setdefault(archived.segment.timeline, []).append(archived)
        self._paths: dict[int, WalPath] = {}

    def path_to(self, timeline: int) -> WalPath:
        if timeline not in self._paths:
            history = self.archive.history_of(timeline)
            self._paths[timeline] = WalPath(history, self.of_timeline, self.segment_size)
        return self._paths[timeline]


def _between(segments: list[ArchivedSegment], begin: int, end: int | None) -> list[ArchivedSegment]:
    """Those of one timeline's segments from the position `begin` to before `end`."""

    def number(archived: ArchivedSegment) -> int:
        return archived.segment.number

    first = bisect_left(segments, begin, key=number)
    last = len(segments) if end is None else bisect_left(segments, end, key=number)
    return segments[first:last]
