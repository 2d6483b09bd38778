"""Remove files that `pgdolly clone` wrote, and no others: each is looked at once more.

Takes: mark (what that line begins with), unlink (files that this account can remove), leave (files that root removes
next, and that are only looked at here), pgpass (that of the Patroni whose configuration is patroni_config; None: it
stays).
"""

import json
import os
import sys

from made import made
from pgpass import pgpass


def main(arguments):
    there = [path for path in (*arguments["unlink"], *arguments["leave"]) if os.path.lexists(path)]
    for path in there:
        if not os.path.isabs(path) or os.path.islink(path):
            sys.exit(f"{path!r} is no file of pgdolly's; nothing was removed")
        if not made(path, arguments["mark"]):
            sys.exit(f"{path} does not begin with {arguments['mark']!r} any more; nothing was removed")
    # First, because the configuration names it.
    named = arguments["pgpass"] and pgpass(arguments["patroni_config"], arguments["mark"])
    if named and named == arguments["pgpass"]:
        os.unlink(named)
    removed = [path for path in arguments["unlink"] if path in there]
    for path in removed:
        os.unlink(path)
    print(json.dumps({"removed": removed}))


main(json.loads(sys.argv[1]))
