"""Ask the server that a standby cluster follows for its system, timeline and position, as its replicas connect to it.

Takes: psql, host, port (comma-separated where there are several), session (target_session_attrs), patroni_config (whose
replication role is used; None: SECRETS, which is sent along, holds "username" and "password"). Prints what
IDENTIFY_SYSTEM says, or the problem.
https://www.postgresql.org/docs/current/protocol-replication.html
"""

import json
import os
import subprocess
import sys
import tempfile

from patroni_file import local_configuration


def role(path):
    if path is None:
        return SECRETS  # noqa: F821
    local = local_configuration(path)
    return local.get("postgresql", {}).get("authentication", {}).get("replication", {})


def quoted(value):
    """A value of a libpq connection string."""
    escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def main(arguments):
    replication = role(arguments["patroni_config"])
    with tempfile.NamedTemporaryFile("w", prefix="pgdolly-") as passfile:  # 0600
        password = str(replication.get("password") or "").replace("\\", "\\\\").replace(":", "\\:")
        passfile.write(f"*:*:*:*:{password}\n")
        passfile.flush()
        words = {
            "host": arguments["host"],
            "port": arguments["port"],
            "user": replication.get("username", ""),
            "dbname": "postgres",
            "replication": "true",
            "target_session_attrs": arguments["session"],
            "connect_timeout": "10",
            "application_name": "pgdolly",
        }
        conninfo = " ".join(f"{name}={quoted(value)}" for name, value in words.items())
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        done = subprocess.run(
            [arguments["psql"], "-XAtqw", "-F", "\t", "-d", conninfo, "-c", "IDENTIFY_SYSTEM"],
            capture_output=True,
            text=True,
            env={**environment, "PGPASSFILE": passfile.name, "LC_ALL": "C"},
        )
    if done.returncode != 0:
        print(json.dumps({"problem": done.stderr.strip() or f"psql ended with {done.returncode}"}))
        return
    system, timeline, position, _ = (done.stdout.rstrip("\n") + "\t").split("\t")[:4]
    print(json.dumps({"system_identifier": int(system), "timeline": int(timeline), "lsn": position}))


main(json.loads(sys.argv[1]))
