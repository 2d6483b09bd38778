"""Give the clone's Patroni roles the names and passwords that this node's Patroni uses.

Takes: patroni_config, data_directory, private_directory (None: the server that Patroni runs), port, bin_directory,
superuser (who is asked as). SECRETS, if sent along, holds passwords that are not in Patroni's configuration yet.
The passwords go from Patroni's configuration to psql's standard input and appear nowhere else.
"""

import json
import os
import subprocess
import sys

from patroni_file import local_configuration

# The restored postgresql.auto.conf and the roles' own settings are the source's: they may log every statement,
# passwords and all, or make every transaction read-only.
QUIETLY = [
    f"SET {setting};"
    for setting in (
        "log_statement = 'none'",
        "log_min_error_statement = 'panic'",
        "log_min_duration_statement = -1",
        "log_min_duration_sample = -1",
        "log_duration = off",
        "log_transaction_sample_rate = 0",
        "default_transaction_read_only = off",
    )
]
ATTRIBUTES = {"superuser": "SUPERUSER LOGIN", "replication": "REPLICATION LOGIN", "rewind": "LOGIN"}


def socket_of(data_directory):
    """Where the server that runs there listens: the fourth and fifth line of its postmaster.pid."""
    with open(os.path.join(data_directory, "postmaster.pid")) as lines:
        port, directory = lines.read().splitlines()[3:5]
    return directory, int(port)


def main(arguments):
    configuration = local_configuration(arguments["patroni_config"])
    authentication = configuration.get("postgresql", {}).get("authentication", {})
    given = globals().get("SECRETS") or {}
    directory, port = arguments["private_directory"], arguments["port"]
    if directory is None:
        directory, port = socket_of(arguments["data_directory"])
    statements, names = ["\\set ON_ERROR_STOP on", *QUIETLY], []
    for part, attributes in ATTRIBUTES.items():
        name, password = (
            authentication.get(part, {}).get("username"),
            given.get(part) or authentication.get(part, {}).get("password"),
        )
        if not name:
            continue
        names.append(name)
        quoted = '"' + name.replace('"', '""') + '"'
        literal = name.replace("'", "''")
        statements.append(
            f"SELECT format('CREATE ROLE %I LOGIN', '{literal}') "
            f"WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{literal}') \\gexec"
        )
        statements.append(f"ALTER ROLE {quoted} {attributes};")
        if password:
            escaped = str(password).replace("'", "''")
            statements.append(f"ALTER ROLE {quoted} PASSWORD '{escaped}';")
        if part == "rewind":
            # The rights that pg_rewind's manual names for a role that is no superuser.
            for function in (
                "pg_ls_dir(text, boolean, boolean)",
                "pg_stat_file(text, boolean)",
                "pg_read_binary_file(text)",
                "pg_read_binary_file(text, bigint, bigint, boolean)",
            ):
                statements.append(f"GRANT EXECUTE ON FUNCTION pg_catalog.{function} TO {quoted};")
    done = subprocess.run(
        [
            os.path.join(arguments["bin_directory"], "psql"),
            "-Xq",
            "-h",
            directory,
            "-p",
            str(port),
            "-U",
            arguments["superuser"],
            "-d",
            "postgres",
        ],
        input="\n".join(["SET standard_conforming_strings = on;", *statements]) + "\n",
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        # psql quotes the statement that failed, which may hold a password.
        first = next((line for line in done.stderr.splitlines() if "ERROR" in line or "FATAL" in line), "")
        sys.exit(f"could not set the passwords of {', '.join(names)}: {first or 'psql failed'}")
    print(json.dumps({"roles": names}))


main(json.loads(sys.argv[1]))
