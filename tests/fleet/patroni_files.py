"""Patroni on a node: its configuration, its unit, and the store's configuration. Pure text.

https://patroni.readthedocs.io/en/latest/yaml_configuration.html
"""

from __future__ import annotations

import json

from fleet.layout import (
    NAMESPACE,
    PATRONI_PORT,
    POSTGRES_PORT,
    REPLICATION_PASSWORD,
    REPLICATION_USER,
    REST_PASSWORD,
    REST_USER,
    REWIND_PASSWORD,
    REWIND_USER,
    STORE_ADDRESS,
    STORE_PASSWORD,
    STORE_PORT,
    STORE_USER,
    SUBNET,
    SUPERUSER_PASSWORD,
    NodePlan,
)

CONFIGURATION = "/etc/patroni/patroni.yml"

UNIT = f"""\
[Unit]
Description=PostgreSQL, kept by Patroni
After=network.target

[Service]
Type=simple
User=postgres
Group=postgres
ExecStart=/usr/bin/patroni {CONFIGURATION}
ExecReload=/bin/kill -s HUP $MAINPID
# Patroni stops PostgreSQL itself.
KillMode=process
TimeoutStopSec=120
Restart=no

[Install]
WantedBy=multi-user.target
"""


def patroni(node: NodePlan, postgres: int) -> str:
    """Return a member's patroni.yml. JSON is YAML, and needs no library to be written."""
    parameters = {
        "archive_mode": "on",
        "archive_command": f"pgbackrest --stanza={node.cluster} archive-push %p",
        "archive_timeout": 300,
        "hot_standby_feedback": "on",
        "log_destination": "csvlog",
        "log_directory": "/pg/log/postgres",
        "log_filename": "postgresql-%a.log",
        "log_timezone": "UTC",
        "logging_collector": "on",
        "max_connections": 100,
        "max_wal_size": "256MB",
        "max_worker_processes": 12,
        "min_wal_size": "80MB",
        "password_encryption": "scram-sha-256",
        "shared_buffers": "64MB",
        "track_commit_timestamp": "on",
        "wal_level": "logical",
        "wal_log_hints": "on",
    }
    configuration = {
        "namespace": f"{NAMESPACE}/",
        "scope": node.cluster,
        "name": node.name,
        "etcd3": {
            "hosts": f"{STORE_ADDRESS}:{STORE_PORT}",
            "username": STORE_USER,
            "password": STORE_PASSWORD,
        },
        "restapi": {
            "listen": f"{node.address}:{PATRONI_PORT}",
            "connect_address": f"{node.address}:{PATRONI_PORT}",
            "authentication": {"username": REST_USER, "password": REST_PASSWORD},
        },
        "bootstrap": {
            "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "data-checksums"],
            "dcs": {
                "ttl": 30,
                "loop_wait": 10,
                "retry_timeout": 10,
                "maximum_lag_on_failover": 1048576,
                "postgresql": {"use_slots": True, "use_pg_rewind": True, "parameters": parameters},
            },
        },
        "postgresql": {
            "bin_dir": f"/usr/lib/postgresql/{postgres}/bin",
            "data_dir": "/pg/data",
            "listen": f"0.0.0.0:{POSTGRES_PORT}",
            "connect_address": f"{node.address}:{POSTGRES_PORT}",
            "use_unix_socket": True,
            "pgpass": "/var/lib/postgresql/.pgpass",
            "parameters": {"unix_socket_directories": "/var/run/postgresql"},
            "authentication": {
                "superuser": {"username": "postgres", "password": SUPERUSER_PASSWORD},
                "replication": {"username": REPLICATION_USER, "password": REPLICATION_PASSWORD},
                "rewind": {"username": REWIND_USER, "password": REWIND_PASSWORD},
            },
            "pg_hba": [
                "local all         postgres peer",
                "local replication postgres peer",
                "local all         all      scram-sha-256",
                "host  all         all      127.0.0.1/32 scram-sha-256",
                f"host  all         all      {SUBNET} scram-sha-256",
                # Patroni asks its own server for the timeline.
                f"host  replication {REPLICATION_USER} 127.0.0.1/32 scram-sha-256",
                f"host  replication {REPLICATION_USER} {SUBNET} scram-sha-256",
            ],
            "create_replica_methods": ["basebackup"],
            "basebackup": [{"checkpoint": "fast"}],
            "remove_data_directory_on_rewind_failure": True,
        },
        "tags": {"clonefrom": True},
    }
    return json.dumps(configuration, indent=2) + "\n"


def store(node: NodePlan) -> str:
    """Return Debian's /etc/default/etcd (https://etcd.io/docs/v3.5/op-guide/configuration/)."""
    client, peer = f"http://{node.address}:{STORE_PORT}", "http://127.0.0.1:2380"
    return f"""\
ETCD_NAME={node.name}
ETCD_LISTEN_CLIENT_URLS={client}
ETCD_ADVERTISE_CLIENT_URLS={client}
ETCD_LISTEN_PEER_URLS={peer}
ETCD_INITIAL_ADVERTISE_PEER_URLS={peer}
ETCD_INITIAL_CLUSTER={node.name}={peer}
ETCD_INITIAL_CLUSTER_STATE=new
"""
