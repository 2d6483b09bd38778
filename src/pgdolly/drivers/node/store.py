"""Make a cluster's entries in its store (etcd, Consul, …) those of a cluster whose life begins now.

Takes: patroni_config, action (look|fence|reset|begin|found|remove); for found: standby_cluster and system_identifier;
for remove: members, who may be registered, by name. SECRETS, if there are any, are the configuration itself: that of a
member that is not made yet.

Goes through Patroni's own library and configuration on this node, so that any store works with the node's credentials.
Where the cluster lives on, its dynamic configuration stays: wiping it would fall back to `bootstrap.dcs` and lose every
`patronictl edit-config`. If the store has none, Patroni falls back to that anyway, as its copy beside the data is gone;
a `standby_cluster` in there would make it stream on from its former source, so the rest of it is written into the
store. Only `remove` takes all, and `begin` and `found` put the file's own in its place: what lies there then is of a
former cluster of the same name.

Patroni's library swallows the errors of a store: its methods log them and return False, and what they return when all
is well differs between its versions. So the store is read again in the end, and the program fails if it holds
something else than what was written.
"""

import json
import os
import sys
import time
import urllib.parse

from patroni_library import patroni_library

NOBODY = "9223372036854775807"  # no cluster has this system identifier before the year 2038
SETTLE_SECONDS = 10  # some of Patroni's drivers read from a copy that is a moment behind


def see(dcs, **claims):
    """Wait until the store holds what was written; each claim is named for the entry that it is about."""
    until = time.monotonic() + SETTLE_SECONDS
    while True:
        cluster = dcs.get_cluster()
        missing = [name for name, holds in claims.items() if not holds(cluster)]
        if not missing:
            return
        if time.monotonic() > until:
            sys.exit(f"the store did not take what was written into it: {', '.join(missing)}")
        time.sleep(0.25)


def configuration(path):
    Config, _ = patroni_library()
    given = globals().get("SECRETS")
    if given is None:
        return Config(path, validator=None)
    import yaml

    # Where Patroni looks if it is given no file; set here, nobody sees it among the process's variables.
    os.environ["PATRONI_CONFIGURATION"] = yaml.safe_dump(given)
    return Config(None, validator=None)


def clear(dcs, cluster):
    """Remove what would make Patroni distrust a leader whose LSN and timeline are behind the former life's."""
    dcs.set_history_value("[]")
    dcs.write_status({"optime": 0})
    dcs.write_failsafe({})
    if cluster.sync and not cluster.sync.is_empty:
        dcs.delete_sync_state()
    if cluster.failover:
        dcs.manual_failover("", "")
    return {
        "history": lambda now: not (now.history and now.history.lines),
        "status": lambda now: now.status.last_lsn == 0,
        "failsafe": lambda now: not getattr(now, "failsafe", None),
        "sync": lambda now: not now.sync or now.sync.is_empty,
        "failover": lambda now: not now.failover or not (now.failover.leader or now.failover.candidate),
    }


def begin(dcs, done, dynamic):
    """Give a cluster that is new its configuration, whatever a former one of its name has left."""
    living = sorted({*done["members"], *([done["leader"]] if done["leader"] else [])})
    if living:
        sys.exit(f"the store says that this cluster lives already: {', '.join(living)}")
    dcs.set_config_value(json.dumps(dynamic, separators=(",", ":")))
    return {"config": lambda now: now.config and now.config.data == dynamic}


def main(arguments):
    config = configuration(arguments["patroni_config"])
    _, get_dcs = patroni_library()
    dcs = get_dcs(config)
    cluster = dcs.get_cluster()
    data = dict(cluster.config.data) if cluster.config and cluster.config.data else None
    bootstrap = (config.local_configuration.get("bootstrap") or {}).get("dcs") or {}
    done = {
        "initialize": cluster.initialize,
        "leader": cluster.leader.name if cluster.leader and cluster.leader.name else None,
        "paused": bool(data and data.get("pause")),
        "standby_cluster": bool(data and data.get("standby_cluster")),
        "standby_of": {
            key: (data or {}).get("standby_cluster", {}).get(key)
            for key in ("host", "port", "primary_slot_name")
        }
        if data and data.get("standby_cluster")
        else None,
        "configuration": data is not None,
        "slots": sorted((data or {}).get("slots") or {}),
        "empty": cluster.is_empty(),
        "members": {
            member.name: urllib.parse.urlsplit(member.conn_url or "").hostname for member in cluster.members
        },
    }
    if arguments["action"] == "fence":
        # Patroni exits with "system ID mismatch" on a member that comes up with data of another system than this.
        dcs.initialize(create_new=False, sysid=NOBODY)
        see(dcs, initialize=lambda now: now.initialize == NOBODY)
    if arguments["action"] == "begin":
        claims = begin(dcs, done, dict(bootstrap))
        dcs.cancel_initialization()
        see(dcs, initialize=lambda now: not now.initialize, **claims, **clear(dcs, cluster))
    if arguments["action"] == "found":
        # A cluster of data that is there already: Patroni would not take a replica for the beginning of one.
        claims = begin(dcs, done, {**bootstrap, "standby_cluster": arguments["standby_cluster"]})
        claims.update(clear(dcs, cluster))
        identifier = str(arguments["system_identifier"])
        dcs.initialize(create_new=cluster.initialize is None, sysid=identifier)
        see(dcs, initialize=lambda now: now.initialize == identifier, **claims)
    if arguments["action"] == "reset":
        # What lets a stale member in goes first: a re-clone of one source has the same system identifier.
        dcs.cancel_initialization()
        if cluster.leader:
            dcs.delete_leader(cluster.leader)
        claims = clear(dcs, cluster)
        if data is None and "standby_cluster" in bootstrap:
            data = dict(bootstrap)
        if data and ({"pause", "standby_cluster"} & set(data)):
            data.pop("pause", None)
            data.pop("standby_cluster", None)
            dcs.set_config_value(json.dumps(data, separators=(",", ":")))
        # Not the leader's key: in some stores Patroni deletes only its own, and another's goes with its time to live.
        see(
            dcs,
            initialize=lambda now: not now.initialize,
            config=lambda now: data is None or (now.config and now.config.data == data),
            **claims,
        )
    if arguments["action"] == "remove" and not cluster.is_empty():
        others = sorted(set(done["members"]) - set(arguments["members"]))
        if others:
            sys.exit(f"{', '.join(others)} is registered in the store, too; nothing was removed from it")
        if dcs.delete_cluster() is False:
            sys.exit("the store refused to remove the cluster's entries")
        see(
            dcs,
            initialize=lambda now: not now.initialize,
            config=lambda now: not (now.config and now.config.data),
            history=lambda now: not (now.history and now.history.lines),
        )
    print(json.dumps(done))


main(json.loads(sys.argv[1]))
