"""What all tests share: the options that ask for the fleet."""

from __future__ import annotations

import pytest

from fleet.base import RECIPES


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fleet",
        action="store_true",
        help="run the tests of the fleet, and the functional tests on a fleet instead of a sandbox",
    )
    parser.addoption(
        "--postgres", type=int, default=17, choices=sorted(RECIPES), help="the fleet's version of PostgreSQL"
    )
