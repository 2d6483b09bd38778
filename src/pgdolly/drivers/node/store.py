"""Make a cluster's entries in its store (etcd, Consul, …) those of a cluster whose life begins now.

Takes: patroni_config, action (look|fence|reset|found|remove), standby_cluster and system_identifier (for found), and
members (for remove: who may be registered, by name). Goes through Patroni's own library and configuration on this node,
so that any store works with the node's own credentials. Where the cluster lives on, its dynamic configuration stays:
wiping it would fall back to `bootstrap.dcs` and lose every `patronictl edit-config`. Only `remove` takes all.
"""

import json
import sys
import urllib.parse

NOBODY = "9223372036854775807"  # no cluster has this system identifier before the year 2038


def main(arguments):
    from patroni.config import Config
    from patroni.dcs import get_dcs

    config = Config(arguments["patroni_config"], validator=None)
    dcs = get_dcs(config)
    cluster = dcs.get_cluster()
    data = dict(cluster.config.data) if cluster.config and cluster.config.data else None
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
        "empty": cluster.is_empty(),
        "members": {
            member.name: urllib.parse.urlsplit(member.conn_url or "").hostname for member in cluster.members
        },
    }
    if arguments["action"] == "fence":
        # Patroni exits with "system ID mismatch" on a member that comes up with data of another system than this.
        dcs.initialize(create_new=False, sysid=NOBODY)
    if arguments["action"] == "found":
        # A cluster of data that is there already: Patroni would not take a replica for the beginning of one.
        if cluster.leader and cluster.leader.name:
            sys.exit(f"the store says that {cluster.leader.name} leads this cluster already")
        if cluster.history and cluster.history.lines:
            dcs.set_history_value("[]")
        dcs.write_status({"optime": 0})
        local = config.local_configuration
        beginning = dict((local.get("bootstrap") or {}).get("dcs") or {})
        beginning["standby_cluster"] = arguments["standby_cluster"]
        dcs.set_config_value(json.dumps(beginning, separators=(",", ":")))
        dcs.initialize(create_new=cluster.initialize is None, sysid=str(arguments["system_identifier"]))
    if arguments["action"] == "reset":
        # Order: first what lets a stale member in (a re-clone of one source has the same system identifier),
        # then what would make Patroni distrust the new leader (its LSN and timeline are behind the old ones').
        dcs.cancel_initialization()
        if cluster.leader:
            dcs.delete_leader(cluster.leader)
        dcs.set_history_value("[]")
        dcs.write_status({"optime": 0})
        dcs.write_failsafe({})
        if cluster.sync and not cluster.sync.is_empty:
            dcs.delete_sync_state()
        if cluster.failover:
            dcs.manual_failover("", "")
        if data and ({"pause", "standby_cluster"} & set(data)):
            data.pop("pause", None)
            data.pop("standby_cluster", None)
            dcs.set_config_value(json.dumps(data, separators=(",", ":")))
    if arguments["action"] == "remove" and not cluster.is_empty():
        others = sorted(set(done["members"]) - set(arguments["members"]))
        if others:
            sys.exit(f"{', '.join(others)} is registered in the store, too; nothing was removed from it")
        if dcs.delete_cluster() is False:
            sys.exit("the store refused to remove the cluster's entries")
    print(json.dumps(done))


main(json.loads(sys.argv[1]))
