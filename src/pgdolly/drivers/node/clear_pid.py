"""Take away the lock files of a server that was killed: postmaster.pid, and its socket's in the private directory.

Takes: data_directory, private_directory, port. PostgreSQL does so itself, unless a process has that number again, or
the killed one has it still because its parent has not taken note of it. It is right to keep them while any process of
the old server is there: two servers on one directory destroy it.
"""

import json
import os
import sys
import time

SECONDS = 30


def at_work(data_directory):
    """The processes that work in the directory; a dead one works nowhere."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.path.realpath(os.readlink(f"/proc/{pid}/cwd")) == data_directory:
                with open(f"/proc/{pid}/cmdline") as words:
                    found.append(f"{pid} ({words.read().split(chr(0))[0]})")
        except OSError:
            continue
    return found


def main(arguments):
    paths = (
        os.path.join(arguments["data_directory"], "postmaster.pid"),
        os.path.join(arguments["private_directory"], f".s.PGSQL.{arguments['port']}.lock"),
    )
    left = [path for path in paths if os.path.exists(path)]
    if not left:
        print(json.dumps({"cleared": []}))
        return
    until = time.monotonic() + SECONDS
    while still := at_work(os.path.realpath(arguments["data_directory"])):
        if time.monotonic() > until:
            sys.exit(f"waited {SECONDS} s for the old server's processes to end: {', '.join(still)}")
        time.sleep(0.1)
    for path in left:
        os.unlink(path)
    print(json.dumps({"cleared": left}))


main(json.loads(sys.argv[1]))
