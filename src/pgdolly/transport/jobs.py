"""Detached jobs: long commands on a node that outlive the connection and are found again by their key.

A job is a directory on the node with the files `pid` (process, its start time, the boot it belongs to),
`stdout`, `stderr` and, at the end, `status`. A process number alone would not do: after a reboot, or after
many forks, it names another process.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from pgdolly.domain.cluster import Member, ServiceManager
from pgdolly.domain.command import Command
from pgdolly.transport.shell import Shell, run_checked
from pgdolly.transport.units import in_unit

_PREPARE = r"""
set -eu
umask 077
mkdir -p "$1"
cd "$1"
rm -f status pid
"""

_JOB = r"""
umask 077
cd "$1" || exit
shift
read -r boot </proc/sys/kernel/random/boot_id
echo "$$ $(cut -d " " -f 22 /proc/$$/stat) $boot" >pid.new && mv pid.new pid
"$@" >stdout 2>stderr </dev/null
echo "$?" >status.new && mv status.new status
"""

_AWAIT_START = r"""
for _ in $(seq 100); do [ -e "$1/pid" ] && exit 0; sleep 0.05; done
echo "the job did not start within 5 s" >&2
exit 1
"""

_LOOK = r"""
cd "$1" 2>/dev/null || { echo absent; exit 0; }
if [ -e status ]; then
    read -r status <status
    echo "finished $status"
elif [ -e pid ]; then
    read -r pid started boot <pid
    read -r booted </proc/sys/kernel/random/boot_id
    # Z: it has ended, and its parent (in a container perhaps no real init) has not taken note of it yet.
    found=$(cut -d ' ' -f 3,22 "/proc/$pid/stat" 2>/dev/null)
    if [ "$boot" = "$booted" ] && [ "${found#? }" = "$started" ] && [ "${found%% *}" != Z ]; then
        # It leads a session. What its processes read and write is all that shows of one that checks files in silence.
        for each in $(ps -o pid= -s "$pid"); do cat "/proc/$each/io"; done 2>/dev/null |
            awk '/^[rw]char:/ { moved += $2 } END { printf(NR ? "running %.0f\n" : "running\n", moved) }'
    elif [ -e status ]; then
        read -r status <status
        echo "finished $status"
    else
        echo lost
    fi
else
    echo absent
fi
# NUL parts the answer: whatever else stands in the output is the job's own.
printf '\0'; tail -c "$2" stdout 2>/dev/null | tr -d '\0'
printf '\0'; tail -c "$2" stderr 2>/dev/null | tr -d '\0'
exit 0
"""


class JobState(StrEnum):
    ABSENT = "absent"
    RUNNING = "running"
    FINISHED = "finished"
    LOST = "lost"  # it began and neither runs nor left a status: the node went down under it


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """A look at a job. `status` is its exit status once it has finished; the ends are of its output.

    :param moved: bytes that its processes have read and written while it runs, from files, pipes and sockets; None if
        the node does not tell.
    """

    state: JobState
    status: int | None
    stdout_end: str
    stderr_end: str
    moved: int | None = None


def launch_command(member: Member, directory: PurePosixPath, command: Command) -> Command:
    """The command that leaves `command` behind as the job in `directory`, which is there."""
    environment = tuple(f"{name}={value}" for name, value in command.environment)
    argv = ("env", *environment, *command.argv) if environment else command.argv
    job = Command(argv=("bash", "-c", _JOB, "job", str(directory), *argv), summary=f"{command.shown()} &")
    if member.service_manager is ServiceManager.SYSTEMD:
        return in_unit(member, job)
    detached = ("sh", "-c", 'exec setsid --fork "$@" >/dev/null 2>&1 </dev/null', "detach", *job.argv)
    return dataclasses.replace(job, argv=detached)


async def start_job(shell: Shell, member: Member, directory: PurePosixPath, command: Command) -> None:
    """Start a job; one that runs already in this directory must not exist."""
    doing = f"start the job {directory.name}"
    for each in (
        Command(argv=("bash", "-c", _PREPARE, "prepare", str(directory))),
        launch_command(member, directory, command),
        Command(argv=("bash", "-c", _AWAIT_START, "await", str(directory))),
    ):
        await run_checked(shell, each, doing=doing)


async def look_at_job(
    shell: Shell, directory: PurePosixPath, *, run_as_root: bool = False, tail_bytes: int = 8192
) -> JobView:
    """Look at a job without touching it."""
    command = Command(
        argv=("bash", "-c", _LOOK, "look", str(directory), str(tail_bytes)),
        run_as="root" if run_as_root else "dbsu",
        summary=f"look at the job in {directory}",
    )
    output = await run_checked(shell, command, doing=f"look at the job in {directory}")
    head, stdout, stderr = [*output.split("\0"), "", ""][:3]  # a job that is absent has no output
    word, _, number = head.strip().partition(" ")
    state, value = JobState(word), int(number) if number else None
    return JobView(
        state=state,
        status=value if state is JobState.FINISHED else None,
        stdout_end=stdout,
        stderr_end=stderr,
        moved=value if state is JobState.RUNNING else None,
    )
