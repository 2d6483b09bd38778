"""The fleet's tests boot nodes: they run only where they are asked for, by ./test --fleet."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.base import RECIPES


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fleet", action="store_true", help="run the tests of the fleet")
    parser.addoption(
        "--postgres", type=int, default=17, choices=sorted(RECIPES), help="the fleet's version of PostgreSQL"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the fleet's tests out; None leaves the question to pytest."""
    return None if config.getoption("--fleet", default=False) else True
