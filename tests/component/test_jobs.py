"""Detached jobs: real processes that outlive their starter and are found again by their directory."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest

from pgdolly.domain.cluster import Member, Node, ServiceManager
from pgdolly.domain.command import Command
from pgdolly.transport.jobs import JobState, JobView, launch_command, look_at_job, start_job
from pgdolly.transport.local import LocalShell

ME = pwd.getpwuid(os.geteuid()).pw_name
SHELL = LocalShell("here", ME)
MEMBER = Member(
    name="here",
    cluster="here",
    sequence=1,
    role="primary",
    node=Node(name="here", address="127.0.0.1"),
    service_manager=ServiceManager.SUPERVISOR,
)


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Path]:
    """A job's directory; what still runs of it is ended."""
    directory = tmp_path / "run 1" / "restore"
    yield directory
    if (directory / "pid").exists():
        pid = int((directory / "pid").read_text().split()[0])
        if Path(f"/proc/{pid}/cwd").exists() and Path(f"/proc/{pid}/cwd").resolve() == directory:
            os.killpg(pid, signal.SIGKILL)


def start(directory: Path, *argv: str, environment: tuple[tuple[str, str], ...] = ()) -> None:
    command = Command(argv=argv, environment=environment)
    asyncio.run(start_job(SHELL, MEMBER, PurePosixPath(directory), command))


def look(directory: Path, *, tail_bytes: int = 8192) -> JobView:
    return asyncio.run(look_at_job(SHELL, PurePosixPath(directory), tail_bytes=tail_bytes))


def wait_until(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until, f"waited 10 s for {what}"
        time.sleep(0.02)


def finished(directory: Path, *, tail_bytes: int = 8192) -> JobView:
    wait_until(lambda: look(directory).state is not JobState.RUNNING, "the job to end")
    return look(directory, tail_bytes=tail_bytes)


def test_a_job_that_was_never_started_is_absent(job: Path) -> None:
    assert look(job) == JobView(state=JobState.ABSENT, status=None, stdout_end="", stderr_end="")
    job.mkdir(parents=True)
    assert look(job).state is JobState.ABSENT


def test_a_job_runs_and_leaves_its_status_and_its_output(job: Path, tmp_path: Path) -> None:
    go = tmp_path / "go"
    start(
        job,
        "sh",
        "-c",
        f"echo begun; echo odd >&2; until [ -e {go} ]; do sleep 0.02; done; echo ended; exit 7",
    )
    wait_until(lambda: look(job).stderr_end == "odd\n", "its output")
    view = look(job)
    assert (view.state, view.status, view.stdout_end, view.stderr_end) == (
        *(JobState.RUNNING, None, "begun\n", "odd\n"),
    )
    go.touch()
    assert finished(job) == JobView(
        state=JobState.FINISHED, status=7, stdout_end="begun\nended\n", stderr_end="odd\n"
    )


def test_arguments_and_environment_arrive_as_they_are(job: Path) -> None:
    start(job, "sh", "-c", 'echo "$0|$1|$WORDS"', "a b", "$HOME `id` 'x\"", environment=(("WORDS", "c  d"),))
    assert finished(job).stdout_end == "a b|$HOME `id` 'x\"|c  d\n"


def test_a_job_has_no_input_and_a_session_of_its_own(job: Path) -> None:
    start(job, "sh", "-c", "cat; ps -o sid= -p $$; cat /proc/self/stat >/dev/null")
    view = finished(job)
    assert view.status == 0
    assert int(view.stdout_end) != os.getsid(0)


def test_a_job_outlives_the_controller_that_started_it(job: Path, tmp_path: Path) -> None:
    """Its whole session is killed, as a closed terminal or a lost connection does."""
    go = tmp_path / "go"
    job.mkdir(parents=True)
    command = launch_command(
        MEMBER,
        PurePosixPath(job),
        Command(argv=("sh", "-c", f"until [ -e {go} ]; do sleep 0.02; done; echo survived")),
    )
    starter = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys, time; "
            "print(subprocess.run(sys.argv[1:]).returncode, flush=True); time.sleep(60)",
            *command.argv,
        ],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert starter.stdout is not None
    assert starter.stdout.readline() == "0\n"
    wait_until((job / "pid").exists, "the job to say which process it is")
    os.killpg(starter.pid, signal.SIGHUP)
    os.killpg(starter.pid, signal.SIGKILL)
    starter.wait(10)
    starter.stdout.close()
    assert look(job).state is JobState.RUNNING
    go.touch()
    assert finished(job).stdout_end == "survived\n"


def test_a_job_whose_process_is_gone_is_lost(job: Path) -> None:
    start(job, "sleep", "300")
    pid = int((job / "pid").read_text().split()[0])
    os.killpg(pid, signal.SIGKILL)
    assert finished(job).state is JobState.LOST
    assert not (job / "status").exists()


def test_a_process_number_that_was_given_anew_is_not_the_job(job: Path) -> None:
    """After many forks, or a reboot, the number names another process: its start time and the boot tell."""
    job.mkdir(parents=True)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    started = Path(f"/proc/{os.getpid()}/stat").read_text().rpartition(") ")[2].split()[19]
    (job / "pid").write_text(f"{os.getpid()} {started} {boot}\n")
    assert look(job).state is JobState.RUNNING
    (job / "pid").write_text(f"{os.getpid()} {int(started) - 1} {boot}\n")
    assert look(job).state is JobState.LOST
    (job / "pid").write_text(f"{os.getpid()} {started} another-boot\n")
    assert look(job).state is JobState.LOST


def test_a_process_that_has_ended_but_was_not_reaped_is_not_the_job(job: Path) -> None:
    """In a container without a real init it would be there for ever."""
    job.mkdir(parents=True)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with subprocess.Popen(["true"]) as ended:
        stat = Path(f"/proc/{ended.pid}/stat")
        wait_until(lambda: " Z " in stat.read_text(), "it to end")
        started = stat.read_text().rpartition(") ")[2].split()[19]
        (job / "pid").write_text(f"{ended.pid} {started} {boot}\n")
        assert look(job).state is JobState.LOST


def test_a_job_that_is_ended_by_a_signal_has_its_status(job: Path) -> None:
    start(job, "sh", "-c", "kill -TERM $$")
    assert finished(job) == JobView(state=JobState.FINISHED, status=143, stdout_end="", stderr_end="")


def test_a_program_that_is_not_there_is_a_status_not_a_wait(job: Path) -> None:
    start(job, "no-such-program")
    view = finished(job)
    assert view.status == 127
    assert "no-such-program" in view.stderr_end


def test_a_job_that_is_begun_again_has_forgotten_its_first_life(job: Path) -> None:
    start(job, "sh", "-c", "echo first; exit 1")
    assert finished(job).status == 1
    start(job, "sh", "-c", "echo second; sleep 300")
    wait_until(lambda: look(job).stdout_end == "second\n", "its output")
    assert look(job).state is JobState.RUNNING
    assert look(job).status is None


def test_only_the_end_of_long_output_is_read(job: Path) -> None:
    start(job, "sh", "-c", "seq 1 100000; seq 1 100000 >&2")
    view = finished(job, tail_bytes=12)
    assert (view.stdout_end, view.stderr_end) == ("9999\n100000\n"[-12:], "9999\n100000\n"[-12:])


def test_a_tail_that_begins_within_a_letter_is_readable(job: Path) -> None:
    start(job, "printf", "%s", "aä€b")
    assert finished(job, tail_bytes=3).stdout_end == "��b"


def test_binary_output_is_no_reason_to_fail(job: Path) -> None:
    start(job, "printf", r"\377\000\376end")
    assert finished(job).stdout_end.endswith("end")


def test_output_that_looks_like_the_answers_own_headings_stays_output(job: Path) -> None:
    start(job, "sh", "-c", "echo '-- stderr'; echo out; echo '-- stdout' >&2; printf 'no newline' >&2")
    view = finished(job)
    assert view.stdout_end == "-- stderr\nout\n"
    assert view.stderr_end == "-- stdout\nno newline"


def test_output_without_a_last_newline_is_kept_apart(job: Path) -> None:
    start(job, "sh", "-c", "printf out; printf err >&2")
    view = finished(job)
    assert (view.stdout_end, view.stderr_end) == ("out", "err")


def test_a_job_leaves_nothing_that_others_can_read(job: Path) -> None:
    start(job, "true")
    finished(job)
    assert {path.name: oct(path.stat().st_mode & 0o77) for path in job.iterdir()} == dict.fromkeys(
        ("pid", "status", "stdout", "stderr"), "0o0"
    )
