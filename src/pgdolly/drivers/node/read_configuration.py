"""How this member is configured: Patroni's file, the cluster's configuration in its store, pgBackRest's file, the unit.

Takes: patroni_config, pgbackrest_config (None: pgBackRest's own places), service. Prints them, passwords and all: what
it prints is never shown.
"""

import json
import os
import subprocess
import sys

from patroni_library import patroni_library

FILES = ("/etc/pgbackrest/pgbackrest.conf", "/etc/pgbackrest.conf")


def of_store(path):
    """The configuration that `patronictl edit-config` edits; None if the store has none or does not answer."""
    Config, get_dcs = patroni_library()
    try:
        cluster = get_dcs(Config(path, validator=None)).get_cluster()
    except Exception:  # each store has its own errors; the file's bootstrap section is there in its place
        return None
    return dict(cluster.config.data) if cluster.config and cluster.config.data else None


def unit_of(service):
    done = subprocess.run(["systemctl", "cat", "--", service], capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else None


def main(arguments):
    import yaml

    with open(arguments["patroni_config"]) as text:
        patroni = yaml.safe_load(text)
    path = arguments["pgbackrest_config"] or next((name for name in FILES if os.path.exists(name)), None)
    pgbackrest = ""
    if path is not None:
        with open(path) as text:
            pgbackrest = text.read()
    found = {
        "patroni": patroni,
        "dynamic": of_store(arguments["patroni_config"]),
        "pgbackrest": pgbackrest,
        "unit": unit_of(arguments["service"]) if os.path.isdir("/run/systemd/system") else None,
    }
    print(json.dumps(found, default=str))


main(json.loads(sys.argv[1]))
