"""Remove one member's data for good, and what pgdolly and pgBackRest's spool have left beside it.

Takes: data_directory, as the inventory names it; real_directory, what that was when it was looked at; tablespaces and
wal_directory, outside of it; spool (None, or pgBackRest's spool of the stanza); work_directory (None: it is another
member's, too); patroni_config. Nothing is removed while a server or Patroni is at work. Links are removed, and not
followed. May be run again: PG_VERSION goes last, so that half a directory is known for what it is.
"""

import errno
import json
import os
import re
import signal
import stat
import sys
import time

from removal_guard import fillers, objection, patronis, servers, within

SECONDS = 30
WAL = re.compile(r"[0-9A-F]{24}(\..*)?|[0-9A-F]{8}\.history|archive_status|summaries|xlogtemp\..*")
STAYING = (errno.EBUSY, errno.EACCES, errno.EPERM, errno.ENOTEMPTY, errno.EROFS)


def refuse(what):
    sys.exit(f"{what}; nothing was removed")


def refuse_unfit(arguments):
    data = arguments["data_directory"]
    beside = os.path.join(os.path.dirname(data), "pgdolly")
    against = objection(data, [arguments["patroni_config"], arguments["work_directory"] or beside])
    if against:
        refuse(against)
    if os.path.realpath(data) != arguments["real_directory"]:
        refuse(f"{data} is {os.path.realpath(data)} now, and was {arguments['real_directory']}")
    for path in arguments["tablespaces"]:
        plain = os.path.isabs(path) and os.path.normpath(path) == path
        if not plain or not re.fullmatch(r"PG_\d+_\d+", os.path.basename(path)) or os.path.islink(path):
            refuse(f"{path!r} is no directory of a tablespace")
    wal = arguments["wal_directory"]
    if wal is not None and (not os.path.isabs(wal) or os.path.realpath(wal) != wal or wal.count("/") < 2):
        refuse(f"{wal!r} is no directory for WAL")
    spool = arguments["spool"]
    if spool is not None and not re.fullmatch(r"/[^/]+(/[^/]+)*/archive/[^/]+", os.path.normpath(spool)):
        refuse(f"{spool!r} is no spool of pgBackRest's")
    work = arguments["work_directory"]
    if work is not None and (
        not os.path.isabs(work) or os.path.basename(work) != "pgdolly" or os.path.islink(work)
    ):
        refuse(f"{work!r} is no work directory of pgdolly's")
    running = patronis(arguments["patroni_config"])
    if running:
        refuse(f"Patroni runs with {arguments['patroni_config']} (process {running[0]})")


def wait_for_none(at_work, what):
    until = time.monotonic() + SECONDS
    while still := at_work():
        if time.monotonic() > until:
            refuse(f"waited {SECONDS} s for {what} to end (process {still[0]})")
        time.sleep(0.1)


def end_fillers(data):
    """End the restore of a run that was given up: it would go on filling the directory."""
    ended = fillers(data)
    for pid, _ in ended:
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
    wait_for_none(lambda: [pid for pid, _ in fillers(data)], f"what still fills {data}")
    return [name for _, name in ended]


def empty(directory, kept, only=None):
    """Remove what is in a directory. What is mounted in it is emptied, and stays."""
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name == "PG_VERSION")
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.name == "lost+found" or (only is not None and not only.fullmatch(entry.name)):
            continue
        try:
            if entry.is_dir(follow_symlinks=False):
                empty(entry.path, kept)
                remove_directory(entry.path, kept)
            else:
                os.unlink(entry.path)
        except FileNotFoundError:
            continue


def remove_directory(path, kept):
    try:
        os.rmdir(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in STAYING:
            raise
        kept.append(f"{path}: {error.strerror}")


def remove_tree(path, kept):
    try:
        is_directory = stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return
    if is_directory:
        empty(path, kept)
        remove_directory(path, kept)
    else:
        os.unlink(path)


def main(arguments):
    data, kept = arguments["data_directory"], []
    refuse_unfit(arguments)
    ended = end_fillers(data)
    wait_for_none(lambda: servers(data), f"the processes that work in {data}")
    # First what only the data directory leads to: taken up again, it is still found.
    for path in arguments["tablespaces"]:
        remove_tree(path, kept)
    if arguments["wal_directory"] is not None:
        empty(arguments["wal_directory"], kept, only=WAL)
    if os.path.isdir(data):
        stays = os.path.islink(data) or os.path.ismount(data)
        empty(data, kept)
        if stays:
            kept.append(f"{data}: " + ("a link" if os.path.islink(data) else "a mount point"))
        else:
            remove_directory(data, kept)
    if arguments["spool"] is not None:
        remove_tree(arguments["spool"], kept)
    work = arguments["work_directory"]
    if work is not None and os.path.isdir(work) and not within(data, os.path.realpath(work)):
        # The lock is this run's own, and every other run on this member has ended.
        for name in sorted(set(os.listdir(work)) - {"run.lock"}):
            remove_tree(os.path.join(work, name), kept)
    print(json.dumps({"kept": kept, "ended": ended}))


main(json.loads(sys.argv[1]))
