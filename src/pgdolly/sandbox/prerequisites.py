"""What a sandbox needs of this machine, looked for before anything is created."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from pgdolly.domain.errors import CommandFailed, InvalidInput, Refused
from pgdolly.sandbox.account import acting_as, is_root, run_as
from pgdolly.sandbox.added import with_added
from pgdolly.sandbox.layout import (
    DEFAULT_NETWORK,
    World,
    checked_directory,
    checked_network,
    default_directory,
)
from pgdolly.sandbox.record import Record
from pgdolly.sandbox.render import SYSTEM_PATH

POSTGRESQL_PROGRAMS = Path("/usr/lib/postgresql")
SERVER_ACCOUNT = "postgres"


def find_world(
    home: Path,
    remembered: Record | None,
    *,
    network: str | None,
    directory: Path | None,
    pg_version: int | None,
    added: Sequence[str] = (),
) -> World:
    """Return the sandbox of this home, as it is remembered or as the options and this machine would have it.

    :param added: clusters to add nodes for to those that there are, each as `NAME` or `NAME:MEMBERS`.
    :raises InvalidInput: if the options contradict each other, the machine or what is remembered.
    :raises Refused: if a program is missing.
    """
    if remembered is not None:
        _check_unchanged(remembered, network=network, directory=directory, pg_version=pg_version)
        network, directory, pg_version = remembered.network, Path(remembered.directory), remembered.pg_version
    network = checked_network(network or DEFAULT_NETWORK)
    directory = checked_directory(
        directory.absolute() if directory else default_directory(home, network, is_root=is_root())
    )
    account = _account()
    version, pg_bin = _postgresql(pg_version)
    # Resolved: the environment may be reached over a link in a directory that the servers cannot enter.
    environment_bin = Path(sys.prefix).resolve() / "bin"
    missing = [name for name in ("patroni", "supervisord") if not (environment_bin / name).is_file()]
    if missing:
        raise InvalidInput(
            f"{' and '.join(missing)} not found in {environment_bin}",
            where="sandbox",
            untouched="nothing was created",
            next_command="uv sync --extra sandbox",
        )
    return World(
        home=home,
        directory=directory,
        network=network,
        user=account.pw_name,
        user_home=account.pw_dir,
        pg_version=version,
        pg_bin=pg_bin,
        environment_bin=environment_bin,
        pgbackrest=_program("pgbackrest", "pgbackrest"),
        etcd=_program("etcd", "etcd-server etcd-client"),
        added=with_added(remembered.added if remembered else {}, added, directory),
    )


def check_environment_is_reachable(world: World) -> None:
    """Check that the servers' account can execute Patroni where it is installed.

    :raises Refused: if not; a virtual environment below a root-only home directory is the usual reason.
    """
    python = world.environment_bin / "python"
    try:
        run_as(
            world.user,
            (str(python), "-c", "import patroni, supervisor"),
            where="sandbox",
            what=f"importing Patroni as {world.user}",
            environment={"HOME": world.user_home},
            deadline_seconds=30,
        )
    except CommandFailed as error:
        raise Refused(
            f"the servers run as {world.user}, who cannot execute {python} (or the interpreter behind it, "
            f"{python.resolve()}): {(error.stderr_end.splitlines() or ['no reason given'])[-1]}",
            where="sandbox",
            untouched="nothing was created",
            next_command="bin/setup    # puts the environment where the servers can read it",
        ) from None


def check_directory_is_reachable(world: World) -> None:
    """Check that the servers' account can come through to where its directory is or will be.

    :raises Refused: if not.
    """
    existing = next(parent for parent in (world.directory, *world.directory.parents) if parent.exists())
    usual = default_directory(world.home, world.network, is_root=True)
    with acting_as(world.user):
        if os.access(existing, os.X_OK, effective_ids=True):
            return
    raise Refused(
        f"the servers run as {world.user}, who cannot enter {existing}",
        where="--directory",
        untouched="nothing was created",
        next_command=f"pgdolly sandbox up --directory {usual}",
    )


def overlay_warning(directory: Path) -> str | None:
    """Return a warning if `directory` lies, or would lie, on an overlay file system."""
    existing = next(parent for parent in (directory, *directory.parents) if parent.exists())
    mounts: dict[str, str] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, tail = line.partition(" - ")
        mounts[fields.split()[4]] = tail.split()[0]
    holder = next(
        str(parent) for parent in (existing.resolve(), *existing.resolve().parents) if str(parent) in mounts
    )
    if mounts[holder] != "overlay":
        return None
    return (
        f"warning: {directory} lies on overlayfs, which is slow for databases; --directory can name a volume"
    )


def _check_unchanged(
    remembered: Record, *, network: str | None, directory: Path | None, pg_version: int | None
) -> None:
    asked = {
        "--network": network,
        "--directory": directory and str(directory.absolute()),
        "--pg-version": pg_version,
    }
    has = {
        "--network": remembered.network,
        "--directory": remembered.directory,
        "--pg-version": remembered.pg_version,
    }
    for option, value in asked.items():
        if value is not None and value != has[option]:
            raise InvalidInput(
                f"this home's sandbox was made with {has[option]}, not {value}",
                where=option,
                untouched="the existing sandbox was left as it is",
                next_command="pgdolly sandbox down --purge    # or set PGDOLLY_HOME to another directory",
            )


def _account() -> pwd.struct_passwd:
    if not is_root():
        return pwd.getpwuid(os.geteuid())
    try:
        return pwd.getpwnam(SERVER_ACCOUNT)
    except KeyError:
        raise Refused(
            f"there is no account {SERVER_ACCOUNT}, as which root's sandbox runs its servers",
            where="sandbox",
            untouched="nothing was created",
            next_command="apt-get install postgresql",
        ) from None


def _postgresql(version: int | None) -> tuple[int, Path]:
    """Return the major version and the directory of its server programs: the newest unless one is named."""
    found = {
        int(path.parent.parent.name): path.parent
        for path in POSTGRESQL_PROGRAMS.glob("*/bin/initdb")
        if path.parent.parent.name.isdigit()
    }
    if version is None and found:
        version = max(found)
    if version is None or version not in found:
        raise Refused(
            f"PostgreSQL {version or ''} is not installed below {POSTGRESQL_PROGRAMS}".replace("  ", " "),
            where="sandbox",
            untouched="nothing was created",
            next_command=f"apt-get install postgresql{f'-{version}' if version else ''}",
        )
    return version, found[version]


def _program(name: str, packages: str) -> Path:
    path = shutil.which(name, path=SYSTEM_PATH)
    if path is None:
        raise Refused(
            f"{name} is not installed",
            where="sandbox",
            untouched="nothing was created",
            next_command=f"apt-get install {packages}",
        )
    return Path(path)
