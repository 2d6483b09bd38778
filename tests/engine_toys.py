"""A small world of files, steps that change it, and a controller that is killed at a chosen record.

Run as a script it is a server: it forks a controller for each line of JSON on its standard input, so that a
test can have many real processes killed without paying for as many interpreters.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pgdolly.domain.command import Command
from pgdolly.engine.conduct import conducted
from pgdolly.engine.executor import execute
from pgdolly.engine.journal import Journal
from pgdolly.engine.plan import Lane, Plan, Stage, StepRegistry
from pgdolly.engine.step import Context, Effect, StepCheck, StepState

DEADLINE_SECONDS = 30.0
PENDING = StepCheck(StepState.PENDING)


@dataclass(frozen=True, slots=True)
class FileWorld:
    """`files` is the state that counts; every effect on it leaves a line in `effects`."""

    root: Path

    @property
    def files(self) -> Path:
        return self.root / "files"

    @property
    def jobs(self) -> Path:
        return self.root / "jobs"

    def effect(self, line: str) -> None:
        with (self.root / "effects").open("a") as log:
            log.write(line + "\n")

    def effects(self) -> list[str]:
        """In order of name: which of two lanes comes first is nobody's promise."""
        log = self.root / "effects"
        return sorted(log.read_text().splitlines()) if log.exists() else []

    def state(self) -> dict[str, str]:
        return {
            str(p.relative_to(self.files)): p.read_text()
            for p in sorted(self.files.rglob("*"))
            if p.is_file()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateFile:
    kind: ClassVar[str] = "create_file"
    effect: ClassVar[Effect] = Effect.CHANGE

    name: str
    text: str

    def title(self) -> str:
        return f"create {self.name}"

    def commands(self) -> tuple[Command, ...]:
        return (Command(argv=("tee", self.name), stdin=self.text),)

    async def check(self, context: Context[FileWorld]) -> StepCheck:
        path = context.world.files / self.name
        return StepCheck(StepState.DONE) if path.exists() and path.read_text() == self.text else PENDING

    async def apply(self, context: Context[FileWorld]) -> None:
        await asyncio.sleep(0)
        (context.world.files / self.name).write_text(self.text)
        context.world.effect(f"create {self.name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendLine:
    """Its `apply` does not look: twice applied, the line is there twice. Only `check` keeps it from that."""

    kind: ClassVar[str] = "append_line"
    effect: ClassVar[Effect] = Effect.CHANGE

    name: str
    line: str

    def title(self) -> str:
        return f"append to {self.name}"

    def commands(self) -> tuple[Command, ...]:
        return (Command(argv=("sh", "-c", f"echo {self.line} >> {self.name}")),)

    async def check(self, context: Context[FileWorld]) -> StepCheck:
        lines = (context.world.files / self.name).read_text().splitlines()
        return StepCheck(StepState.DONE) if self.line in lines else PENDING

    async def apply(self, context: Context[FileWorld]) -> None:
        await asyncio.sleep(0)
        with (context.world.files / self.name).open("a") as file:
            file.write(self.line + "\n")
        context.world.effect(f"append {self.line} to {self.name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveAside:
    """Destructive: what was under `name` is no longer there, and twice is an error. Returns the new name."""

    kind: ClassVar[str] = "move_aside"
    effect: ClassVar[Effect] = Effect.DESTROY

    name: str

    def title(self) -> str:
        return f"move {self.name} aside"

    def commands(self) -> tuple[Command, ...]:
        return (Command(argv=("mv", self.name, f"{self.name}.kept")),)

    async def check(self, context: Context[FileWorld]) -> StepCheck:
        kept = context.world.files / f"{self.name}.kept"
        if kept.exists():
            return StepCheck(StepState.DONE, result={"kept": kept.name})
        return PENDING

    async def apply(self, context: Context[FileWorld]) -> dict[str, Any]:
        await asyncio.sleep(0)
        kept = context.world.files / f"{self.name}.kept"
        (context.world.files / self.name).rename(kept)
        context.world.effect(f"DESTROY {self.name}")
        return {"kept": kept.name}


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteKeptName:
    """Needs the result of an earlier step of its lane."""

    kind: ClassVar[str] = "write_kept_name"
    effect: ClassVar[Effect] = Effect.CHANGE

    lane: str
    name: str

    def title(self) -> str:
        return f"write down in {self.name} what was kept"

    def commands(self) -> tuple[Command, ...]:
        return ()

    async def check(self, context: Context[FileWorld]) -> StepCheck:
        return PENDING

    async def apply(self, context: Context[FileWorld]) -> None:
        kept = context.result_of("move_aside", self.lane)["kept"]
        (context.world.files / self.name).write_text(f"{kept}\n")
        context.note(f"{kept} was kept")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetachedJob:
    """A process of its own session, which outlives its controller and is found again by the run and `name`.

    The process holds a lock while it works, so two of one key cannot work side by side. With `gated` it works
    until the file `gate` appears.
    """

    kind: ClassVar[str] = "run_detached_job"
    effect: ClassVar[Effect] = Effect.DESTROY

    name: str
    gated: bool = False

    def title(self) -> str:
        return f"run job {self.name}"

    def commands(self) -> tuple[Command, ...]:
        return (Command(argv=("job", self.name)),)

    def _state(self, context: Context[FileWorld]) -> StepState:
        directory = context.world.jobs / context.run_id / self.name
        if not (directory / "started").exists():
            return StepState.PENDING
        if (directory / "done").exists():
            return StepState.DONE
        with (directory / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return StepState.RUNNING
        # It may have ended between the two looks.
        return StepState.DONE if (directory / "done").exists() else StepState.CONFLICT

    def _start(self, world: FileWorld, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        arguments = [str(world.root), str(directory), self.name, "gated" if self.gated else ""]
        program = [sys.executable, "-I", "-S", "-c", _JOB, *arguments]
        os.posix_spawn(sys.executable, program, os.environ, setsid=True)

    async def check(self, context: Context[FileWorld]) -> StepCheck:
        state = self._state(context)
        return StepCheck(state, "the job died", result={"rows": 3} if state is StepState.DONE else None)

    async def apply(self, context: Context[FileWorld]) -> dict[str, Any]:
        directory = context.world.jobs / context.run_id / self.name
        if self._state(context) is StepState.PENDING:
            self._start(context.world, directory)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (state := self._state(context)) is not StepState.DONE:
            if time.monotonic() > deadline:
                raise TimeoutError(f"job {self.name} is {state} after {DEADLINE_SECONDS} s")
            context.progress(0, None, "rows")
            await asyncio.sleep(0.01)
        return {"rows": 3}


_JOB = """
import fcntl, pathlib, sys, time
root, directory, name, gated = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3], sys.argv[4]
lock = (directory / "lock").open("a")
fcntl.flock(lock, fcntl.LOCK_EX)
if (directory / "started").exists():  # a twin was started before this one could be seen
    sys.exit()
(directory / "started").touch()
with (root / "effects").open("a") as log:
    log.write(f"DESTROY by job {name}\\n")
deadline = time.monotonic() + 30
while gated and not (root / "gate").exists() and time.monotonic() < deadline:
    time.sleep(0.01)
(root / "files" / name).write_text("3 rows\\n")
(directory / "done").touch()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitForJob:
    """Journals a note as soon as another lane's job is at work."""

    kind: ClassVar[str] = "wait_for_job"
    effect: ClassVar[Effect] = Effect.READ

    name: str

    def title(self) -> str:
        return f"wait until job {self.name} is at work"

    def commands(self) -> tuple[Command, ...]:
        return ()

    async def check(self, context: Context[FileWorld]) -> StepCheck:
        return PENDING

    async def apply(self, context: Context[FileWorld]) -> None:
        started = context.world.jobs / context.run_id / self.name / "started"
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not started.exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"job {self.name} does not begin")
            await asyncio.sleep(0.01)
        context.note(f"job {self.name} is at work")


REGISTRY = StepRegistry(CreateFile, AppendLine, MoveAside, WriteKeptName, RunDetachedJob, WaitForJob)


def first_plan() -> Plan:
    """Three stages; in the second, two lanes and a detached job side by side."""
    lanes = tuple(
        Lane(
            name,
            (
                MoveAside(name=f"{name}-old"),
                WriteKeptName(lane=name, name=f"{name}-kept"),
                AppendLine(name=f"{name}-kept", line="seen"),
            ),
        )
        for name in ("a", "b")
    )
    job = Lane("job", (RunDetachedJob(name="restored"), AppendLine(name="restored", line="looked at")))
    return Plan(
        operation="toy",
        target="files",
        stages=(
            Stage("Create", (Lane("a", (CreateFile(name="shared", text="begin\n"),)),)),
            Stage("Move", (*lanes, job)),
            Stage("Close", (Lane("a", (AppendLine(name="shared", line="closed"),)),)),
        ),
    )


def second_plan(results: dict[str, dict[str, Any]]) -> Plan:
    """Made when the first is done, out of what it returned."""
    kept = sorted(result["kept"] for result in results.values() if "kept" in result)
    rows = sum(result.get("rows", 0) for result in results.values())
    create = CreateFile(name="summary", text=f"{' '.join(kept)} {rows}\n")
    remove = MoveAside(name="summary")
    return Plan(operation="toy", target="files", stages=(Stage("Sum up", (Lane("a", (create, remove)),)),))


def gated_plan() -> Plan:
    """A job that goes on until it is let go, and a second lane that sees it at work."""
    job = Lane("job", (RunDetachedJob(name="restored", gated=True),))
    return Plan(
        operation="gated",
        target="files",
        stages=(Stage("Job", (job, Lane("watch", (WaitForJob(name="restored"),)))),),
    )


def prepare(root: Path) -> FileWorld:
    """A fresh world."""
    world = FileWorld(root)
    world.files.mkdir(parents=True)
    for name in ("a", "b"):
        (world.files / f"{name}-old").write_text(f"old of {name}\n")
    return world


def control(root: Path, run_id: str | None, operation: str = "toy") -> None:
    """What a controller does: begin or resume the run, and bring all its parts to their end."""
    runs = root / "runs"
    if run_id is None:
        journal = Journal.create(runs, operation=operation, target="files", request={})
    else:
        journal = Journal.resume(runs, run_id)
    with conducted(journal, lambda event: None, resumed=run_id is not None) as emit:
        if not journal.has_part(1):
            plan = first_plan() if journal.run.operation == "toy" else gated_plan()
            journal.record_plan(1, REGISTRY.encode_plan(plan))
        if not journal.has_part(2) and journal.run.operation == "toy":
            asyncio.run(_execute(journal, emit, 1, root))
            journal.record_plan(2, REGISTRY.encode_plan(second_plan(journal.run.results)))
        last = journal.run.parts[-1].part
        asyncio.run(_execute(journal, emit, last, root))


async def _execute(journal: Journal, emit: Callable[..., None], part: int, root: Path) -> None:
    recorded = next(recorded for recorded in journal.run.parts if recorded.part == part)
    await execute(REGISTRY.decode_plan(recorded.plan), journal, FileWorld(root), emit, part=part)


def kill_at(record: int, *, half: bool) -> None:
    """From here on, the process is killed when its n-th record is on disk, or when half of it is."""
    count = 0
    write = Journal._write

    def fatal(self: Journal, line: bytes) -> None:
        nonlocal count
        count += 1
        if count == record and half:
            os.write(self._descriptor, line[: len(line) // 2])
        else:
            write(self, line)
        if count == record:
            os.kill(os.getpid(), signal.SIGKILL)

    Journal._write = fatal  # type: ignore[method-assign]


def serve() -> None:
    """Fork one controller per line; answer with its exit status, negative for a signal."""
    REGISTRY.decode_plan(REGISTRY.encode_plan(first_plan()))  # import all once, not in every fork
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                if order["kill_at"] is not None:
                    kill_at(order["kill_at"], half=order["half"])
                control(Path(order["root"]), order["run_id"], order["operation"])
                status = 0
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(status)
        _, wait_status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(wait_status), flush=True)


if __name__ == "__main__":
    serve()
