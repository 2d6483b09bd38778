"""Writing a sandbox's directories and files, each as the account that owns it."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

from pgdolly.domain.errors import Refused
from pgdolly.sandbox import render
from pgdolly.sandbox.account import acting_as, is_root
from pgdolly.sandbox.layout import CLUSTERS, World
from pgdolly.sandbox.record import Record, ownership_record, read_record, write_record

PASSWORD_BYTES = 18


def check_directory_is_ours(world: World) -> None:
    """Check that the servers' directory is this home's, or free to be taken.

    :raises Refused: otherwise.
    """
    owner = read_record(ownership_record(world.directory))
    if owner is not None:
        if owner.home != str(world.home):
            raise Refused(
                f"it belongs to the sandbox of {owner.home}",
                where=str(world.directory),
                untouched="nothing was created",
                next_command="pgdolly sandbox up --network 127.10.30    # beside it",
            )
        return
    # The plain user's default directory is the one in which the controller's record and lock already are.
    known = {".lock", "sandbox.json", "pigsty.yml"} if world.directory == world.home / "sandbox" else set()
    if world.directory.exists() and {entry.name for entry in world.directory.iterdir()} - known:
        raise Refused(
            "it is not empty and no sandbox's",
            where=str(world.directory),
            untouched="nothing was created",
            next_command="pgdolly sandbox up --directory ANOTHER",
        )


def create_directories(world: World) -> None:
    """Create what is missing. The directory and the wrappers are the caller's, the rest the servers'.

    Root executes the wrappers, so the servers' account must not be able to replace them.
    """
    for directory in (*reversed(world.directory.parents), world.directory):
        if not directory.exists():
            directory.mkdir()
            if is_root():
                directory.chmod(0o755)  # whatever the umask is: the servers' account must come through
    write_record(ownership_record(world.directory), Record.of(world, complete=False))
    for directory in render.directories(world):
        _create_for_servers(world, directory)


def is_laid_out(world: World) -> bool:
    """Whether every directory is there: those of a node may have gone with a cluster that was removed from it."""
    return all(directory.is_dir() for directory in render.directories(world))


def write_configuration(world: World) -> None:
    """Write every configuration file; a patroni.yml only if there is none, as it holds the passwords.

    Added nodes have none: it comes with their cluster.
    """
    _write(world.supervisor_config, render.supervisor_config(world), 0o644)
    for cluster in CLUSTERS:
        members = world.members(cluster)
        with acting_as(world.user):
            written = [node.patroni_config for node in members if node.patroni_config.exists()]
            passwords = render.read_passwords(written[0].read_text()) if written else _new_passwords()
            for node in members:
                if node.patroni_config not in written:
                    _write(node.patroni_config, render.patroni_config(world, node, passwords), 0o600)
                _write(node.pgbackrest_config, render.pgbackrest_config(world, node), 0o644)
    for node in world.nodes:
        node.wrappers.mkdir(parents=True, exist_ok=True)
        for name, text in render.wrappers(world, node).items():
            _write(node.wrappers / name, text, 0o755)
        _write(node.wrappers / "bashrc", render.shell_startup(world, node), 0o644)


def write_inventory(world: World) -> None:
    world.inventory.parent.mkdir(parents=True, exist_ok=True)
    _write(world.inventory, render.inventory(world), 0o644)


def _new_passwords() -> render.Passwords:
    return render.Passwords(
        superuser=secrets.token_urlsafe(PASSWORD_BYTES),
        replication=secrets.token_urlsafe(PASSWORD_BYTES),
        rewind=secrets.token_urlsafe(PASSWORD_BYTES),
    )


def _create_for_servers(world: World, directory: Path) -> None:
    if directory.parent == world.directory and is_root():
        # The parent is root's: make it here, and give it away while it is still empty.
        directory.mkdir(mode=0o700, exist_ok=True)
        shutil.chown(directory, world.user)
        return
    with acting_as(world.user):
        directory.mkdir(mode=0o700, exist_ok=True)


def _write(path: Path, text: str, mode: int) -> None:
    """Put a file in place at once, never readable to more than it shall be."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600, exist_ok=False)
    draft.write_text(text)
    draft.chmod(mode)
    draft.replace(path)
