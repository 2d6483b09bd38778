"""pgBackRest on a node: its configuration and the two commands `pb` and `pg-backup`. Pure text.

https://pgbackrest.org/configuration.html
"""

from __future__ import annotations

from fleet.layout import (
    CIPHER_PASS,
    OBJECTS_BUCKET,
    OBJECTS_KEY,
    OBJECTS_NAME,
    OBJECTS_PATH,
    OBJECTS_PORT,
    OBJECTS_SECRET,
    POSTGRES_PORT,
    Plan,
    RepositoryKind,
)

CONFIGURATION = "/etc/pgbackrest/pgbackrest.conf"
AUTHORITY = "/etc/pki/ca.crt"  # of the fleet's own certificates, on the nodes

METHODS: dict[RepositoryKind, str] = {"posix": "local", "s3": "minio"}  # Pigsty's names

S3: dict[str, str | int] = {
    "type": "s3",
    "s3_endpoint": OBJECTS_NAME,
    "s3_region": "us-east-1",
    "s3_bucket": OBJECTS_BUCKET,
    "s3_key": OBJECTS_KEY,
    "s3_key_secret": OBJECTS_SECRET,
    "s3_uri_style": "path",
    "path": OBJECTS_PATH,
    "storage_port": OBJECTS_PORT,
    "storage_ca_file": AUTHORITY,
    "block": "y",
    "bundle": "y",
    "bundle_limit": "20MiB",
    "bundle_size": "128MiB",
    "cipher_type": "aes-256-cbc",
    "cipher_pass": CIPHER_PASS,
    "retention_full_type": "time",
    "retention_full": 14,
}


def repositories(plan: Plan) -> dict[str, dict[str, str | int]]:
    """Return Pigsty's `pgbackrest_repo`: options without repo1-, with _ for -, to be filled in for each cluster."""
    local: dict[str, str | int] = {
        "path": "/pg/backup",
        "retention_full_type": "count",
        "retention_full": plan.full_backups,
        "bundle": "y",
    }
    return {"local": local, "minio": S3}


def pgbackrest(plan: Plan, cluster: str) -> str:
    """Return the configuration of the members of one cluster."""
    repository = "".join(
        f"repo1-{option.replace('_', '-')}={str(value).replace('${pg_cluster}', cluster)}\n"
        for option, value in repositories(plan)[METHODS[plan.repository]].items()
    )
    return f"""\
[{cluster}]
pg1-path=/pg/data
pg1-port={POSTGRES_PORT}

[global]
{repository}archive-async=y
spool-path=/pg/spool
log-path=/pg/log/pgbackrest
log-level-console=info
log-level-file=info
compress-type=zst
start-fast=y
annotation=pg_cluster={cluster}
delta=y
archive-mode=off

[global:restore]
process-max=2

[global:archive-push]
process-max=2

[global:archive-get]
process-max=2
"""


def pb(cluster: str) -> str:
    """Return `pb`: pgBackRest for this node's own stanza."""
    return f"""\
#!/bin/sh
# pgBackRest, for this node's own stanza.
case " $* " in
    *online*) ;;
    *" stanza-create "*|*" stanza-upgrade "*)
        # Asked, the server of a standby cluster is no primary [056]; its data directory tells the same.
        if [ "$(psql -p {POSTGRES_PORT} -AXtqc 'SELECT pg_is_in_recovery()' postgres 2>/dev/null)" = t ]; then
            echo "pb: $(hostname) is in recovery: --no-online, by its data directory" >&2
            set -- --no-online "$@"
        fi ;;
esac
exec pgbackrest --stanza={cluster} "$@"
"""


def pg_backup(cluster: str) -> str:
    """Return `pg-backup [full|diff|incr]`, which backs up on the primary only."""
    return f"""\
#!/bin/sh
# Back this cluster up: pg-backup [full|diff|incr]. On the primary only.
set -eu
kind=${{1:-incr}}
case $kind in
    full | diff | incr) ;;
    *) echo "usage: pg-backup [full|diff|incr]" >&2; exit 2 ;;
esac
if [ "$(psql -p {POSTGRES_PORT} -AXtqc 'SELECT pg_is_in_recovery()' postgres)" != f ]; then
    echo "pg-backup: not the primary: nothing is backed up here" >&2
    exit 1
fi
exec pgbackrest --stanza={cluster} --type="$kind" backup
"""
