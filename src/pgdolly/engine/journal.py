"""The journal of a run: append-only JSON lines, each on disk before what it announces is done.

One directory per run, `<runs directory>/<run id>/journal.jsonl`. The controller that conducts the run holds
an flock on the file, so a reader can tell a run that goes on from one whose controller was killed: the kernel
drops the lock with the process, whatever ended it. Children do not inherit it (the descriptor is closed on
exec).
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import re
import secrets
import socket
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from pgdolly.domain.errors import InvalidInput, Refused
from pgdolly.engine.record import RunRecord, RunState, fold, fold_all

Outcome = Literal["finished", "failed", "paused", "abandoned", "interrupted"]

FILE_NAME = "journal.jsonl"
# A reader that looks whether a run is live holds the lock for an instant: it must not look like a controller.
_LOCK_PATIENCE_SECONDS = 1.0


class Journal:
    """A run's journal, held for writing by this process. Use it as a context manager, or close it."""

    def __init__(self, path: Path, descriptor: int, run: RunRecord | None) -> None:
        """For :meth:`create` and :meth:`resume`, which take the lock first."""
        self.path = path
        self._descriptor = descriptor
        self._run = run

    @classmethod
    def create(cls, directory: Path, *, operation: str, target: str, request: Mapping[str, Any]) -> Journal:
        """Begin a run: choose its id, make its directory (0700) and journal (0600), write `run_started`.

        :param directory: the runs directory; made if it is missing.
        :param request: what was asked for, as JSON.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        run_id, path = _new_run(directory, target)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            _lock(descriptor)
            for entry in (path.parent, directory):
                _sync_directory(entry)
            journal = cls(path, descriptor, None)
            journal.append(
                "run_started",
                run_id=run_id,
                operation=operation,
                target=target,
                request=dict(request),
                version=_version(),
                controller=socket.gethostname(),
                pid=os.getpid(),
            )
        except BaseException:
            os.close(descriptor)
            raise
        return journal

    @classmethod
    def resume(cls, directory: Path, run_id: str) -> Journal:
        """Take up a run that has no live controller, and write `run_resumed`.

        :param run_id: the id, or the beginning of one that no other run shares.
        :raises InvalidInput: if there is no such run.
        :raises Refused: if another process conducts it, if it is over, or if its journal is damaged.
        """
        path = directory / find_run(directory, run_id).run_id / FILE_NAME
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        try:
            if not _lock(descriptor):
                raise _is_live_elsewhere(read_journal(path))
            whole, end = _entries(path)
            run = _fold_file(path, whole)
            if run is None or not _as_seen(run, live=False).state.can_be_resumed:
                state = "never began" if run is None else f"is {run.state.value}"
                raise Refused(
                    f"the run {state}: there is nothing to resume",
                    where=path.parent.name,
                    next_command=f"pgdolly show {path.parent.name}",
                )
            # What a killed controller left half written was never acted on: each record is on disk first.
            if end < os.fstat(descriptor).st_size:
                os.ftruncate(descriptor, end)
                os.fsync(descriptor)
            journal = cls(path, descriptor, run)
            journal.append("run_resumed", pid=os.getpid(), controller=socket.gethostname())
        except BaseException:
            os.close(descriptor)
            raise
        return journal

    @property
    def run(self) -> RunRecord:
        """The run as the journal tells it up to its last record."""
        assert self._run is not None
        return self._run

    @property
    def run_id(self) -> str:
        return self.path.parent.name

    @property
    def ended(self) -> bool:
        """Whether the run has an outcome, and nothing more is to be written."""
        return self.run.state is not RunState.RUNNING

    def append(self, record: str, **fields: Any) -> None:
        """Write one record and return when it is on disk.

        :raises TypeError, ValueError: if a field is no JSON. Nothing is written then.
        :raises OSError: if it cannot be written. The journal is as it was before.
        """
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        entry = {"at": at, "record": record, **fields}
        # backslashreplace: what a node printed may hold surrogates (it was no UTF-8); JSON takes \\udcff.
        line = (
            json.dumps(entry, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace") + b"\n"
        )
        run = fold(self._run, json.loads(line))
        self._write(line)
        self._run = run

    def _write(self, line: bytes) -> None:
        before = os.fstat(self._descriptor).st_size
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            os.fsync(self._descriptor)
        except OSError:
            # A full disk takes a part of a line. Without that part the next record has a line of its own.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, before)
            raise

    def record_plan(self, part: int, plan: Mapping[str, Any]) -> None:
        """Journal a plan (as `StepRegistry.encode_plan` gives it) before it is executed."""
        self.append("plan", part=part, plan=dict(plan))

    def has_part(self, part: int) -> bool:
        return any(recorded.part == part for recorded in self.run.parts)

    def note(self, step_id: str | None, text: str) -> None:
        """Journal a remark."""
        self.append("note", id=step_id, text=text)

    def end(self, outcome: Outcome, error: str | None = None) -> None:
        """Journal how the run ended. The first outcome stands: a second call does nothing."""
        if not self.ended:
            self.append("run_ended", outcome=outcome, error=error)

    def close(self) -> None:
        """Let go of the run. Without an outcome it counts as interrupted."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def read_journal(path: Path) -> RunRecord | None:
    """What a journal tells; None if its first record never came to disk.

    A last line without its line feed is what a kill in mid-write leaves, and is passed over.

    :raises Refused: if any other line is damaged; it names the file and the line.
    """
    live = is_live(path)
    run = _fold_file(path, _entries(path)[0])
    return None if run is None else _as_seen(run, live=live)


def is_live(path: Path) -> bool:
    """Whether some process holds the journal for writing."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def list_runs(directory: Path) -> list[RunRecord]:
    """All runs, the last one first. One whose journal cannot be read is listed as damaged."""
    runs = []
    for path in _journals(directory):
        try:
            run = read_journal(path)
        except Refused as error:
            run = RunRecord(run_id=path.parent.name, state=RunState.DAMAGED, error=str(error))
        if run is not None:
            runs.append(run)
    # Within one second the ids sort by target, and the journals know better.
    began = {run.run_id: run.started_at.isoformat() if run.started_at else "" for run in runs}
    return sorted(runs, key=lambda run: (run.run_id[:15], began[run.run_id]), reverse=True)


def find_run(directory: Path, run_id: str) -> RunRecord:
    """The run of this id, or the only one whose id begins so.

    :raises InvalidInput: if there is none or more than one; it lists those that may have been meant.
    :raises Refused: if its journal is damaged.
    """
    ids = [path.parent.name for path in _journals(directory)]
    found = [name for name in ids if name == run_id] or [
        name for name in ids if run_id and name.startswith(run_id)
    ]
    if len(found) > 1:
        raise InvalidInput(f"{run_id!r} is the beginning of {len(found)} runs: {', '.join(found[:5])}")
    run = read_journal(directory / found[0] / FILE_NAME) if found else None
    if run is None:
        near = get_close_matches(run_id, ids, n=3, cutoff=0.6)
        listed = (
            f"; did you mean {', '.join(near)}?"
            if near
            else f"; the last: {', '.join(ids[:3])}"
            if ids
            else ""
        )
        raise InvalidInput(f"there is no run {run_id!r}{listed}", next_command="pgdolly runs")
    return run


def _journals(directory: Path) -> list[Path]:
    """The journals, the last run's first: ids begin with the time."""
    return sorted(directory.glob(f"*/{FILE_NAME}"), reverse=True)


def _new_run(directory: Path, target: str) -> tuple[str, Path]:
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", target).strip("-.") or "run"
    while True:
        run_id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{readable}-{secrets.token_hex(2)}"
        try:
            (directory / run_id).mkdir(mode=0o700)
        except FileExistsError:
            continue
        return run_id, directory / run_id / FILE_NAME


def _entries(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The whole records of a journal, and the offset in bytes at which they end."""
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    entries = []
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        try:
            entry = json.loads(line)
            if not isinstance(entry, dict):
                raise ValueError("not an object")
        except ValueError as error:
            raise _damaged(path, number, error) from error
        entries.append(entry)
    return entries, end


def _fold_file(path: Path, entries: list[dict[str, Any]]) -> RunRecord | None:
    try:
        return fold_all(entries)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, _first_bad(entries), error) from error


def _first_bad(entries: list[dict[str, Any]]) -> int:
    run: RunRecord | None = None
    for number, entry in enumerate(entries, 1):
        try:
            run = fold(run, entry)
        except (KeyError, TypeError, ValueError):
            return number
    raise AssertionError("every record can be folded")


def _damaged(path: Path, line: int, error: Exception) -> Refused:
    return Refused(
        f"the journal is damaged: {error!r}",
        where=f"{path}:{line}",
        untouched="nothing is done on the ground of a journal that cannot be read",
    )


def _as_seen(run: RunRecord, *, live: bool) -> RunRecord:
    """A run without an outcome goes on only where its controller lives."""
    if run.state is RunState.RUNNING and not live:
        return dataclasses.replace(run, state=RunState.INTERRUPTED)
    return run


def _is_live_elsewhere(run: RunRecord | None) -> Refused:
    if run is None:
        return Refused("another process is just beginning this run")
    return Refused(
        f"process {run.pid} on {run.controller} is conducting it",
        where=f"run {run.run_id}",
        untouched="everything; the run goes on",
        next_command=f"pgdolly show {run.run_id}",
    )


def _lock(descriptor: int) -> bool:
    """Become the run's controller; False if another process stays it."""
    deadline = time.monotonic() + _LOCK_PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        else:
            return True


def _sync_directory(path: Path) -> None:
    """Put a directory's entries on disk: fsync of a new file does not cover its name."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _version() -> str:
    try:
        return metadata.version("pgdolly")
    except metadata.PackageNotFoundError:
        return "unknown"
