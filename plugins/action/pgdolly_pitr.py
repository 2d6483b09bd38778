# pgdolly: clone whole PostgreSQL clusters.
# Copyright (C) 2026 The pgdolly developers
#
# This program is free software: you can redistribute it and/or modify it under the terms of the GNU General Public
# License as published by the Free Software Foundation, either version 3 of the License, or (at your option) any
# later version.
#
# This program is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY; without even the implied
# warranty of MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. See the GNU General Public License for more
# details.
#
# You should have received a copy of the GNU General Public License along with this program (the file LICENSE beside
# this one). If not, see <https://www.gnu.org/licenses/>.
#
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hand Ansible's inventory and the variable `pg_pitr` to pgdolly, and show its plan and progress.

This file imports Ansible and therefore carries its licence; the library it calls is Apache-2.0.
"""

from __future__ import annotations

import asyncio
import io
import signal
import sys
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ansible import context
from ansible.plugins.action import ActionBase
from ansible.template import Templar
from ansible.utils.color import ANSIBLE_COLOR
from ansible.utils.display import Display

if TYPE_CHECKING:
    from pgdolly.engine.events import Event, Listener
    from pgdolly.engine.record import RunRecord
    from pgdolly.operations.reset.run import PreparedReset

DOCUMENTATION = r"""
name: pgdolly_pitr
short_description: Point-in-time recovery of whole PostgreSQL clusters
description:
  - Resets the clusters that the play's limit names, as the variable C(pg_pitr) says.
  - Runs once, whatever the number of hosts. In check mode it shows the plan and changes nothing.
options: {}
"""

display = Display()

# Ansible loads this file in its main process too, which does the writing and leaves the flushing to the system: in
# a pipe or a log, progress would come in chunks of 8 kB.
if isinstance(sys.stdout, io.TextIOWrapper):
    sys.stdout.reconfigure(line_buffering=True)


class ActionModule(ActionBase):  # type: ignore[misc]
    """`pgdolly_pitr`: no arguments; the limit and the variable `pg_pitr` say it all."""

    TRANSFERS_FILES = False
    BYPASS_HOST_LOOP = True  # once for the play: a cluster is reset as a whole
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            from pgdolly.domain.errors import PgdollyError
        except ImportError as error:
            return {
                **result,
                "failed": True,
                "msg": f"The Python that runs Ansible ({sys.executable}) has no pgdolly: {error}. Nothing "
                "was changed.\n"
                "Call the ansible-playbook that lies beside pgdolly: after bin/setup, "
                "PATH=$PWD/.venv/bin:$PATH ./pgsql-pitr.yml …",
            }
        try:
            return {**result, **self._reset(task_vars or {})}
        except PgdollyError as error:
            from pgdolly.cli.errors import error_lines

            return {**result, "failed": True, "msg": "\n".join(error_lines(error))}

    def _reset(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        from pgdolly.cli.errors import error_lines
        from pgdolly.cli.plan_view import plan_lines
        from pgdolly.domain.errors import PgdollyError
        from pgdolly.engine.plan import outline
        from pgdolly.inventory.fleet import fleet_from_variables, refuse_hosts_of_two_clusters
        from pgdolly.operations.playbook import refuse_source_among, request_of, targets_of
        from pgdolly.operations.several import prepare_all

        hostvars = task_vars["hostvars"]
        variables = self._host_variables(hostvars)
        sources = tuple(str(source) for source in task_vars.get("ansible_inventory_sources") or ())
        origin = ", ".join(sources) or "Ansible"
        refuse_hosts_of_two_clusters(variables, task_vars["groups"], origin)
        targets = targets_of(
            variables, limit=task_vars.get("ansible_limit"), hosts=task_vars["ansible_play_hosts_all"]
        )
        fleet = fleet_from_variables(variables, origin, sources)
        hosts = {str(of_host["pg_cluster"]): host for host, of_host in variables.items()}
        requests = {name: request_of(hostvars[hosts[name]].get("pg_pitr")) for name in targets}
        refuse_source_among(requests)
        prepared = _run(prepare_all(fleet, requests))
        plans = [outline(each.plan) for each in prepared.values()]
        for plan in plans:
            _show(plan_lines(plan))
        if self._task.check_mode:
            _show(["", "check mode: nothing was changed"])
            return {"changed": True, "plans": plans}
        ended, unfinished = _carry_out(prepared)
        errors = {name: error for name, error in ended.items() if isinstance(error, Exception)}
        runs = [
            {"run": run.run_id, "target": run.target, "state": run.state.value}
            for run in ended.values()
            if not isinstance(run, Exception)
        ]
        for error in errors.values():
            # One of many, or what no error of pgdolly's explains: Ansible shows where it comes from.
            if len(ended) == 1 or not isinstance(error, PgdollyError):
                raise error
        if errors:
            lines = [f"{len(errors)} of {len(ended)} targets failed: {', '.join(errors)}"]
            for name, error in errors.items():
                lines += [f"{name}:", *(f"  {line}" for line in error_lines(error))]
                if name in unfinished:
                    lines.append(f"    to go on:  pgdolly resume {unfinished[name]}")
            # Without the plans: Ansible shows all of a failed task's result, and they would bury the message.
            return {"changed": True, "runs": runs, "failed": True, "msg": "\n".join(lines)}
        return {"changed": True, "plans": plans, "runs": runs}

    def _host_variables(self, hostvars: Any) -> dict[str, dict[str, Any]]:
        from pgdolly.operations.playbook import host_variables

        variables = {}
        for host in hostvars:
            raw = hostvars.raw_get(host)
            templar = Templar(loader=self._loader, variables=raw)
            variables[host] = _Variables(raw, templar, opened=frozenset({"pgbackrest_repo"}))
        return host_variables(variables, _defaults())


class _Variables(Mapping[str, Any]):
    """Variables that are filled in as they are read; a mapping in `opened` item by item, at every depth.

    Ansible's own mapping fills in a variable as a whole, and one repository that cannot be would spoil them all.
    """

    def __init__(self, raw: Mapping[str, Any], templar: Any, opened: frozenset[str] | None = None) -> None:
        self._raw = raw
        self._templar = templar
        self._opened = opened

    def __getitem__(self, name: str) -> Any:
        value = self._raw[name]
        if isinstance(value, Mapping) and (self._opened is None or name in self._opened):
            return _Variables(value, self._templar)
        return self._templar.template(value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)


def _carry_out(
    prepared: dict[str, PreparedReset],
) -> tuple[dict[str, RunRecord | Exception], dict[str, str]]:
    """Run all at once, and say what came of each; every line begins with its target if there are several.

    :return: by target, the run or its error; and the ids of those runs that can be taken up again.
    """
    from pgdolly.cli.listeners import PlainListener
    from pgdolly.cli.outcome import outcome_lines
    from pgdolly.domain.errors import PgdollyError
    from pgdolly.engine.events import RunEnded, RunStarted
    from pgdolly.operations.reset.run import execute_prepared
    from pgdolly.operations.several import each_to_its_end

    width = max(len(name) for name in prepared)
    unfinished: dict[str, str] = {}

    def listener(name: str) -> Listener:
        prefix = f"{name:{width}} | " if len(prepared) > 1 else ""
        show = PlainListener(_DisplayStream(prefix))  # type: ignore[arg-type]

        def listen(event: Event) -> None:
            show(event)
            if isinstance(event, RunEnded) and event.outcome not in ("failed", "interrupted"):
                unfinished.pop(name)
            if isinstance(event, RunStarted):
                unfinished[name] = event.run_id
                # Now, because Ansible drops what a worker says once it has been interrupted.
                _show([f"{prefix}should this be interrupted: pgdolly resume {event.run_id}"])

        return listen

    try:
        ended: dict[str, RunRecord | Exception] = _run(
            each_to_its_end(
                {
                    name: execute_prepared(each, listener(name), door="ansible")
                    for name, each in prepared.items()
                }
            )
        )
    except asyncio.CancelledError:
        # Jobs that were begun on nodes go on; the journals say where the runs stand.
        raise PgdollyError(
            "interrupted",
            where=", ".join(unfinished or prepared),
            next_command="; ".join(f"pgdolly resume {run}" for run in unfinished.values()) or "pgdolly runs",
        ) from None
    for run in ended.values():
        if not isinstance(run, Exception):
            _show(outcome_lines(run))
    return ended, unfinished


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run asynchronous work in this worker process; SIGINT and SIGTERM cancel it, so that the journal is closed.

    :raises asyncio.CancelledError: if one of them came.
    """

    async def guarded() -> Any:
        task = asyncio.ensure_future(work)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await task

    with _ansibles_signal_handlers_after():
        return asyncio.run(guarded())


@contextmanager
def _ansibles_signal_handlers_after() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _defaults() -> dict[str, Any]:
    """What the command line or ansible.cfg says for every host; the inventory's own variables come before it."""
    given = {
        "ansible_user": context.CLIARGS.get("remote_user"),
        "ansible_ssh_private_key_file": context.CLIARGS.get("private_key_file"),
        "ansible_connection": context.CLIARGS.get("connection"),
    }
    return {name: value for name, value in given.items() if value}


def _show(lines: Any) -> None:
    import click

    for line in lines:
        # A worker's display is handed to the main process, which writes it at once.
        display.display(line if ANSIBLE_COLOR else click.unstyle(line))


class _DisplayStream:
    """A stream for whole lines that Ansible displays."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def write(self, text: str) -> None:
        display.display(self._prefix + text.rstrip("\n"))

    def flush(self) -> None:
        """Ansible flushes by itself."""
