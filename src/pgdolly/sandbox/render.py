"""The text of every file that a sandbox is made of. Pure functions; nothing is written here."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pgdolly.sandbox.layout import (
    ETCD,
    ETCD_CLIENT_PORT,
    ETCD_PEER_PORT,
    PATRONI_PORT,
    POSTGRES_PORT,
    SandboxNode,
    World,
)

# Every process that the sandbox starts inherits this variable with the sandbox's directory in it, so that
# orphans of a killed supervisord are known for what they are.
MARKER = "PGDOLLY_SANDBOX"

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Passwords:
    """The passwords of one cluster's roles. No two clusters share them, as in the field."""

    superuser: str = field(repr=False)
    replication: str = field(repr=False)
    rewind: str = field(repr=False)


def dynamic_configuration(cluster: str) -> dict[str, Any]:
    """Patroni's cluster-wide configuration, as `bootstrap.dcs` seeds it.

    The archive command names no configuration file, each member's environment does (PGBACKREST_CONFIG):
    one setting serves members whose files differ.
    """
    return {
        "ttl": 20,
        "loop_wait": 2,
        "retry_timeout": 5,
        "maximum_lag_on_failover": 1048576,
        "check_timeline": True,
        "postgresql": {
            "use_pg_rewind": True,
            "use_slots": True,
            "parameters": {
                "archive_mode": "on",
                "archive_command": f"pgbackrest --stanza={cluster} archive-push %p",
                "archive_timeout": "60s",
                "wal_level": "replica",
                "hot_standby": "on",
                "wal_log_hints": "on",
                "track_commit_timestamp": "on",
                "max_connections": 50,
                "shared_buffers": "16MB",
                "max_wal_size": "256MB",
                "min_wal_size": "80MB",
                "wal_keep_size": "32MB",
                "logging_collector": "on",
                "log_filename": "postgresql-%Y-%m-%d.log",
                "log_timezone": "UTC",
                "timezone": "UTC",
            },
        },
    }


def patroni_config(world: World, node: SandboxNode, passwords: Passwords) -> str:
    """A member's patroni.yml. It holds the cluster's passwords: mode 0600.

    Local connections are trusted because only the servers' account can enter the socket's directory.
    """
    settings = {
        "scope": node.cluster,
        "namespace": "/pg/",
        "name": node.name,
        "restapi": {
            "listen": f"{node.address}:{PATRONI_PORT}",
            "connect_address": f"{node.address}:{PATRONI_PORT}",
        },
        "etcd3": {"hosts": [f"{world.etcd_address}:{ETCD_CLIENT_PORT}"]},
        "bootstrap": {
            "dcs": dynamic_configuration(node.cluster),
            "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "data-checksums"],
        },
        "postgresql": {
            "listen": f"{node.address}:{POSTGRES_PORT}",
            "connect_address": f"{node.address}:{POSTGRES_PORT}",
            "use_unix_socket": True,
            "data_dir": str(node.data_directory),
            "bin_dir": str(world.pg_bin),
            "pgpass": str(node.directory / "pgpass"),
            "authentication": {
                "superuser": {"username": "postgres", "password": passwords.superuser},
                "replication": {"username": "replicator", "password": passwords.replication},
                "rewind": {"username": "rewind_user", "password": passwords.rewind},
            },
            "parameters": {
                "unix_socket_directories": str(node.socket_directory),
                "log_directory": str(node.log_directory),
                "password_encryption": "scram-sha-256",
            },
            "pg_hba": [
                "local all all trust",
                "local replication all trust",
                # A connection to any loopback address comes from 127.0.0.1, not from a member's own address.
                "host all all 127.0.0.0/8 scram-sha-256",
                "host replication all 127.0.0.0/8 scram-sha-256",
            ],
            "create_replica_methods": ["basebackup"],
            "basebackup": [{"checkpoint": "fast"}],
        },
        "watchdog": {"mode": "off"},
    }
    return _yaml(settings)


def pgbackrest_config(world: World, node: SandboxNode) -> str:
    """A member's pgbackrest.conf: the shared repository, its own spool, locks and logs, its stanza."""
    return "\n".join(
        [
            "[global]",
            f"repo1-path={world.repository}",
            "repo1-retention-full=10",
            "repo1-bundle=y",
            "compress-type=zst",
            "compress-level=1",
            "archive-async=y",
            "process-max=2",
            "start-fast=y",
            f"spool-path={node.spool_directory}",
            f"lock-path={node.lock_directory}",
            f"log-path={node.log_directory}",
            "log-level-console=info",
            "log-level-stderr=off",  # errors stand in the same stream, with their time, as Pigsty has them
            "log-level-file=detail",
            "",
            "[global:archive-push]",
            "log-level-console=warn",
            "",
            "[global:archive-get]",
            "log-level-console=warn",
            "",
            f"[{node.cluster}]",
            f"pg1-path={node.data_directory}",
            f"pg1-port={POSTGRES_PORT}",
            f"pg1-socket-path={node.socket_directory}",
            "pg1-user=postgres",
            "",
        ]
    )


def node_environment(world: World, node: SandboxNode) -> dict[str, str]:
    """What a member's servers and the wrappers need in their environment, and nothing of the caller's."""
    return {
        "PATH": f"{world.pg_bin}:{SYSTEM_PATH}",
        "HOME": world.user_home,
        "LANG": "C.UTF-8",
        "PGBACKREST_CONFIG": str(node.pgbackrest_config),
        MARKER: str(world.directory),
    }


def etcd_command(world: World) -> tuple[str, ...]:
    """The store's command line (https://etcd.io/docs/v3.4/op-guide/configuration/)."""
    client = f"http://{world.etcd_address}:{ETCD_CLIENT_PORT}"
    peer = f"http://{world.etcd_address}:{ETCD_PEER_PORT}"
    return (
        str(world.etcd),
        f"--name={ETCD}",
        f"--data-dir={world.directory / ETCD}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster={ETCD}={peer}",
        "--auto-compaction-retention=1h",
    )


def supervisor_config(world: World) -> str:
    """supervisord.conf: etcd and one program per member, all as the servers' account.

    Programs are started in order by `sandbox up`, not by supervisord. Signals go to Patroni alone, never to
    its process group: it stops its PostgreSQL itself, and cleanly.
    """
    base = {"PATH": SYSTEM_PATH, "HOME": world.user_home, "LANG": "C.UTF-8", MARKER: str(world.directory)}
    head = f"""\
[unix_http_server]
file={world.supervisor_socket}
chmod=0700

[supervisord]
logfile={world.log_directory / "supervisord.log"}
logfile_maxbytes=10MB
logfile_backups=1
pidfile={world.run_directory / "supervisord.pid"}
childlogdir={world.log_directory}
directory={world.directory}
umask=077
nodaemon=false

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{world.supervisor_socket}
"""
    programs = [_program(world, ETCD, etcd_command(world), base)]
    for node in world.nodes:
        command = (str(world.environment_bin / "patroni"), str(node.patroni_config))
        programs.append(_program(world, node.name, command, node_environment(world, node)))
    return "\n".join([head, *programs])


def _program(world: World, name: str, command: tuple[str, ...], environment: dict[str, str]) -> str:
    # supervisord expands %(...)s in values, hence the doubled signs.
    pairs = ",".join(f'{key}="{value}"' for key, value in environment.items()).replace("%", "%%")
    return f"""\
[program:{name}]
command={shlex.join(command).replace("%", "%%")}
environment={pairs}
autostart=false
autorestart=unexpected
exitcodes=0
startsecs=1
startretries=10
stopsignal=TERM
stopwaitsecs=60
stopasgroup=false
killasgroup=false
redirect_stderr=true
stdout_logfile={world.log_of(name)}
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=1
"""


def inventory(world: World) -> str:
    """The Ansible inventory, in Pigsty's form. Valid for `ansible-inventory --list`."""
    clusters: dict[str, Any] = {}
    for node in world.nodes:
        cluster = clusters.setdefault(node.cluster, {"hosts": {}, "vars": {"pg_cluster": node.cluster}})
        cluster["hosts"][node.address] = {
            "pg_seq": node.sequence,
            "pg_role": node.role,
            "pg_data": str(node.data_directory),
            "pgdolly_service": node.name,
            "pgdolly_patroni_config": str(node.patroni_config),
            "pgdolly_pgbackrest_config": str(node.pgbackrest_config),
        }
    tree = {
        "all": {
            "vars": {
                "ansible_connection": "local",
                "ansible_python_interpreter": str(world.environment_bin / "python"),
                "pg_version": world.pg_version,
                "pg_dbsu": world.user,
                "pg_bin_dir": str(world.pg_bin),
                "pg_port": POSTGRES_PORT,
                "patroni_port": PATRONI_PORT,
                "pgbackrest_method": "local",
                "pgbackrest_repo": {
                    "local": {
                        "path": str(world.repository),
                        "retention_full_type": "count",
                        "retention_full": 10,
                    }
                },
                "pgdolly_service_manager": "supervisor",
                "pgdolly_supervisor_config": str(world.supervisor_config),
                "pgdolly_patroni": str(world.environment_bin / "patroni"),
            },
            "children": {
                ETCD: {"hosts": {world.etcd_address: {"etcd_seq": 1}}, "vars": {"etcd_cluster": ETCD}},
                **clusters,
            },
        }
    }
    return f"# The sandbox's inventory, written anew by every `pgdolly sandbox up`.\n{_yaml(tree)}"


def wrappers(world: World, node: SandboxNode) -> dict[str, str]:
    """A member's own commands: file name to script. Called by root, they drop to the servers' account."""
    return {
        "pgbackrest": _wrapper(
            world, node, "pgbackrest with this node's configuration", 'as_server "$pgbackrest" "$@"'
        ),
        # The stanza goes through the environment: `pb version` and `pb repo-ls` would refuse it as an option.
        "pb": _wrapper(
            world,
            node,
            "pgbackrest for this node's own stanza",
            _PB,
        ),
        "pg-backup": _wrapper(
            world, node, "pg-backup [full|diff|incr]: one backup, on the primary only", _PG_BACKUP
        ),
    }


_IN_RECOVERY = """\
in_recovery() {
    as_server "$pg_bin/psql" -X -h "$sockets" -p "$port" -U postgres -d postgres \\
        -Atqwc 'SELECT pg_is_in_recovery()'
}
"""

# Asked, the server of a standby cluster is no primary, and pgBackRest gives up [056]; its data directory tells what
# there is to know: https://pgbackrest.org/command.html#command-stanza-create
_PB = (
    _IN_RECOVERY
    + """\
case " $* " in
    *online*) ;;
    *" stanza-create "*|*" stanza-upgrade "*)
        if [ "$(in_recovery 2>/dev/null)" = t ]; then
            echo "pb: $node is in recovery: --no-online, by its data directory" >&2
            set -- --no-online "$@"
        fi ;;
esac
as_server PGBACKREST_STANZA="$stanza" "$pgbackrest" "$@\""""
)

_PG_BACKUP = (
    _IN_RECOVERY
    + """\
type=${1:-}
case $type in
    ''|full|diff|incr) ;;
    *) echo "usage: pg-backup [full|diff|incr]" >&2; exit 2 ;;
esac
if ! recovering=$(in_recovery); then
    echo "pg-backup: $node: PostgreSQL does not answer, nothing was backed up" >&2
    exit 1
fi
if [ "$recovering" != f ]; then
    echo "pg-backup: $node is a replica: run it on the primary of $stanza (patronictl list names it)" >&2
    exit 1
fi
if [ -z "$type" ]; then
    if as_server "$pgbackrest" --stanza="$stanza" --output=json info | grep -q '"backup":\\[{'; then
        type=incr
    else
        type=full
    fi
fi
as_server "$pgbackrest" --stanza="$stanza" --type="$type" backup"""
)


def _wrapper(world: World, node: SandboxNode, purpose: str, body: str) -> str:
    environment = " ".join(
        f"{key}={shlex.quote(value)}" for key, value in node_environment(world, node).items()
    )
    return f"""\
#!/bin/sh
# {purpose}. Written by `pgdolly sandbox up`.
node={node.name}
stanza={node.cluster}
sockets={node.socket_directory}
port={POSTGRES_PORT}
pg_bin={world.pg_bin}
pgbackrest={world.pgbackrest}

as_server() {{
    if [ "$(id -u)" = 0 ] && [ {shlex.quote(world.user)} != root ]; then
        # The caller's directory may be closed to the servers' account.
        (cd {node.directory} && exec {RUNUSER} -u {shlex.quote(world.user)} -- env {environment} "$@")
    else
        env {environment} "$@"
    fi
}}

{body}
"""


RUNUSER = "/usr/sbin/runuser"


def shell_environment(world: World, node: SandboxNode) -> dict[str, str]:
    """What `sandbox shell` and `sandbox exec` add to the caller's environment, PATH excepted."""
    return {
        "PATRONICTL_CONFIG_FILE": str(node.patroni_config),
        "PGBACKREST_CONFIG": str(node.pgbackrest_config),
        "PGHOST": str(node.socket_directory),
        "PGPORT": str(POSTGRES_PORT),
        "PGUSER": "postgres",
        "PGDATABASE": "postgres",
        "ANSIBLE_INVENTORY": str(world.inventory),
        "PGDOLLY_INVENTORY": str(world.inventory),
        "PGDOLLY_HOME": str(world.home),
    }


def shell_path(world: World, node: SandboxNode) -> str:
    """What `sandbox shell` puts in front of the caller's PATH."""
    return ":".join(str(part) for part in (node.wrappers, world.environment_bin, world.pg_bin))


def shell_startup(world: World, node: SandboxNode) -> str:
    """The interactive shell's rc file: the caller's own first, which may set the prompt and PATH anew."""
    return f"""\
[ -f ~/.bashrc ] && . ~/.bashrc
PATH={shell_path(world, node)}:$PATH
PS1='postgres@{node.name}:\\w$ '
"""


def read_passwords(patroni_yml: str) -> Passwords:
    """Return the passwords that a member's patroni.yml holds."""
    roles = yaml.safe_load(patroni_yml)["postgresql"]["authentication"]
    return Passwords(**{role: roles[role]["password"] for role in ("superuser", "replication", "rewind")})


def directories(world: World) -> tuple[Path, ...]:
    """Every directory that belongs to the servers' account, parents first."""
    of_nodes = [
        directory
        for node in world.nodes
        for directory in (
            node.directory,
            node.socket_directory,
            node.log_directory,
            node.spool_directory,
            node.lock_directory,
        )
    ]
    return (world.run_directory, world.log_directory, world.directory / ETCD, world.repository, *of_nodes)


def _yaml(tree: dict[str, Any]) -> str:
    return yaml.safe_dump(tree, sort_keys=False, default_flow_style=False, width=1000)
