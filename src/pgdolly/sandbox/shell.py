"""A node's shell, and one command in a node's environment. The process becomes that command."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from pgdolly.domain.errors import InvalidInput
from pgdolly.sandbox.layout import SandboxNode, World
from pgdolly.sandbox.render import shell_environment, shell_path


def open_shell(world: World, node: SandboxNode) -> NoReturn:
    """Become a bash on a node: interactive, or reading standard input if that is no terminal."""
    if sys.stdin.isatty():
        run(world, node, ("bash", "--rcfile", str(node.wrappers / "bashrc"), "-i"))
    run(world, node, ("bash", "-s"))


def run(world: World, node: SandboxNode, command: Sequence[str]) -> NoReturn:
    """Become `command` in a node's environment, in the caller's working directory and as the caller.

    :raises InvalidInput: if there is no such command.
    """
    environment = {**os.environ, **shell_environment(world, node)}
    environment["PATH"] = f"{shell_path(world, node)}:{os.environ.get('PATH', os.defpath)}"
    sys.stdout.flush()
    try:
        os.execvpe(command[0], list(command), environment)
    except OSError as error:
        raise InvalidInput(f"cannot run {command[0]}: {error.strerror}", where=node.name) from None
