"""Where the controller keeps its own files."""

from __future__ import annotations

import os
from pathlib import Path


def controller_home() -> Path:
    """`$PGDOLLY_HOME`, or `~/.pgdolly`. It need not exist."""
    named = os.environ.get("PGDOLLY_HOME")
    return Path(named).expanduser().absolute() if named else Path.home() / ".pgdolly"


def runs_directory() -> Path:
    """One directory per run, each with its journal."""
    return controller_home() / "runs"
