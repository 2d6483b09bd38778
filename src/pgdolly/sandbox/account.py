"""Doing things as the account that the servers run as."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pgdolly.domain.errors import CommandFailed
from pgdolly.sandbox.render import RUNUSER, SYSTEM_PATH

LAST_LINES = 20


def is_root() -> bool:
    return os.geteuid() == 0


@contextmanager
def acting_as(user: str) -> Iterator[None]:
    """Let this process look at and write files as `user` for a while; without effect for a plain user.

    Root would follow a link that the servers' account has laid, and in a container without CAP_SYS_PTRACE it
    cannot even read what /proc tells of another user's processes. The kernel switches all threads at once:
    not for use beside other threads.
    """
    if not is_root():
        yield
        return
    entry = pwd.getpwnam(user)
    os.setegid(entry.pw_gid)
    os.seteuid(entry.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def as_account(user: str, argv: Sequence[str]) -> tuple[str, ...]:
    """Return the command that runs `argv` as `user`: the same one for a plain user."""
    return (RUNUSER, "-u", user, "--", *argv) if is_root() else tuple(argv)


def run_as(
    user: str,
    argv: Sequence[str],
    *,
    where: str,
    what: str,
    environment: Mapping[str, str] | None = None,
    directory: Path = Path("/"),
    deadline_seconds: float = 60,
) -> str:
    """Run a command as the servers' account and return its standard output.

    Its environment is `environment` alone: a PATRONI_* or PGBACKREST_* variable of the caller's would change
    what the servers do.

    :param what: what the command was to do, for the error.
    :raises CommandFailed: if it fails or its deadline passes.
    """
    command = as_account(user, argv)
    try:
        done = subprocess.run(
            command,
            env={"PATH": SYSTEM_PATH, "LANG": "C.UTF-8", **(environment or {})},
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=deadline_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CommandFailed(
            f"{what} did not end within {deadline_seconds:.0f} s", argv=command, status=124, where=where
        ) from None
    except OSError as error:
        raise CommandFailed(f"{what} could not start: {error.strerror}", argv=command, where=where) from None
    if done.returncode != 0:
        # pgBackRest writes its errors to standard output.
        lines = [*done.stdout.splitlines()[-LAST_LINES:], *done.stderr.splitlines()[-LAST_LINES:]]
        raise CommandFailed(
            f"{what} failed", argv=command, status=done.returncode, stderr_end="\n".join(lines), where=where
        )
    return done.stdout
