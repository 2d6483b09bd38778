"""Say what this node is like now. Reads only.

Takes: patroni_config, data_directory, bin_directory, pgbackrest_config, work_directory, service, measure.
"""

import configparser
import glob
import json
import os
import pwd
import shutil
import subprocess
import sys
import time

from patroni_file import local_configuration
from patroni_rest import call


def output_of(*argv):
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=30, env={**os.environ, "LC_ALL": "C"}
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)
    return (done.stdout, None) if done.returncode == 0 else (None, done.stderr.strip() or done.stdout.strip())


def patroni_settings(local):
    from patroni.version import __version__

    postgresql = local.get("postgresql", {})
    authentication = postgresql.get("authentication", {})
    return {
        "version": __version__,
        "scope": local.get("scope"),
        "name": local.get("name"),
        "data_directory": postgresql.get("data_dir"),
        "bin_directory": postgresql.get("bin_dir"),
        "superuser": authentication.get("superuser", {}).get("username") or "postgres",
        "rest_address": local.get("restapi", {}).get("connect_address"),
        "listen": postgresql.get("listen"),
    }


def postmaster(data_directory):
    """What postmaster.pid says, if its process is there and works in this directory."""
    try:
        with open(os.path.join(data_directory, "postmaster.pid")) as lines:
            fields = lines.read().splitlines()
        pid = int(fields[0])
        if os.path.realpath(f"/proc/{pid}/cwd") != os.path.realpath(data_directory):
            return None
        return {
            "pid": pid,
            "port": int(fields[3]),
            "socket_directory": fields[4],
            "status": fields[7].strip(),
        }
    except (OSError, ValueError, IndexError):
        return None


def control_data(bin_directory, data_directory):
    text, problem = output_of(os.path.join(bin_directory, "pg_controldata"), "-D", data_directory)
    if text is None:
        return None, problem
    return {
        k.strip(): v.strip() for k, v in (line.split(":", 1) for line in text.splitlines() if ":" in line)
    }, None


def setting_in_auto_conf(data_directory, name):
    """The last value of a setting in postgresql.auto.conf, as it is written there."""
    value = None
    try:
        with open(os.path.join(data_directory, "postgresql.auto.conf")) as lines:
            for line in lines:
                key, _, rest = line.partition("=")
                if key.strip() == name:
                    value = rest.strip().strip("'")
    except OSError:
        pass
    return value


def stanza_settings(path, data_directory):
    """This data directory's stanza and the spool that its archiving uses, as pgBackRest's configuration has them."""
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str
    try:
        read = parser.read(path or "/etc/pgbackrest/pgbackrest.conf") or parser.read("/etc/pgbackrest.conf")
    except configparser.Error:
        read = []
    found = {
        "stanza": None,
        "spool_path": "/var/spool/pgbackrest",
        "lock_path": "/tmp/pgbackrest",
        "readable": bool(read),
    }
    for section in parser.sections():
        if section == "global":
            found["spool_path"] = parser.get(section, "spool-path", fallback=found["spool_path"])
            found["lock_path"] = parser.get(section, "lock-path", fallback=found["lock_path"])
        elif ":" not in section and os.path.realpath(
            parser.get(section, "pg1-path", fallback="/nowhere")
        ) == os.path.realpath(data_directory):
            found["stanza"] = section
    stop_files = [os.path.join(found["lock_path"], name) for name in (f"{found['stanza']}.stop", "all.stop")]
    found["stop_files"] = [name for name in stop_files if os.path.exists(name)]
    return found


def systemd_unit(service):
    """Whether systemd runs this node and has such a unit, and whether it starts it at boot.

    Without D-Bus an account other than root cannot ask; then systemd's directories tell.
    """
    unit = service if "." in service else f"{service}.service"
    if not os.path.isdir("/run/systemd/system"):
        return {"known": False, "enabled": False}
    state, _ = output_of("systemctl", "show", "--property=LoadState,UnitFileState", "--", unit)
    if state is not None:
        shown = dict(line.split("=", 1) for line in state.splitlines() if "=" in line)
        return {
            "known": shown["LoadState"] == "loaded",
            "enabled": shown["UnitFileState"].startswith("enabled"),
        }
    files = (
        f"{directory}/systemd/system/{unit}"
        for directory in ("/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib")
    )
    wanted = glob.glob(f"/etc/systemd/system/*.wants/{glob.escape(unit)}")
    return {"known": any(os.path.exists(name) for name in files), "enabled": bool(wanted)}


def standby_cluster(local, data_directory):
    """What the cluster's dynamic configuration says of the cluster that it follows; null if it follows none.

    Only that part leaves the node. Patroni's copy of it beside the data is as old as its last look into the store.
    """
    status, answer = call(local, "/config", timeout=3)
    if status != 200 or not isinstance(answer, dict):
        try:
            with open(os.path.join(data_directory, "patroni.dynamic.json")) as text:
                answer = json.load(text)
        except (OSError, ValueError):
            return None
    return answer.get("standby_cluster") or None


def bytes_below(directory):
    total = 0
    for folder, _, files in os.walk(directory):
        for name in files:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except OSError:
                pass
    return total


def main(arguments):
    found = {"user": pwd.getpwuid(os.geteuid()).pw_name, "clock": time.time(), "timezone": list(time.tzname)}
    try:
        local = local_configuration(arguments["patroni_config"])
        found["patroni"] = patroni_settings(local)
    except Exception as error:
        found["patroni_problem"] = f"{arguments['patroni_config']}: {error}"
    patroni = found.get("patroni") or {}
    data_directory = arguments["data_directory"]
    bin_directory = arguments["bin_directory"] or patroni.get("bin_directory") or ""
    version, problem = output_of(os.path.join(bin_directory, "postgres"), "--version")
    found["postgres_version"], found["postgres_problem"] = version and version.split()[2], problem
    found["bin_directory"] = bin_directory or os.path.dirname(shutil.which("postgres") or "")
    version, problem = output_of("pgbackrest", "version")
    found["pgbackrest_version"], found["pgbackrest_problem"] = version and version.split()[1], problem
    found["postmaster"] = postmaster(data_directory)
    found["data_directory"] = {
        "path": data_directory,
        "real_path": os.path.realpath(data_directory),
        "exists": os.path.isdir(data_directory),
        "empty": not os.path.isdir(data_directory) or not os.listdir(data_directory),
        "has_version": os.path.exists(os.path.join(data_directory, "PG_VERSION")),
        "standby": os.path.exists(os.path.join(data_directory, "standby.signal")),
        "tablespaces": len(glob.glob(os.path.join(data_directory, "pg_tblspc", "*"))),
    }
    if found["data_directory"]["has_version"]:
        found["control"], found["control_problem"] = control_data(found["bin_directory"], data_directory)
        found["archive_mode_kept"] = setting_in_auto_conf(data_directory, "archive_mode")
    found["systemd"] = systemd_unit(arguments["service"])
    found["stanza"] = stanza_settings(arguments["pgbackrest_config"], data_directory)
    parent = data_directory
    while not os.path.isdir(parent):
        parent = os.path.dirname(parent)
    space = os.statvfs(parent)
    found["free_bytes"] = space.f_bavail * space.f_frsize
    found["writable"] = os.access(os.path.dirname(data_directory), os.W_OK)
    if arguments.get("measure") and found["data_directory"]["exists"]:
        found["data_bytes"] = bytes_below(data_directory)
    if patroni.get("rest_address"):
        status, answer = call(local, "/cluster", timeout=3)
        found["cluster"] = answer if status == 200 else {"error": answer}
        if found["postmaster"] and not found["data_directory"]["standby"]:
            # A primary's own word: its control file, and the store, tell of a promotion a while later only.
            _, answer = call(local, "/patroni", timeout=3)
            found["timeline"] = answer.get("timeline") if isinstance(answer, dict) else None
        found["standby_cluster"] = standby_cluster(local, data_directory)
    for key, name in (("lock", "run.lock"), ("abandoned", "run.abandoned")):
        try:
            with open(os.path.join(arguments["work_directory"], name)) as lock:
                found[key] = json.load(lock)
        except FileNotFoundError:
            pass
        except ValueError:
            found[key] = {"run_id": "unreadable"}
    print(json.dumps(found))


main(json.loads(sys.argv[1]))
