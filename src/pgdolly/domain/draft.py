"""Files that are going to be written on a node."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from pgdolly.domain.secret import Secret

# The first line of every file that a clone writes: what has it may be replaced and removed.
MARK = "# Made by pgdolly clone"


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftPath:
    """Where a file goes, and what a plan says of it.

    :param as_root: the dbsu cannot write there.
    :param owner: None for root.
    """

    path: PurePosixPath
    about: str
    mode: int = 0o600
    owner: str | None = None
    as_root: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A file with its text, which may hold passwords."""

    to: DraftPath
    text: Secret
