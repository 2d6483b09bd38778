"""Read an inventory through `ansible-inventory`, so that whatever Ansible understands works here too."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pgdolly.domain.errors import CommandFailed, InvalidInput
from pgdolly.inventory.fleet import Fleet, fleet_from_variables, refuse_hosts_of_two_clusters
from pgdolly.inventory.vault import decrypted

TIMEOUT_SECONDS = 60


def find_inventories(given: Sequence[str], controller_home: Path) -> tuple[str, ...]:
    """The inventories to read: those given, else `$PGDOLLY_INVENTORY`, else `./pigsty.yml`, else the sandbox's.

    :param given: what `-i` says, each a file, a directory, an executable, or hosts with a comma in between.
    :raises InvalidInput: if there is none.
    """
    named = os.environ.get("PGDOLLY_INVENTORY")
    if chosen := tuple(given) or ((named,) if named else ()):
        for each in chosen:
            # Ansible takes what has a comma for a list of hosts.
            if "," not in each and not Path(each).exists():
                raise InvalidInput(
                    f"there is no inventory {each}" + ("" if given else ", which PGDOLLY_INVENTORY names"),
                    untouched="nothing was changed",
                    next_command="the same command with --inventory YOUR-INVENTORY",
                )
        return chosen
    for candidate in (Path("pigsty.yml"), controller_home / "sandbox" / "pigsty.yml"):
        if candidate.exists():
            return (str(candidate),)
    raise InvalidInput(
        "no inventory: neither --inventory nor PGDOLLY_INVENTORY is set, "
        "there is no pigsty.yml here, and no sandbox is up",
        untouched="nothing was changed",
        next_command="pgdolly sandbox up, or pgdolly COMMAND --inventory YOUR-INVENTORY",
    )


def read_fleet(inventories: Sequence[str]) -> Fleet:
    """Read the inventories as one; of variables that several set, the last one's count, as with Ansible.

    :raises CommandFailed: with Ansible's own message, if it cannot read or decrypt them.
    :raises InvalidInput: if what they say of a cluster is wrong.
    """
    origin = ", ".join(inventories)
    argv = (
        _program("ansible-inventory"),
        *(word for each in inventories for word in ("-i", each)),
        "--list",
    )
    # Ansible refuses to run in a locale that is not UTF-8; an administrator's cron job has none at all.
    environment = {
        **os.environ,
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_LOCALHOST_WARNING": "False",
        # Else it warns, exits with 0, and the inventory is one without these hosts: a cluster would lack members.
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
            where=origin,
            argv=argv,
            status=done.returncode,
            stderr_end=done.stderr.strip(),
            untouched="nothing was changed",
            next_command=_remedy(inventories, done.stderr),
        )
    tree = json.loads(done.stdout)
    hostvars = decrypted(tree["_meta"]["hostvars"], _program("ansible-vault"), environment)
    refuse_hosts_of_two_clusters(hostvars, dict(_hosts_by_group(tree)), origin)
    return fleet_from_variables(hostvars, origin, tuple(_lasting(each) for each in inventories))


def _program(name: str) -> str:
    """The executable that is installed with pgdolly, else the one on the path."""
    beside = Path(sys.executable).parent / name
    program = str(beside) if beside.exists() else shutil.which(name)
    if program is None:
        raise InvalidInput(f"{name} is not installed", next_command="pip install ansible-core")
    return program


def _remedy(inventories: Sequence[str], said: str) -> str | None:
    if "no vault secrets" in said:
        return "export ANSIBLE_VAULT_PASSWORD_FILE=…, and call pgdolly again"
    directories = [each for each in inventories if Path(each).is_dir()]
    if directories and "parse inventory source" in said:
        # Ansible alone would pass over it with a warning, and with it over the hosts that it was to bring.
        pigsty = next((each for each in directories if (Path(each) / "pigsty.yml").exists()), None)
        name_it = f"name the file: -i {Path(pigsty) / 'pigsty.yml'}; or " if pigsty else ""
        return (
            f"{name_it}take out of {directories[0]} what is no inventory, empty directories too, "
            "or name it in ANSIBLE_INVENTORY_IGNORE_REGEX"
        )
    return None


def _hosts_by_group(tree: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    for group, content in tree.items():
        if group != "_meta":
            yield group, content.get("hosts", [])


def _lasting(inventory: str) -> str:
    """A name that holds in another working directory too: a run may be taken up in one."""
    return str(Path(inventory).absolute()) if Path(inventory).exists() else inventory
