"""What is remembered of a sandbox: at the controller's home, and in its directory as a sign of ownership."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pgdolly.domain.errors import Refused
from pgdolly.sandbox.layout import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a sandbox was made with.

    :param home: the controller's home that it belongs to.
    :param complete: true once both clusters have had their first backup.
    :param added: clusters whose nodes were added, with how many members each, in the order of their addresses.
    """

    home: str
    directory: str
    network: str
    user: str
    pg_version: int
    complete: bool = False
    added: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, world: World, *, complete: bool) -> Record:
        return cls(
            home=str(world.home),
            directory=str(world.directory),
            network=world.network,
            user=world.user,
            pg_version=world.pg_version,
            complete=complete,
            added=dict(world.added),
        )


def controller_home() -> Path:
    """`$PGDOLLY_HOME`, or `~/.pgdolly`. It need not exist."""
    named = os.environ.get("PGDOLLY_HOME")
    return Path(named).expanduser().absolute() if named else Path.home() / ".pgdolly"


def home_record(home: Path) -> Path:
    return home / "sandbox" / "sandbox.json"


def ownership_record(directory: Path) -> Path:
    """The file by which a servers' directory is known as a sandbox's, and whose."""
    return directory / "owner.json"


def read_record(path: Path) -> Record | None:
    """Return what `path` remembers, or None if it does not exist.

    :raises Refused: if it cannot be read.
    """
    try:
        return Record(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise Refused(f"cannot read what is remembered of the sandbox: {error}", where=str(path)) from None


def write_record(path: Path, record: Record) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(json.dumps(asdict(record), indent=2) + "\n")
    draft.replace(path)


@contextmanager
def sole_builder(home: Path) -> Iterator[None]:
    """Let one process at a time build or tear down a home's sandbox.

    :raises Refused: at once, if another one does.
    """
    lock = home / "sandbox" / ".lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(
                "another `pgdolly sandbox up` or `down` is at work", where=str(home / "sandbox")
            ) from None
        yield
