"""Copy a running server into this member's empty data directory, and make a standby of the copy.

Takes: data_directory, bin_directory, patroni_config, host, port, session (target_session_attrs). The password of the
replication role goes from Patroni's configuration into a file that pg_basebackup alone reads.
https://www.postgresql.org/docs/current/app-pgbasebackup.html
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile

from patroni_file import local_configuration

# A server that lost its power does not hang up: whether it is still there is asked after half a minute of silence.
ALIVE = "connect_timeout=30 keepalives_idle=30 keepalives_interval=10 keepalives_count=3"


def empty(directory):
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)


def main(arguments):
    local = local_configuration(arguments["patroni_config"])
    role = local["postgresql"]["authentication"]["replication"]
    data = arguments["data_directory"]
    os.makedirs(data, mode=0o700, exist_ok=True)
    os.chmod(data, 0o700)
    empty(data)  # of what an earlier attempt has left
    with tempfile.NamedTemporaryFile("w", prefix="pgdolly-") as passfile:  # 0600
        password = str(role.get("password") or "").replace("\\", "\\\\").replace(":", "\\:")
        passfile.write(f"*:*:*:*:{password}\n")
        passfile.flush()
        attributes = f"{ALIVE} target_session_attrs={arguments['session']}"
        done = subprocess.run(
            [
                os.path.join(arguments["bin_directory"], "pg_basebackup"),
                f"--pgdata={data}",
                f"--dbname=host={arguments['host']} port={arguments['port']} user={role['username']} {attributes}",
                "--no-password",
                "--wal-method=stream",
                "--checkpoint=fast",
                "--progress",
                "--verbose",
            ],
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("PG")},
                "PGPASSFILE": passfile.name,
                "LC_ALL": "C",
            },
        )
    if done.returncode != 0:
        sys.exit(done.returncode)
    # Started without it, the copy would become a primary on the source's own timeline.
    with open(os.path.join(data, "standby.signal"), "w") as signal:
        os.fsync(signal.fileno())
    print(json.dumps({"copied": data}))


main(json.loads(sys.argv[1]))
