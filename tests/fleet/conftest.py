"""The fleet's tests boot nodes: they run only where they are asked for, by ./test --fleet."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the fleet's tests out; None leaves the question to pytest."""
    return None if config.getoption("--fleet") else True
