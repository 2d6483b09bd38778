"""Print this data directory's timeline history files by name. Reads only. Takes: data_directory."""

import json
import os
import sys


def main(arguments):
    wal = os.path.join(arguments["data_directory"], "pg_wal")
    found = {}
    for name in os.listdir(wal):
        if name.endswith(".history"):
            # It may hold the name of a restore point, in the encoding of its database.
            with open(os.path.join(wal, name), encoding="utf-8", errors="surrogateescape") as handle:
                found[name] = handle.read()
    print(json.dumps(found))


main(json.loads(sys.argv[1]))
