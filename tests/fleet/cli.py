"""The command tests/fleet/fleet."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import get_args

from fleet import base, clusters, machine
from fleet.fleet import Fleet, take_down
from fleet.layout import DBSU, EXTRA_NODES, Place, Plan, RepositoryKind
from fleet.running import FleetError


def main() -> int:
    arguments = _parser().parse_args()
    try:
        status: int = arguments.does(arguments)
    except FleetError as error:
        print(f"fleet: {error}", file=sys.stderr)
        return 1
    return status


def _say(line: str) -> None:
    print(line, flush=True)


def _up(arguments: argparse.Namespace) -> int:
    plan = Plan(
        postgres=arguments.postgres, repository=arguments.repo, extra=tuple(sorted(set(arguments.extra)))
    )
    fleet = Fleet.up(plan, say=_say)
    _say(f"inventory  {fleet.inventory}")
    _say(f"ssh        {' '.join(fleet.controller_prefix)} ssh -F {fleet.ssh_config} {plan.nodes[0].name}")
    return 0


def _status(_: argparse.Namespace) -> int:
    fleet = Fleet.open()
    for cluster, members in fleet.plan.clusters.items():
        found = clusters.look(fleet.place, members)
        for node in members:
            state = found.get(node.name)
            power = "on " if fleet.nodes[node.name].pid else "OFF"
            shown = f"{state.role} {state.state} timeline {state.timeline}" if state else "unknown to Patroni"
            _say(f"{node.name:<11} {node.address:<12} {power} {cluster} {shown}")
    for node in fleet.plan.nodes:
        if node.is_empty:
            _say(f"{node.name:<11} {node.address:<12} {'on ' if fleet.nodes[node.name].pid else 'OFF'} empty")
    ills = fleet.ills()
    for ill in ills:
        _say(f"not well: {ill}")
    return 1 if ills else 0


def _exec(arguments: argparse.Namespace) -> int:
    fleet = Fleet.open()
    words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
    argv = [
        *machine.entrance(fleet.place, fleet.planned(arguments.node), arguments.user),
        *(words or ["bash", "-l"]),
    ]
    os.execvp(argv[0], argv)


def _down(arguments: argparse.Namespace) -> int:
    for stays in take_down(Place.of_environment(), purge=arguments.purge):
        _say(f"{stays} stays: another fleet stands on it")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fleet", description="pgdolly's own test fleet")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="make it; under two minutes once the base is there")
    up.add_argument("--repo", choices=get_args(RepositoryKind), default="posix", help="the repository's kind")
    up.add_argument("--postgres", type=int, choices=sorted(base.RECIPES), default=17, help="major version")
    up.add_argument("--with", dest="extra", action="append", choices=sorted(EXTRA_NODES), default=[])
    up.set_defaults(does=_up)

    status = commands.add_parser("status", help="what is on, and what Patroni says")
    status.set_defaults(does=_status)

    execute = commands.add_parser("exec", help="run a command on a node; a shell without one")
    execute.add_argument("--user", default=DBSU)
    execute.add_argument("node")
    execute.add_argument("words", nargs=argparse.REMAINDER, metavar="-- CMD")
    execute.set_defaults(does=_exec)

    for name, method, help_text in (
        ("power-off", Fleet.power_off, "pull a node's plug"),
        ("boot", Fleet.boot, "start a node on the disks that it had"),
    ):
        command = commands.add_parser(name, help=help_text)
        command.add_argument("node")
        command.set_defaults(does=lambda given, method=method: method(Fleet.open(), given.node) or 0)

    for name, action, help_text in (
        ("cut", Fleet.cut, "cut the controller's network"),
        ("mend", Fleet.mend, "undo cut"),
    ):
        command = commands.add_parser(name, help=help_text)
        command.set_defaults(does=lambda _, action=action: action(Fleet.open()) or 0)

    inventory = commands.add_parser("where", help="paths, as JSON")
    inventory.set_defaults(does=_where)

    down = commands.add_parser("down", help="end and remove it, also one that is half up")
    down.add_argument("--purge", action="store_true", help="also remove the base")
    down.set_defaults(does=_down)
    return parser


def _where(_: argparse.Namespace) -> int:
    fleet = Fleet.open()
    shown = {
        "inventory": str(fleet.inventory),
        "ssh_config": str(fleet.ssh_config),
        "controller_prefix": fleet.controller_prefix,
        "nodes": {name: {"root": str(node.root), "pg": str(node.pg)} for name, node in fleet.nodes.items()},
    }
    print(json.dumps(shown, indent=2))
    return 0
