"""Say how far a recovery is that was started in the private directory. Reads only.

Takes: data_directory, bin_directory, private_directory, port, superuser.
"""

import json
import os
import re
import subprocess
import sys

QUERY = """select pg_is_in_recovery(),
 case when pg_is_in_recovery() then pg_get_wal_replay_pause_state() end,
 case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end,
 case when pg_is_in_recovery() then null else substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) end"""


def postmaster_pid(data):
    try:
        with open(os.path.join(data, "postmaster.pid")) as handle:
            pid = int(handle.readline())
        return pid if os.path.realpath(f"/proc/{pid}/cwd") == os.path.realpath(data) else None
    except (OSError, ValueError):
        return None


def main(arguments):
    data, private = arguments["data_directory"], arguments["private_directory"]
    environment = {**os.environ, "LC_ALL": "C"}
    pid = postmaster_pid(data)
    found = {"running": pid is not None, "answers": False}
    try:
        with open(os.path.join(private, "recovery.log"), errors="replace") as handle:
            handle.seek(max(0, os.fstat(handle.fileno()).st_size - 262144))
            log = handle.read()
    except OSError:
        log = ""
    stops = re.findall(r"LOG:  (recovery stopping .*)", log)
    found["stopped"] = stops[-1] if stops else None
    found["ending"] = re.search(r"LOG:  redo done at ", log) is not None
    found["fatal"] = [
        line
        for line in log.splitlines()
        if re.search(r"(FATAL|PANIC):  ", line) and "the database system is" not in line
    ][-5:]
    found["insufficient"] = re.findall(r"insufficient parameter settings.*\n.*DETAIL:  (.*)", log)[-1:]
    # What psql below is told until the server lets somebody in says nothing of the recovery.
    told = [
        line for line in log.splitlines() if not line.endswith("FATAL:  the database system is starting up")
    ]
    found["log_end"] = "\n".join(told[-15:])
    if pid is not None:
        titles = subprocess.run(
            ["ps", "--ppid", str(pid), "-o", "args="], capture_output=True, text=True
        ).stdout
        segment = re.search(r"startup\s+(?:recovering|waiting for)\s+([0-9A-F]{24})", titles)
        found["segment"] = segment[1] if segment else None
        done = subprocess.run(
            [
                os.path.join(arguments["bin_directory"], "psql"),
                "-XAtq",
                "-F",
                "\t",
                "-h",
                private,
                "-p",
                str(arguments["port"]),
                "-U",
                arguments["superuser"],
                "-d",
                "template1",
                "-c",
                QUERY,
            ],
            capture_output=True,
            text=True,
            env={**environment, "PGCONNECT_TIMEOUT": "5"},
        )
        if done.returncode == 0:
            recovering, pause, lsn, timeline = done.stdout.rstrip("\n").split("\t")
            found.update(
                answers=True,
                in_recovery=recovering == "t",
                pause=pause or None,
                lsn=lsn or None,
                timeline=int(timeline, 16) if timeline else None,
            )
        else:
            found["problem"] = done.stderr.strip()
    control = subprocess.run(
        [os.path.join(arguments["bin_directory"], "pg_controldata"), "-D", data],
        capture_output=True,
        text=True,
        env=environment,
    )
    if control.returncode == 0:
        fields = {
            k.strip(): v.strip()
            for k, v in (line.split(":", 1) for line in control.stdout.splitlines() if ":" in line)
        }
        found["control_state"] = fields.get("Database cluster state")
        found["minimum_recovery_lsn"] = fields.get("Minimum recovery ending location")
        found["control_timeline"] = int(fields["Latest checkpoint's TimeLineID"])
        found["redo_lsn"] = fields.get("Latest checkpoint's REDO location")
    print(json.dumps(found))


main(json.loads(sys.argv[1]))
