"""Positions in the write-ahead log and the names of the files that hold them.

Source: PostgreSQL, `src/include/access/xlog_internal.h` (`XLogFileName`, `XLByteToSeg`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

DEFAULT_SEGMENT_SIZE = 16 * 1024 * 1024
_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})\Z")
_SEGMENT = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})\Z")


@total_ordering
@dataclass(frozen=True, slots=True)
class LSN:
    """A byte position in the write-ahead log, shown as PostgreSQL shows it: `0/5000028`."""

    position: int

    @classmethod
    def parse(cls, text: str) -> LSN:
        """:raises ValueError: if `text` is not of the form `X/X` in hexadecimal."""
        matched = _LSN.match(text.strip())
        if matched is None:
            raise ValueError(f"{text!r} is not an LSN such as 0/5000028")
        return cls(int(matched[1], 16) << 32 | int(matched[2], 16))

    def __str__(self) -> str:
        return f"{self.position >> 32:X}/{self.position & 0xFFFFFFFF:X}"

    def __lt__(self, other: LSN) -> bool:
        return self.position < other.position


@dataclass(frozen=True, slots=True, order=True)
class WalSegment:
    """One file of the write-ahead log. `number` counts segments from the log's beginning."""

    timeline: int
    number: int
    size: int = DEFAULT_SEGMENT_SIZE

    @classmethod
    def parse(cls, name: str, size: int = DEFAULT_SEGMENT_SIZE) -> WalSegment:
        """:raises ValueError: if `name` is not 24 upper-case hexadecimal digits, or no segment of this size."""
        matched = _SEGMENT.match(name)
        if matched is None:
            raise ValueError(f"{name!r} is not the name of a WAL segment")
        per_log, in_log = 0x100000000 // size, int(matched[3], 16)
        if in_log >= per_log:
            raise ValueError(f"{name!r} is not the name of a WAL segment of {size // 1024**2} MB")
        return cls(int(matched[1], 16), int(matched[2], 16) * per_log + in_log, size)

    @classmethod
    def holding(cls, timeline: int, lsn: LSN, size: int = DEFAULT_SEGMENT_SIZE) -> WalSegment:
        """The segment in which the byte at `lsn` lies."""
        return cls(timeline, lsn.position // size, size)

    @property
    def name(self) -> str:
        per_log = 0x100000000 // self.size
        return f"{self.timeline:08X}{self.number // per_log:08X}{self.number % per_log:08X}"

    @property
    def position_name(self) -> str:
        """The name without its timeline: 16 digits that sort as the log runs."""
        return self.name[8:]

    @property
    def start(self) -> LSN:
        return LSN(self.number * self.size)

    @property
    def end(self) -> LSN:
        """The first byte after this segment."""
        return LSN((self.number + 1) * self.size)

    def __str__(self) -> str:
        return self.name
