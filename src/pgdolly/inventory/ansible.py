"""Read an inventory through `ansible-inventory`, so that whatever Ansible understands works here too."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from pgdolly.domain.errors import CommandFailed, InvalidInput
from pgdolly.inventory.fleet import Fleet, fleet_from_variables

TIMEOUT_SECONDS = 60


def find_inventory(given: str | None, controller_home: Path) -> str:
    """The inventory to read: what was given, else `$PGDOLLY_INVENTORY`, else `./pigsty.yml`, else the sandbox's.

    :raises InvalidInput: if there is none.
    """
    if given is not None:
        if not Path(given).exists():
            raise InvalidInput(f"there is no inventory {given}", untouched="nothing was changed")
        return given
    named = os.environ.get("PGDOLLY_INVENTORY")
    if named:
        return find_inventory(named, controller_home)
    for candidate in (Path("pigsty.yml"), controller_home / "sandbox" / "pigsty.yml"):
        if candidate.exists():
            return str(candidate)
    raise InvalidInput(
        "no inventory: neither --inventory nor PGDOLLY_INVENTORY is set, "
        "there is no pigsty.yml here, and no sandbox is up",
        untouched="nothing was changed",
        next_command="pgdolly sandbox up, or pgdolly COMMAND --inventory YOUR-INVENTORY",
    )


def read_fleet(inventory: str) -> Fleet:
    """:raises CommandFailed: with Ansible's own message, if it cannot read the inventory."""
    beside = Path(sys.executable).parent / "ansible-inventory"
    program = str(beside) if beside.exists() else shutil.which("ansible-inventory")
    if program is None:
        raise InvalidInput("ansible-inventory is not installed", next_command="pip install ansible-core")
    argv = (program, "-i", inventory, "--list")
    # Ansible refuses to run in a locale that is not UTF-8; an administrator's cron job has none at all.
    environment = {
        **os.environ,
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_LOCALHOST_WARNING": "False",
        # Else it warns, exits with 0, and the inventory is one without a host.
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "True",
    }
    try:
        done = subprocess.run(
            argv, env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(
            f"ansible-inventory did not answer within {TIMEOUT_SECONDS} s", argv=argv, status=124
        ) from error
    if done.returncode != 0:
        raise CommandFailed(
            "Ansible cannot read the inventory",
            where=inventory,
            argv=argv,
            status=done.returncode,
            stderr_end=done.stderr.strip(),
            untouched="nothing was changed",
        )
    return fleet_from_variables(json.loads(done.stdout)["_meta"]["hostvars"], inventory)
