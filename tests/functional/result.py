"""What a command did, as a test asks for it and as a failure shows it."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any

SHOWN_LINES = 8


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Result:
    """What a command did."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str

    def __repr__(self) -> str:
        """The command, the end of what it printed and its exit status, for a failure's report."""
        events = "".join(self.stdout.splitlines(keepends=True)[-SHOWN_LINES:])
        return f"$ {shlex.join(self.argv)}\n{events}{self.stderr}[exit status {self.status}]"

    def with_status(self, status: int | None) -> Result:
        """This result, which must have a status; None for any."""
        assert status in (None, self.status), f"exit status {status} was expected\n{self!r}"
        return self

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The JSON objects that it printed, one per line."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def outcome(self) -> dict[str, Any]:
        """The last of them: what came of a run."""
        return self.lines[-1]

    @property
    def run(self) -> str:
        return str(self.outcome["run"])

    def step_result(self, kind: str, member: str = "") -> dict[str, Any]:
        """What the run's last step of a kind returned, on a member if that is said."""
        found = [
            value
            for key, value in self.outcome["results"].items()
            if key.endswith(f"-{kind}") and member in ("", key.split("/")[2])
        ]
        assert found, f"no step {kind} in {list(self.outcome['results'])}"
        result: dict[str, Any] = found[-1]
        return result
