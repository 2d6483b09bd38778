"""A pgdolly that is started to be watched, held up or killed."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waiting import wait_until

if TYPE_CHECKING:
    from servers import Servers

END_SECONDS = 180.0


def records(journal: Path) -> list[dict[str, Any]]:
    """The whole records of a journal; the last line may be half written."""
    try:
        lines = journal.read_text().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.endswith("\n")]


@dataclass(slots=True)
class Controller:
    """A pgdolly at work, and the journal that it writes."""

    world: Servers
    process: subprocess.Popen[str]
    before: set[str]
    resumed: str | None = None  # the run that it takes up
    output: str = field(default="", init=False)

    def run(self) -> str:
        """The id of its run."""
        if self.resumed is not None:
            return self.resumed

        def new() -> str | None:
            found = [
                path.name for path in self.world.runs_directory.glob("*") if path.name not in self.before
            ]
            if not found:
                self._check_alive()
            return found[0] if found else None

        return wait_until(new, 30, "the run to begin")

    def _check_alive(self) -> None:
        if self.process.poll() is not None:
            raise AssertionError(f"pgdolly ended by itself: {self.wait()}")

    def records(self) -> list[dict[str, Any]]:
        return records(self.world.runs_directory / self.run() / "journal.jsonl")

    def steps(self, record: str) -> list[str]:
        """The ids of the steps with such a record: part/stage/lane/number-kind."""
        return [each["id"] for each in self.records() if each["record"] == record]

    def wait_for(self, look: Callable[[], object], what: str) -> None:
        """Wait, while it works, until something is so."""

        def so() -> bool:
            if look():
                return True
            self._check_alive()
            return False

        wait_until(so, 90, what, poll_seconds=0.05)  # a step may be short

    def wait_for_step(self, record: str, kind: str) -> None:
        self.wait_for(
            lambda: any(each.endswith(f"-{kind}") for each in self.steps(record)), f"{record} of {kind}"
        )

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9, and make sure that this is what ended it."""
        self.process.kill()
        output = self.wait()
        assert self.process.returncode == -signal.SIGKILL, output

    def wait(self) -> str:
        """Wait for its end and return what it printed."""
        self.output = self.output or self.process.communicate(timeout=END_SECONDS)[0]
        return self.output

    def end(self) -> None:
        """Leave no process behind, whatever the test did."""
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
