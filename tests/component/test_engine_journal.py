"""The journal as a file: what survives a kill, who may write to it, how runs are found."""

from __future__ import annotations

import errno
import json
import os
import selectors
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import pgdolly
from pgdolly.domain.errors import InvalidInput, Refused
from pgdolly.engine.journal import FILE_NAME, Journal, find_run, is_live, list_runs, read_journal
from pgdolly.engine.record import RecordedState, RunRecord, RunState, fold_all

DEADLINE_SECONDS = 30.0
_HOLDER = """
import sys
from pathlib import Path
from pgdolly.engine.journal import Journal
journal = Journal.create(Path(sys.argv[1]), operation="reset", target="pg-test", request={})
print(journal.run_id, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def write_example(runs: Path) -> Path:
    """A run that was cut off in its second step."""
    with Journal.create(runs, operation="reset", target="pg-test", request={"time": "x"}) as journal:
        journal.record_plan(1, {"stages": []})
        journal.append("step_begun", id="1/1/a/1-x")
        journal.note("1/1/a/1-x", "zwölf Ünïcode-Zeichen und ein Zeilenende\n")
        journal.append("step_finished", id="1/1/a/1-x", result={"n": 1}, seconds=0.5)
        journal.append("step_begun", id="1/1/a/2-y")
    return journal.path


def test_a_run_id_is_readable_sortable_and_stands_in_its_journal(runs: Path) -> None:
    with Journal.create(runs, operation="reset", target="pg-test", request={}) as journal:
        pass
    first = journal.run_id
    assert first[15:-4] == "-pg-test-"
    assert first[:15].replace("-", "").isdigit()
    assert json.loads(journal.path.read_text())["run_id"] == first


@pytest.mark.parametrize(
    ("target", "word"), [("../../etc", "etc"), ("a b/c", "a-b-c"), ("", "run"), ("ü", "run")]
)
def test_a_target_cannot_lead_the_journal_out_of_its_directory(runs: Path, target: str, word: str) -> None:
    with Journal.create(runs, operation="reset", target=target, request={}) as journal:
        pass
    assert journal.path.parent.parent == runs
    assert journal.run_id[16:-5] == word
    assert journal.run.target == target


def test_nobody_else_may_read_a_journal(runs: Path) -> None:
    path = write_example(runs)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(runs.stat().st_mode) == 0o700


def test_what_was_written_is_read_back(runs: Path) -> None:
    run = read_journal(write_example(runs))
    assert run is not None
    assert (run.operation, run.target, run.request) == ("reset", "pg-test", {"time": "x"})
    assert run.pid == os.getpid()
    assert run.state is RunState.INTERRUPTED
    assert [(step.id, step.state, step.seconds) for step in run.steps.values()] == [
        ("1/1/a/1-x", RecordedState.FINISHED, 0.5),
        ("1/1/a/2-y", RecordedState.BEGUN, None),
    ]
    assert run.results == {"1/1/a/1-x": {"n": 1}}
    assert run.notes[0].text == "zwölf Ünïcode-Zeichen und ein Zeilenende\n"
    assert run.started_at is not None and run.started_at.utcoffset() is not None


def test_output_that_was_no_utf8_can_be_journaled(runs: Path) -> None:
    with Journal.create(runs, operation="reset", target="t", request={}) as journal:
        journal.note(None, b"\xff caf\xe9".decode(errors="surrogateescape"))
    run = read_journal(journal.path)
    assert run is not None and run.notes[0].text == "\udcff caf\udce9"


def test_a_tail_torn_at_any_byte_is_passed_over_and_cut_off_by_the_resume(runs: Path, tmp_path: Path) -> None:
    content = write_example(runs).read_bytes()
    run_id = read_only(runs).run_id
    lines = content.splitlines(keepends=True)
    torn = tmp_path / "torn" / run_id / FILE_NAME
    torn.parent.mkdir(parents=True)
    for length in range(len(lines[0]), len(content) + 1):
        torn.write_bytes(content[:length])
        whole = content[:length].count(b"\n")
        expected = fold_all(json.loads(line) for line in lines[:whole])
        assert expected is not None
        read = read_journal(torn)
        assert read is not None
        assert (read.steps, read.notes, read.parts) == (expected.steps, expected.notes, expected.parts)
        with Journal.resume(tmp_path / "torn", run_id) as journal:
            journal.note(None, "after")
        after = [json.loads(line) for line in torn.read_text().splitlines()]
        assert after[:whole] == [json.loads(line) for line in lines[:whole]]
        assert [entry["record"] for entry in after[whole:]] == ["run_resumed", "note"]


def test_a_journal_torn_in_its_first_record_is_no_run(runs: Path) -> None:
    path = write_example(runs)
    first = path.read_bytes().splitlines(keepends=True)[0]
    for length in range(len(first)):
        path.write_bytes(first[:length])
        assert read_journal(path) is None
        assert list_runs(runs) == []
        with pytest.raises(InvalidInput, match="there is no run"):
            Journal.resume(runs, path.parent.name)


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line[: len(line) // 2] + b"\n",
        lambda line: b"\0" * 20 + b"\n",
        lambda line: b"\xff\xfe\n",
        lambda line: b"[]\n",
        lambda line: b"\n",
        lambda line: line.replace(b'"id"', b'"di"'),
        lambda line: line.replace(b'"at"', b'"ta"'),
        lambda line: line.replace(b"step_begun", b"step_finished"),
    ],
)
def test_a_damaged_line_in_the_middle_is_an_error_that_names_file_and_line(
    runs: Path, damage: object
) -> None:
    assert callable(damage)
    path = write_example(runs)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = damage(lines[2])
    path.write_bytes(b"".join(lines))
    before = path.read_bytes()
    with pytest.raises(Refused, match="the journal is damaged") as raised:
        read_journal(path)
    assert raised.value.where == f"{path}:3"
    with pytest.raises(Refused, match="the journal is damaged"):
        Journal.resume(runs, path.parent.name)
    assert path.read_bytes() == before


def test_a_damaged_journal_does_not_hide_the_other_runs(runs: Path) -> None:
    path = write_example(runs)
    with Journal.create(runs, operation="reset", target="other", request={}) as other:
        other.end("finished")
    path.write_bytes(b"nonsense\n" + path.read_bytes())
    assert {run.run_id: run.state for run in list_runs(runs)} == {
        path.parent.name: RunState.DAMAGED,
        other.run_id: RunState.FINISHED,
    }


def test_records_of_a_later_version_are_passed_over(runs: Path) -> None:
    with Journal.create(runs, operation="reset", target="t", request={}) as journal:
        journal.append("something_new", of="a later version")
        journal.end("finished")
    assert read_only(runs).state is RunState.FINISHED


def test_a_record_that_is_no_json_writes_nothing(runs: Path) -> None:
    with Journal.create(runs, operation="reset", target="t", request={}) as journal:
        before = journal.path.read_bytes()
        with pytest.raises(TypeError):
            journal.append("note", id=None, text=object())
        with pytest.raises(ValueError, match="not JSON compliant"):
            journal.append("note", id=None, text=float("nan"))
        assert journal.path.read_bytes() == before
        journal.end("finished")
    assert read_only(runs).state is RunState.FINISHED


def test_a_full_disk_leaves_the_journal_as_it_was(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal.create(runs, operation="reset", target="t", request={}) as journal:
        before = journal.path.read_bytes()
        real_write = os.write

        def write_a_part(descriptor: int, content: bytes) -> int:
            if len(content) > 10:
                return real_write(descriptor, content[:10])
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "write", write_a_part)
        with pytest.raises(OSError, match="No space left"):
            journal.end("finished")
        monkeypatch.undo()
        assert journal.path.read_bytes() == before
        assert not journal.ended
        journal.end("failed")
    assert read_only(runs).state is RunState.FAILED


def test_the_first_outcome_stands(runs: Path) -> None:
    with Journal.create(runs, operation="reset", target="t", request={}) as journal:
        journal.end("interrupted")
        journal.end("finished")
    assert read_only(runs).state is RunState.INTERRUPTED


@contextmanager
def holding_process(runs: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A real controller that holds the journal of a run until it is killed."""
    source = Path(pgdolly.__file__).parent.parent
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(runs)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(source)},
    )
    assert process.stdout is not None and process.stdin is not None
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            assert selector.select(DEADLINE_SECONDS), "the controller does not begin"
        yield process, process.stdout.readline().decode().strip()
    finally:
        process.kill()
        process.wait(DEADLINE_SECONDS)
        process.stdout.close()
        process.stdin.close()


def test_a_live_run_is_not_resumed_and_a_killed_one_is(runs: Path) -> None:
    with holding_process(runs) as (process, run_id):
        path = runs / run_id / FILE_NAME
        before = path.read_bytes()
        assert find_run(runs, run_id).state is RunState.RUNNING
        with pytest.raises(Refused, match=rf"process {process.pid} on \S+ is conducting it"):
            Journal.resume(runs, run_id)
        assert path.read_bytes() == before

        process.send_signal(signal.SIGKILL)
        process.wait(DEADLINE_SECONDS)

        assert find_run(runs, run_id).state is RunState.INTERRUPTED
        with Journal.resume(runs, run_id) as journal:
            assert journal.run.pid == os.getpid()
            assert find_run(runs, run_id).state is RunState.RUNNING


def test_a_child_of_the_controller_does_not_keep_the_run_alive(runs: Path) -> None:
    with Journal.create(runs, operation="reset", target="t", request={}) as journal:
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        assert not is_live(journal.path)
    finally:
        child.kill()
        child.wait(DEADLINE_SECONDS)


@pytest.mark.parametrize("outcome", ["finished", "abandoned"])
def test_a_run_that_is_over_is_not_resumed(runs: Path, outcome: str) -> None:
    with Journal.create(runs, operation="reset", target="t", request={}) as journal:
        journal.end(outcome)  # type: ignore[arg-type]
    with pytest.raises(Refused, match=f"the run is {outcome}: there is nothing to resume"):
        Journal.resume(runs, journal.run_id)
    assert not is_live(journal.path)


def test_a_run_is_found_by_a_unique_beginning_of_its_id(runs: Path) -> None:
    for name in ("20250101-000000-a-1111", "20250101-000000-b-2222", "20250102-000000-a-3333"):
        (runs / name).mkdir(parents=True)
        entry: dict[str, object] = {
            "at": "2025-01-01T00:00:00+00:00",
            "record": "run_started",
            "run_id": name,
            "operation": "o",
        }
        entry |= {"target": "t", "request": {}, "version": "0", "controller": "c"}
        (runs / name / FILE_NAME).write_text(json.dumps({**entry, "pid": 1}) + "\n")
    assert [run.run_id[:8] for run in list_runs(runs)] == ["20250102", "20250101", "20250101"]
    assert find_run(runs, "20250101-000000-b").run_id == "20250101-000000-b-2222"
    assert find_run(runs, "20250102").run_id == "20250102-000000-a-3333"
    with pytest.raises(InvalidInput, match=r"the beginning of 2 runs: .*-b-2222, .*-a-1111"):
        find_run(runs, "20250101")
    with pytest.raises(InvalidInput, match=r"did you mean 20250101-000000-a-1111"):
        find_run(runs, "20250101-000000-a-1112")
    with pytest.raises(InvalidInput, match=r"the last: 20250102-000000-a-3333"):
        find_run(runs, "pg-meta")
    with pytest.raises(InvalidInput, match="there is no run ''"):
        find_run(runs, "")


def test_without_a_runs_directory_there_are_no_runs(runs: Path) -> None:
    assert list_runs(runs) == []
    with pytest.raises(InvalidInput, match=r"there is no run 'x'\Z"):
        find_run(runs, "x")


def read_only(runs: Path) -> RunRecord:
    [run] = list_runs(runs)
    return run


def test_a_record_that_cannot_be_put_on_disk_is_not_taken_for_written(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal.create(runs, operation="reset", target="t", request={}) as journal:
        before = journal.path.read_bytes()

        def fail(descriptor: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="Input/output error"):
            journal.append("step_begun", id="1/1/a/1-x")
        monkeypatch.undo()
        assert journal.run.steps == {}
        assert journal.path.read_bytes() == before
