"""What one backup set holds: its databases and its tablespaces.

Source: pgBackRest, `info --set=… --output=json`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePosixPath

from pgdolly.domain.command import Command
from pgdolly.domain.errors import CommandFailed
from pgdolly.drivers.catalogue_format import one_line


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSetContents:
    """Databases by name, templates not among them; tablespaces as (name, path on the source)."""

    databases: tuple[str, ...] = ()
    tablespaces: tuple[tuple[str, PurePosixPath], ...] = ()


def set_command(stanza: str, label: str, repo_key: int, config: PurePosixPath | None) -> Command:
    """The command that asks for one set."""
    options = [f"--config={config}"] if config is not None else []
    options += [f"--stanza={stanza}", f"--repo={repo_key}", f"--set={label}", "--output=json"]
    levels = ("--log-level-console=off", "--log-level-stderr=warn", "--log-level-file=off")
    return Command(argv=("pgbackrest", *options, *levels, "info"))


def parse_set(text: str, label: str) -> BackupSetContents:
    """:raises CommandFailed: if the answer does not tell of the set."""
    status = ""
    try:
        stanzas = json.loads(text)
        status = "".join(f": {one_line(stanza['status']['message'])}" for stanza in stanzas)
        found = next(backup for stanza in stanzas for backup in stanza["backup"] if backup["label"] == label)
        return BackupSetContents(
            databases=tuple(each["name"] for each in found.get("database-ref") or ()),
            tablespaces=tuple(
                (str(each["name"]), PurePosixPath(each["destination"]))
                for each in found.get("tablespace") or ()
            ),
        )
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise CommandFailed(
            f"pgBackRest does not tell what backup set {label} holds{status}", stderr_end=text[-500:]
        ) from error
