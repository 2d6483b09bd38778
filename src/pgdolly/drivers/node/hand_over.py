"""Make a recovered, stopped data directory one that Patroni can take: free of the recovery and of the source.

Takes: data_directory, archive (keep archiving on), standby (it stays one), placeholders (timelines whose placeholder
files go), spool_directories (to be emptied), histories (name: text, to be written into pg_wal), cut ({"position": the
16 digits of the segment that holds the fork, "offset": bytes into it}; null for none).
Prints what was done.
"""

import json
import os
import re
import shutil
import sys

# What may come back with the source's postgresql.auto.conf and would act on the source or fight Patroni.
FOREIGN = re.compile(
    r"(archive_command|archive_library|archive_mode|archive_cleanup_command|restore_command|recovery_\w+"
    r"|primary_conninfo|primary_slot_name|promote_trigger_file|standby_mode|trigger_file|cluster_name"
    r"|listen_addresses|port|unix_socket_directories|log_directory|ssl_\w+_file|ssl_crl_dir|krb_server_keyfile"
    r"|synchronous_standby_names|hba_file|ident_file|data_directory|external_pid_file)$",
    re.IGNORECASE,
)
# As PostgreSQL reads it: `name = value` or `name value`.
SETTING = re.compile(r"\s*([\w.]+)\s*(=|\s)")
SEGMENT = re.compile(r"[0-9A-F]{24}$")
# Values, and the names of restore points in histories, are in the encoding of their database: they go through as bytes.
AS_BYTES = {"encoding": "utf-8", "errors": "surrogateescape"}


def mend_auto_conf(path, archive):
    """Take out the settings that belong to the source or to the recovery; everything else stays as it is."""
    removed, kept = [], []
    try:
        with open(path, **AS_BYTES) as handle:
            lines = handle.readlines()
    except FileNotFoundError:
        lines = []
    for line in lines:
        setting = SETTING.match(line)
        name = setting[1] if setting else ""
        if FOREIGN.match(name):
            removed.append(name)
        else:
            kept.append(line if line.endswith("\n") else line + "\n")
    if not archive:
        kept.append("archive_mode = 'off'\n")
    with open(path + ".new", "w", **AS_BYTES) as handle:
        os.fchmod(handle.fileno(), 0o600)
        handle.writelines(kept)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(path + ".new", path)
    return removed


def cut_wal(wal, status, position, offset):
    """Remove the old timeline's WAL from the fork on: a replica would replay it and be ahead of the leader for ever.

    The segment that holds the fork keeps what lies before it. Removed whole, the replica would have to ask the
    leader for it on the old timeline; and a leader that was promoted twice within that segment cannot serve
    it: the copy that belongs to the timeline between was renamed to .partial.
    """
    cut = []
    for name in sorted(os.listdir(wal)):
        if not SEGMENT.match(name[:24]) or name[8:24] < position:
            continue
        path = os.path.join(wal, name)
        cut.append(name)
        if name[8:24] == position and len(name) == 24 and offset > 0:
            with open(path, "r+b") as segment:
                segment.seek(offset)
                segment.write(b"\0" * (os.fstat(segment.fileno()).st_size - offset))
                segment.flush()
                os.fsync(segment.fileno())
            continue
        os.unlink(path)
        for suffix in (".ready", ".done"):
            if os.path.exists(os.path.join(status, name + suffix)):
                os.unlink(os.path.join(status, name + suffix))
    return cut


def main(arguments):
    data = arguments["data_directory"]
    wal = os.path.join(data, "pg_wal")
    status = os.path.join(wal, "archive_status")
    done = {
        "removed_settings": mend_auto_conf(os.path.join(data, "postgresql.auto.conf"), arguments["archive"])
    }
    standby = arguments.get("standby", False)
    if standby:
        with open(os.path.join(data, "standby.signal"), "w") as signal:
            os.fsync(signal.fileno())
    for name in (
        "recovery.signal",
        "patroni.dynamic.json",
        *(() if standby else ("standby.signal",)),
    ):
        if os.path.exists(os.path.join(data, name)):
            os.unlink(os.path.join(data, name))
    for timeline in arguments["placeholders"]:
        path = os.path.join(wal, f"{timeline:08X}.history")
        if os.path.exists(path):
            with open(path, **AS_BYTES) as handle:
                ours = handle.readline().startswith("# placeholder of pgdolly")
            if ours:
                os.unlink(path)
    if arguments["cut"]:
        done["cut"] = cut_wal(wal, status, arguments["cut"]["position"], arguments["cut"]["offset"])
    for name, text in arguments["histories"].items():
        with open(os.path.join(wal, name), "w", **AS_BYTES) as handle:
            os.fchmod(handle.fileno(), 0o600)
            handle.write(text)
    if arguments["histories"]:
        os.sync()
    # Acknowledgements of the stanza's former life would make archive-push skip a segment of the same name; and what
    # the recovery fetched ahead of replay is of no use any more. An archive-get that is just ending may still write.
    for spool in arguments["spool_directories"]:
        shutil.rmtree(spool, ignore_errors=True)
        acknowledged = os.path.join(spool, "out")
        if os.path.isdir(acknowledged) and os.listdir(acknowledged):
            sys.exit(
                f"could not empty {acknowledged}: archive-push would take its acknowledgements for new WAL's"
            )
    print(json.dumps(done))


main(json.loads(sys.argv[1]))
