"""Single values in a vault (`!vault |`), which `ansible-inventory` hands over as they are encrypted."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pgdolly.domain.errors import CommandFailed
from pgdolly.inventory.parameters import LATER, HostParameters
from pgdolly.inventory.repository import Unfilled

ENCRYPTED = "__ansible_vault"  # the only key of the object that stands for an encrypted value
TIMEOUT_SECONDS = 60
_AT_ONCE = 4


def decrypted(
    hostvars: Mapping[str, Mapping[str, Any]], program: str, environment: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """The same variables with those that pgdolly reads decrypted by `ansible-vault`; each text once.

    Of what is read for the repository's sake, a value that cannot be decrypted becomes :class:`Unfilled`.

    :param program: `ansible-vault`. :param environment: Ansible's, which says where the passwords are.
    :raises CommandFailed: with Ansible's own message, if another value cannot be decrypted.
    """
    members = {host: variables for host, variables in hostvars.items() if "pg_cluster" in variables}
    found: dict[str, str] = {}  # by text: the first variable that needs it, preferably one that must be there
    for name in sorted(HostParameters.model_fields, key=lambda each: each in LATER):
        for variables in members.values():
            for text in _encrypted(variables.get(name)):
                found.setdefault(text, name)
    if not found:
        return {host: dict(variables) for host, variables in hostvars.items()}
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        clear = dict(
            zip(found, pool.map(lambda text: _decrypt(text, program, environment), found), strict=True)
        )
    for text, value in clear.items():
        if isinstance(value, CommandFailed):
            if found[text] not in LATER:
                value.where = f"inventory, {found[text]}"
                raise value
            clear[text] = Unfilled(f"it cannot be decrypted: {value.stderr_end}")
    return {
        host: {
            name: _replaced(value, clear)
            if host in members and name in HostParameters.model_fields
            else value
            for name, value in variables.items()
        }
        for host, variables in hostvars.items()
    }


def _encrypted(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if set(value) == {ENCRYPTED}:
            yield value[ENCRYPTED]
        else:
            for each in value.values():
                yield from _encrypted(each)
    elif isinstance(value, list):
        for each in value:
            yield from _encrypted(each)


def _replaced(value: Any, clear: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        if set(value) == {ENCRYPTED}:
            return clear[value[ENCRYPTED]]
        return {key: _replaced(each, clear) for key, each in value.items()}
    return [_replaced(each, clear) for each in value] if isinstance(value, list) else value


def _decrypt(text: str, program: str, environment: Mapping[str, str]) -> str | CommandFailed | Unfilled:
    # The encrypted text may lie in a file; standard input is where ansible-vault would ask for a password.
    with tempfile.TemporaryDirectory(prefix="pgdolly-vault-") as directory:
        path = Path(directory) / "encrypted"
        path.write_text(text)
        argv = (program, "decrypt", "--output", "-", str(path))
        try:
            done = subprocess.run(
                argv,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
                check=False,
                # No terminal to ask on: it would ask once for every value.
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            return _failed(argv, 124, f"ansible-vault did not answer within {TIMEOUT_SECONDS} s")
    return done.stdout if done.returncode == 0 else _failed(argv, done.returncode, _error_of(done.stderr))


def _error_of(said: str) -> str:
    """Ansible's error without the prompt that nobody could answer."""
    errors = [line for line in said.splitlines() if line.startswith(("[ERROR]", "ERROR!"))]
    if any("EOFError" in line for line in errors):
        return "no vault password is known"
    return "\n".join(errors) or said.strip()


def _failed(argv: tuple[str, ...], status: int, said: str) -> CommandFailed:
    return CommandFailed(
        "Ansible cannot decrypt the value",
        argv=argv,
        status=status,
        stderr_end=said,
        untouched="nothing was changed",
        next_command="export ANSIBLE_VAULT_PASSWORD_FILE=…, and call pgdolly again",
    )
