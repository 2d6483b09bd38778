"""A new member's pgbackrest.conf, made of a template's; and one that leads to the source's repository. Pure.

Source: pgBackRest, "Configuration Reference".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from pgdolly.domain.draft import MARK
from pgdolly.domain.repository import RepositorySettings
from pgdolly.operations.clone.naming import Naming

_PLACES = ("spool-path", "lock-path", "log-path")


def derive_pgbackrest(
    text: str, naming: Naming, *, stanza: str, repository: RepositorySettings | None
) -> str:
    """The file: its general settings, and one stanza, which is the new cluster's.

    :param stanza: the template's. :param repository: the inventory's for the new cluster, if it names one.
    """
    lines = [MARK, *_derived(text, naming, stanza)]
    if repository is not None:
        lines = [line for line in lines if not line.startswith("repo")]
        at = lines.index("[global]") + 1
        lines[at:at] = [f"{name}={value}" for name, value in repository.revealed()]
    return "\n".join(lines) + "\n"


def upstream_text(repository: RepositorySettings, general: str) -> str:
    """The configuration that reads the source's repository while the new cluster is a standby cluster.

    :param general: the new member's own file, whose general settings hold here too.
    """
    kept = [
        line
        for section, line in _options(general)
        if section == "global" and not line.startswith(("repo", "pg"))
    ]
    lines = [MARK, "[global]", *kept, *(f"{name}={value}" for name, value in repository.revealed())]
    return "\n".join(lines) + "\n"


def directories(text: str) -> Iterator[PurePosixPath]:
    """Where pgBackRest keeps its spool, locks and logs."""
    for _, line in _options(text):
        name, _, value = line.partition("=")
        if name.strip() in _PLACES:
            yield PurePosixPath(value.strip())


def stop_files(text: str, stanza: str) -> tuple[PurePosixPath, ...]:
    """Where `pgbackrest stop` leaves word that nothing of the stanza, or nothing at all, may be done."""
    places = [
        PurePosixPath(line.partition("=")[2].strip())
        for section, line in _options(text)
        if section == "global" and line.partition("=")[0].strip() == "lock-path"
    ]
    lock_path = places[-1] if places else PurePosixPath("/tmp/pgbackrest")
    return (lock_path / f"{stanza}.stop", lock_path / "all.stop")


def _derived(text: str, naming: Naming, stanza: str) -> Iterator[str]:
    new = naming.new
    sections: dict[str, tuple[str, ...]] = {"global": (), stanza: ()}
    for section, line in _options(text):
        if section.partition(":")[0] in ("global", stanza):
            sections[section] = (*sections.get(section, ()), line)
    own = {"pg1-path": str(new.data_directory), "pg1-port": str(new.port)}
    for section in sorted(sections, key=lambda name: not name.startswith("global")):
        base, colon, command = section.partition(":")
        yield f"[{base if base == 'global' else new.cluster}{colon}{command}]"
        if section == stanza:
            yield from (f"{name}={value}" for name, value in own.items())
        for line in sections[section]:
            name, _, value = (part.strip() for part in line.partition("="))
            if name in own or (name.startswith("pg") and not name.startswith("pg1-")):
                continue  # other members of the template's
            if name in _PLACES or name == "pg1-socket-path":
                value = naming.place(value)
            yield f"{name}={naming.text(value)}"


def _options(text: str) -> list[tuple[str, str]]:
    """Every option with its section, in the file's order."""
    section, found = "global", []
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif "=" in line and not line.startswith("#"):
            found.append((section, line))
    return found
