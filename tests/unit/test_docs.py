"""The documentation: its links lead somewhere, and its reference pages leave nothing out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pgdolly.cli.check import EXIT_STATUS_WRONG
from pgdolly.cli.main import COMMANDS, cli
from pgdolly.domain.errors import PgdollyError
from pgdolly.inventory.parameters import HostParameters
from pgdolly.operations.request import PitrRequest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def reference(name: str) -> str:
    return (ROOT / "docs" / "reference" / name).read_text()


def errors(base: type[PgdollyError] = PgdollyError) -> Iterator[type[PgdollyError]]:
    yield base
    for derived in base.__subclasses__():
        yield from errors(derived)


def options_of(command: click.Command, *path: str) -> Iterator[tuple[str, str]]:
    """Every option of a command and its subcommands: (command, option)."""
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield from ((" ".join(path), option) for option in parameter.opts if option.startswith("--"))
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            subcommand = command.get_command(click.Context(command), name)
            assert subcommand is not None
            yield from options_of(subcommand, *path, name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_to_a_file_and_to_a_heading_in_it(page: Path) -> None:
    broken = []
    for link in _LINK.findall(prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.is_relative_to(ROOT) or not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(link)
    assert not broken


def test_every_page_is_reached_from_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in _LINK.findall(prose(index))}
    assert set((ROOT / "docs").rglob("*.md")) - linked == {index}


def test_every_command_and_every_option_is_in_the_reference() -> None:
    text = reference("options.md")
    assert [name for name in COMMANDS if f"`{name}" not in text] == []
    missing = [entry for entry in options_of(cli) if re.search(rf"{entry[1]}[ `]", text) is None]
    assert missing == []


def test_every_key_of_pg_pitr_is_in_the_reference() -> None:
    text = reference("options.md")
    assert [key for key in PitrRequest.model_fields if f"`{key}" not in text] == []


def test_every_parameter_of_the_inventory_is_in_the_reference() -> None:
    text = reference("inventory.md")
    assert [name for name in HostParameters.model_fields if f"\n| `{name}` |" not in text] == []


def test_every_exit_status_is_in_the_reference() -> None:
    text = reference("exit-codes.md")
    missing = [
        error.__name__
        for error in errors()
        if not error.__module__.startswith("test")
        and f"| {error.exit_status} | `{error.__name__}` |" not in text
    ]
    assert missing == []
    assert f"| {EXIT_STATUS_WRONG} |" in text and "| 130 |" in text
