"""Build the command that runs one of the programs in `pgdolly/drivers/node` on a member's node."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

from pgdolly.domain.cluster import Member
from pgdolly.domain.command import Command
from pgdolly.domain.errors import CommandFailed
from pgdolly.transport.shell import Shell, run_checked

# Patroni's interpreter is the one that its executable names in its first line: it has Patroni's library and the
# driver of its store. The value is split on purpose: "#!/usr/bin/env python3" is two words.
_LAUNCH = 'exec $(sed -n "1s/^#!//p" "$(command -v "$1")") - "$2"'


_IMPORT = re.compile(r"^from (\w+) import", re.MULTILINE)
_SENT_ALONG = """\
import sys as _sys, types as _types
_module = _sys.modules[{name!r}] = _types.ModuleType({name!r})
exec(compile({source!r}, {file!r}, "exec"), _module.__dict__)
"""


@cache
def program_source(name: str) -> str:
    """What is sent to a node: the program, with those of its siblings before it that it imports."""
    here = files("pgdolly.drivers.node")
    source = here.joinpath(f"{name}.py").read_text(encoding="utf-8")
    siblings = [each for each in _IMPORT.findall(source) if here.joinpath(f"{each}.py").is_file()]
    sent_along = [
        _SENT_ALONG.format(name=each, file=f"{each}.py", source=program_source(each)) for each in siblings
    ]
    return "".join([*sent_along, source])


def node_program(
    member: Member, name: str, arguments: dict[str, Any], summary: str, *, secrets: object = None
) -> Command:
    """The command that runs a program with `arguments` (JSON-able, never secret: they are in the argument list).

    :param summary: what it does, in the words that a plan shows.
    :param secrets: JSON-able; the program finds it under the name SECRETS, and nobody sees it on the way.
    """
    source = program_source(name)
    if secrets is not None:
        source = f"import json\nSECRETS = json.loads({json.dumps(json.dumps(secrets))})\n{source}"
    return Command(
        argv=("sh", "-c", _LAUNCH, name, member.patroni, json.dumps(arguments, default=str)),
        stdin=source,
        secret=secrets is not None,
        summary=summary,
    )


def node_job(member: Member, name: str, arguments: dict[str, Any], summary: str) -> Command:
    """The same as a command for a detached job, which has no standard input: the program is an argument."""
    source, given = program_source(name), json.dumps(arguments, default=str)
    launch = _LAUNCH.replace('- "$2"', '-c "$3" "$2"')
    return Command(argv=("sh", "-c", launch, name, member.patroni, given, source), summary=summary)


async def run_node_program(
    shell: Shell, command: Command, *, timeout_seconds: float = 60.0
) -> dict[str, Any]:
    """Run it and return the object that it printed.

    :raises CommandFailed: if it failed or printed something else.
    """
    assert command.summary is not None
    output = await run_checked(shell, command, timeout_seconds=timeout_seconds, doing=command.summary)
    try:
        answer = json.loads(output)
    except ValueError as error:
        raise CommandFailed(
            f"could not {command.summary}: the answer is not JSON",
            where=shell.node_name,
            stderr_end=output[-500:],
        ) from error
    assert isinstance(answer, dict)
    return answer
