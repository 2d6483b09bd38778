"""Take or give back the lock that one run holds on this member.

Takes: work_directory, action (take|release|abandon|leave), run_id, holder (an object to remember). Prints the holder
found. To leave is to release, and to take the work directory away if it is empty then.
"""

import json
import os
import re
import shutil
import sys


def forget_older_runs(work_directory, run_id):
    """Remove the jobs' output of runs before this one: `20251227-175000-pg-test-7f3a`."""
    for name in os.listdir(work_directory):
        if re.match(r"\d{8}-\d{6}-.", name) and name < run_id:
            shutil.rmtree(os.path.join(work_directory, name), ignore_errors=True)


def give_up(work_directory, name):
    """Remove what belonged to the run alone."""
    try:
        os.unlink(os.path.join(work_directory, name))
    except FileNotFoundError:
        pass


def main(arguments):
    path = os.path.join(arguments["work_directory"], "run.lock")
    if arguments["action"] == "take":
        os.makedirs(arguments["work_directory"], mode=0o700, exist_ok=True)
        # Written beside and linked into place: whoever sees the lock sees all of it, and only one link succeeds.
        own = f"{path}.{arguments['run_id']}"
        with open(own, "w") as handle:
            json.dump({"run_id": arguments["run_id"], **arguments["holder"]}, handle)
        try:
            os.link(own, path)
        except FileExistsError:
            pass
        finally:
            os.unlink(own)
    try:
        with open(path) as handle:
            holder = json.load(handle)
    except FileNotFoundError:
        holder = None
    ours = holder is not None and holder["run_id"] == arguments["run_id"]
    if arguments["action"] in ("abandon", "release", "leave") and ours:
        give_up(arguments["work_directory"], "repository.conf")  # it holds the source's secrets
        give_up(arguments["work_directory"], "passwords.json")
    if arguments["action"] == "abandon" and ours:
        os.replace(path, os.path.join(arguments["work_directory"], "run.abandoned"))
    if arguments["action"] in ("release", "leave") and ours:
        forget_older_runs(arguments["work_directory"], arguments["run_id"])
        give_up(arguments["work_directory"], "run.abandoned")
        os.unlink(path)
    if arguments["action"] == "leave":
        try:
            os.rmdir(arguments["work_directory"])  # the cluster is gone: nothing is kept here any more
        except OSError:
            pass
    print(json.dumps({"holder": holder}))


main(json.loads(sys.argv[1]))
