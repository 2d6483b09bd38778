"""What all tests share: the option that asks for the fleet."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fleet",
        action="store_true",
        help="run the tests of the fleet, and the functional tests on a fleet instead of a sandbox",
    )
