"""Take or give back the lock that one run holds on this member.

Takes: work_directory, action (take|release), run_id, holder (an object to remember). Prints the holder found.
"""

import json
import os
import sys


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
    if arguments["action"] == "release" and holder and holder["run_id"] == arguments["run_id"]:
        os.unlink(path)
    print(json.dumps({"holder": holder}))


main(json.loads(sys.argv[1]))
