"""What stands against removing a directory, and who works in it. Sent along with programs that look or remove."""

import os
import pwd
import re

# No directory that is one of these, or holds one, is emptied.
SYSTEM = "bin boot dev etc home lib lib64 media mnt opt proc root run sbin srv sys tmp usr var"
PROTECTED = [f"/{name}" for name in re.findall(r"\w+", SYSTEM)]
# PostgreSQL's own directories: pgBackRest and pg_basebackup make them first, before PG_VERSION is there.
PARTS = "commit_ts dynshmem logical multixact notify replslot serial snapshots stat subtrans tblspc twophase wal xact"
SIGNS = [f"pg_{part}" for part in PARTS.split(" ")]
FILLERS = ("pgbackrest", "pg_basebackup")


def objection(directory, protected=()):
    """Why nothing must be removed in this directory; None if it may be emptied, or is not there.

    `protected`: what must not lie in it.
    """
    if not directory or not os.path.isabs(directory) or os.path.normpath(directory) != directory:
        return f"{directory!r} is no absolute path in its plain form"
    real = os.path.realpath(directory)
    home = pwd.getpwuid(os.geteuid()).pw_dir
    for path in (*PROTECTED, home, *protected):
        if real == "/" or within(path, real):
            return f"{directory} is or holds {path}"
    if not os.path.lexists(directory):
        return None
    if not os.path.isdir(directory):
        return f"{directory} is no directory"
    entries = contents(directory)
    if entries and not {"PG_VERSION", *SIGNS} & set(entries):
        shown = ", ".join(entries[:5])
        return f"{directory} holds no PG_VERSION, nor any directory of PostgreSQL's: {shown}"
    return None


def within(path, directory):
    """Whether a path is that directory or lies below it, links followed."""
    real = os.path.realpath(path)
    return real == directory or real.startswith(directory.rstrip("/") + "/")


def contents(directory):
    """The names in a directory, but for what the file system itself keeps at its root."""
    return sorted(name for name in os.listdir(directory) if name != "lost+found")


def processes():
    """Every process that can be seen: (number, words of its command line, working directory or None)."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", errors="replace") as line:
                text = line.read().rstrip("\0")
        except OSError:
            continue
        try:
            directory = os.path.realpath(os.readlink(f"/proc/{pid}/cwd"))
        except OSError:
            directory = None
        yield int(pid), text.split("\0") if text else [], directory


def patronis(config):
    """The processes of Patroni that run with this configuration."""
    return [
        pid
        for pid, words, _ in processes()
        if config in words and any(os.path.basename(word) == "patroni" for word in words)
    ]


def servers(directory):
    """The processes that work in this data directory: a server's, or what one has left behind."""
    real = os.path.realpath(directory)
    return [pid for pid, words, there in processes() if there == real and words]


def fillers(directory):
    """Restores and base backups into this directory that go on: (number, program)."""
    names = {directory, os.path.realpath(directory)}
    return [
        (pid, os.path.basename(words[0]))
        for pid, words, _ in processes()
        if words
        and os.path.basename(words[0]) in FILLERS
        and any(word in names or word.partition("=")[2] in names for word in words[1:])
    ]
