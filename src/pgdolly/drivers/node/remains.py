"""Say what there is of a cluster on this node that `pgdolly drop` would remove, and who replicates from it. Reads only.

Takes: data_directory, bin_directory, socket_directory and port (None: no server runs), superuser, patroni_config,
work_directory, files (that `pgdolly clone` may have written), mark (what their first line begins with).
"""

import glob
import json
import os
import re
import sys

from followers import senders, slots
from made import empty, made
from pgpass import pgpass
from removal_guard import contents, fillers, objection, patronis, processes


def tablespaces(data, major):
    """The directories outside of the data directory that hold this cluster's files: PG_<major>_<catalogue version>."""
    found = []
    for location in locations(data):
        for name in sorted(os.listdir(location)) if os.path.isdir(location) else ():
            path = os.path.join(location, name)
            if re.fullmatch(rf"PG_{major}_\d+", name) and os.path.isdir(path) and not os.path.islink(path):
                found.append(path)
    return found


def locations(data):
    real = os.path.realpath(data)
    links = glob.glob(os.path.join(glob.escape(data), "pg_tblspc", "*"))
    targets = {os.path.realpath(link) for link in links if os.path.islink(link)}
    return sorted(target for target in targets if not target.startswith(real + "/"))


def shared(data):
    """Tablespaces of this data directory that are those of another server on this machine, too."""
    real, own, found = os.path.realpath(data), set(locations(data)), set()
    for directory in {there for _, _, there in processes() if there} - {real}:
        if os.path.exists(os.path.join(directory, "PG_VERSION")):
            found |= {f"{location} (also of {directory})" for location in own & set(locations(directory))}
    return sorted(found)


def wal_directory(data):
    """Where pg_wal is, if it is a link that leads out of the data directory."""
    path = os.path.join(data, "pg_wal")
    real = os.path.realpath(path)
    outside = not real.startswith(os.path.realpath(data) + "/")
    return real if os.path.islink(path) and outside and os.path.isdir(real) else None


def described(path, mark):
    return {
        "path": path,
        "made": made(path, mark),
        "empty": empty(path),
        "removable": os.access(os.path.dirname(path), os.W_OK),
    }


def lockable(work):
    """Whether this account can put a lock into the work directory, or make it."""
    while not os.path.isdir(work):
        work = os.path.dirname(work)
    return os.access(work, os.W_OK)


def version(data):
    try:
        with open(os.path.join(data, "PG_VERSION")) as text:
            return re.escape(text.read().strip())
    except OSError:
        return r"\d+"


def main(arguments):
    data, work = arguments["data_directory"], arguments["work_directory"]
    there = os.path.isdir(data)
    print(
        json.dumps(
            {
                "objection": objection(data, [*arguments["files"], work]),
                "empty": not there or not contents(data),
                "stays": there and (os.path.ismount(data) or os.path.islink(data)),
                "tablespaces": tablespaces(data, version(data)),
                "shared_tablespaces": shared(data),
                "wal_directory": wal_directory(data),
                "slots": slots(data),
                "senders": senders(arguments),
                "patronis": patronis(arguments["patroni_config"]),
                "fillers": [f"{name} (process {pid})" for pid, name in fillers(data)],
                "files": [
                    described(path, arguments["mark"]) for path in arguments["files"] if os.path.lexists(path)
                ],
                "pgpass": pgpass(arguments["patroni_config"], arguments["mark"]),
                "lockable": lockable(work),
                "work": sorted(set(os.listdir(work)) - {"run.lock"}) if os.path.isdir(work) else [],
                "beside": sorted(glob.glob(f"{glob.escape(data)}.*")),
            }
        )
    )


main(json.loads(sys.argv[1]))
