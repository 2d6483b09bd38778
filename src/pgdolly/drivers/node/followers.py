"""Who replicates from a server, and the slots that are kept for somebody. Sent along with programs that look."""

import glob
import json
import os
import re
import subprocess

from removal_guard import processes

SENDERS = """select coalesce(json_agg(json_build_array(application_name, usename, host(client_addr), state)), '[]')
 from pg_stat_replication"""


def senders(arguments):
    """Who replicates from the server; it is asked, and if it does not answer its processes' titles tell.

    No port means that no server runs.
    """
    if arguments["port"] is None:
        return []
    argv = [
        os.path.join(arguments["bin_directory"], "psql"),
        "-XAtq",
        f"--host={arguments['socket_directory']}",
        f"--port={arguments['port']}",
        f"--username={arguments['superuser']}",
        "--dbname=postgres",
        f"--command={SENDERS}",
    ]
    environment = {**os.environ, "PGCONNECT_TIMEOUT": "10", "LC_ALL": "C"}
    done = subprocess.run(argv, capture_output=True, text=True, env=environment)
    if done.returncode == 0:
        return json.loads(done.stdout.replace("\n", ""))
    real = os.path.realpath(arguments["data_directory"])
    titles = [" ".join(words) for _, words, directory in processes() if directory == real]
    found = [re.search(r"walsender (\S+) ([^\s(]+)", title) for title in titles]
    return [["?", match[1], match[2], "?"] for match in found if match]


def slots(data):
    """The names of all replication slots; those of a base backup go with it."""
    names = (
        os.path.basename(path) for path in glob.glob(os.path.join(glob.escape(data), "pg_replslot", "*"))
    )
    return sorted(name for name in names if not re.fullmatch(r"pg_basebackup_\d+", name))
