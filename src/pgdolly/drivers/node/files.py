"""Look at files of this node, or write them.

Takes: look (paths), mark (what the first line of a file of `pgdolly clone` begins with), directories (to be made as
this user). SECRETS, if it is sent along, holds the files to write, each with path, text and mode.
Prints for each path whether it is there, whether a clone made it, and whether this user can write it.
"""

import json
import os
import sys

from made import made


def writable(path):
    """Whether this user could make or replace the file: what counts is the nearest directory that is there."""
    parent = os.path.dirname(path)
    while not os.path.isdir(parent):
        parent = os.path.dirname(parent)
    return os.access(parent, os.W_OK)


def write(file):
    os.makedirs(os.path.dirname(file["path"]), exist_ok=True)
    new = file["path"] + ".new"
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as handle:
        handle.write(file["text"])
        handle.flush()
        os.fsync(handle.fileno())
    os.chmod(new, file["mode"])
    os.replace(new, file["path"])


def main(arguments):
    for file in globals().get("SECRETS") or ():
        write(file)
    for directory in arguments["directories"]:
        os.makedirs(directory, mode=0o700, exist_ok=True)
    print(
        json.dumps(
            {
                path: {
                    "exists": os.path.lexists(path),
                    "made": made(path, arguments["mark"]),
                    "writable": writable(path),
                }
                for path in arguments["look"]
            }
        )
    )


main(json.loads(sys.argv[1]))
