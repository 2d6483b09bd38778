"""A directory for pgdolly's home that one session of tests has to itself."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked_home(name: str) -> Iterator[Path]:
    """It is there, and whoever takes it removes it.

    The name is always the same, so that what a killed session has left is found and taken away.

    :raises BlockingIOError: if other tests with this home are under way.
    """
    home = Path(tempfile.gettempdir()) / f"pgdolly-{os.geteuid()}-{name}"
    home.mkdir(mode=0o700, exist_ok=True)
    assert home.lstat().st_uid == os.geteuid() and not home.is_symlink(), f"{home} is somebody else's"
    with (home / "session.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield home
