"""Remove files that `pgdolly clone` wrote, and no others: the first line of each is looked at once more.

Takes: mark (what that line begins with), unlink (files that this account can remove), leave (files that root removes
next, and that are only looked at here).
"""

import json
import os
import sys


def main(arguments):
    there = [path for path in (*arguments["unlink"], *arguments["leave"]) if os.path.lexists(path)]
    for path in there:
        if not os.path.isabs(path) or os.path.islink(path):
            sys.exit(f"{path!r} is no file of pgdolly's; nothing was removed")
        with open(path, errors="replace") as lines:
            if not lines.readline().startswith(arguments["mark"]):
                sys.exit(f"{path} does not begin with {arguments['mark']!r} any more; nothing was removed")
    removed = [path for path in arguments["unlink"] if path in there]
    for path in removed:
        os.unlink(path)
    print(json.dumps({"removed": removed}))


main(json.loads(sys.argv[1]))
