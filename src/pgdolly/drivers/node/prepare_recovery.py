"""Make a restored data directory ready for a recovery that nobody outside this node can see.

Takes: data_directory, bin_directory, private_directory, placeholders (timelines to steer past), wait_for_more
(true where a replica is to wait at the end of the archive instead of leaving recovery).
Prints the settings that were written.

Why an own configuration file: the restored one names paths, a host-based authentication file and libraries of
the source's node, and would let the clone archive, listen and run background workers of the source. What must not be
otherwise stands on the command line, where the restored postgresql.auto.conf does not beat it.
"""

import json
import os
import subprocess
import sys

# hot_standby refuses (13) or pauses (14 and later) a recovery whose server has less of these than the WAL's
# origin had: PostgreSQL, "Hot Standby", "Administrator's Overview".
FROM_CONTROL = {
    "max_connections": "max_connections setting",
    "max_worker_processes": "max_worker_processes setting",
    "max_wal_senders": "max_wal_senders setting",
    "max_prepared_transactions": "max_prepared_xacts setting",
    "max_locks_per_transaction": "max_locks_per_xact setting",
}


def control_data(bin_directory, data_directory):
    argv = [os.path.join(bin_directory, "pg_controldata"), "-D", data_directory]
    text = subprocess.run(
        argv, capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"}
    ).stdout
    return {
        k.strip(): v.strip() for k, v in (line.split(":", 1) for line in text.splitlines() if ":" in line)
    }


def configured(bin_directory, data_directory, name):
    """What the restored configuration says, or nothing if PostgreSQL cannot read it here."""
    argv = [os.path.join(bin_directory, "postgres"), "-D", data_directory, "-C", name]
    done = subprocess.run(argv, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def write(path, text):
    with open(path, "w") as handle:
        os.fchmod(handle.fileno(), 0o600)
        handle.write(text)


def main(arguments):
    data, private = arguments["data_directory"], arguments["private_directory"]
    os.makedirs(private, mode=0o700, exist_ok=True)
    os.chmod(private, 0o700)
    control = control_data(arguments["bin_directory"], data)
    settings = {}
    for name, key in FROM_CONTROL.items():
        here = configured(arguments["bin_directory"], data, name)
        settings[name] = max(int(control[key]), int(here) if here and here.isdigit() else 0)
    # For the command line: postgresql.auto.conf, which may hold less, is read after any other file.
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    write(os.path.join(private, "options"), options + "\n")
    settings["shared_buffers"] = configured(arguments["bin_directory"], data, "shared_buffers") or "16384"
    lines = [
        f"shared_buffers = {settings['shared_buffers']}",
        "hot_standby_feedback = off",
        "max_standby_archive_delay = 0",
        "max_wal_size = '4GB'",  # replay is not to be slowed by restartpoints
        "recovery_init_sync_method = syncfs",  # spares a walk over every file at the start
        "autovacuum = off",
    ]
    write(os.path.join(private, "postgresql.conf"), "\n".join(lines) + "\n")
    # The private directory is closed to everybody but this user, so the socket in it needs no password, and
    # the restored pg_hba.conf, which may name roles and files of the source, is not asked.
    write(os.path.join(private, "pg_hba.conf"), "local all all trust\n")
    write(os.path.join(private, "pg_ident.conf"), "")
    for name in ("patroni.dynamic.json", "postmaster.opts"):
        # Patroni would seed an empty store from the source's dynamic configuration.
        if os.path.exists(os.path.join(data, name)):
            os.unlink(os.path.join(data, name))
    recovery, standby = os.path.join(data, "recovery.signal"), os.path.join(data, "standby.signal")
    if arguments["wait_for_more"] and os.path.exists(recovery):
        os.rename(recovery, standby)
    for timeline in arguments["placeholders"]:
        # PostgreSQL chooses one more than the newest history file that it can see at the end of recovery.
        path = os.path.join(data, "pg_wal", f"{timeline:08X}.history")
        if not os.path.exists(path):
            write(
                path,
                "# placeholder of pgdolly: this timeline is taken in the backup history of this cluster\n",
            )
    print(json.dumps({"settings": settings}))


main(json.loads(sys.argv[1]))
