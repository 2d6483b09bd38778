"""How a host is logged in to, by Ansible's variables: the other names that they have, and what pgdolly does not do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Other names that Ansible knows for the same. Of two that are set, its later one counts, and so here.
# Source: ansible-core, plugins/connection/ssh.py, `vars` of host, port, remote_user and private_key_file.
_WIN_OVER = {
    "ansible_ssh_host": "ansible_host",
    "ansible_ssh_port": "ansible_port",
    "ansible_ssh_user": "ansible_user",
}
_GIVE_WAY_TO = {"ansible_private_key_file": "ansible_ssh_private_key_file"}

_LOGIN_PASSWORDS = ("ansible_password", "ansible_ssh_password", "ansible_ssh_pass")
_SUDO_PASSWORDS = (
    "ansible_become_password",
    "ansible_become_pass",
    "ansible_sudo_password",
    "ansible_sudo_pass",
)


def login_refusal(variables: Mapping[str, Any]) -> str | None:
    """What these variables ask of an SSH login that pgdolly does not do. Their values are never repeated."""
    for name in _LOGIN_PASSWORDS:
        if variables.get(name):
            return f"{name} is set, and pgdolly logs in with keys only"
    for name in _SUDO_PASSWORDS:
        if variables.get(name):
            return f"{name} is set, and pgdolly hands no password to sudo: it needs rules with NOPASSWD"
    method = variables.get("ansible_become_method")
    if method and str(method).rpartition(".")[2] != "sudo":
        return f"ansible_become_method is {method}, and pgdolly changes users by sudo only"
    return None


def with_aliases(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The variables with what stands under another name under its own, too."""
    named = dict(variables)
    named |= {name: variables[other] for other, name in _WIN_OVER.items() if other in variables}
    named |= {n: variables[o] for o, n in _GIVE_WAY_TO.items() if o in variables and n not in variables}
    return named
