"""The test fleet: Debian nodes under systemd, reached by ssh, as a user's fleet is.

Tests and the command `tests/fleet/fleet` share it. Root on Linux; whatever else it needs it installs from Debian.
The standard library only, and nothing of pgdolly: the command runs before anything else is installed, and what it makes
is no witness that shares its subject's mistakes.

    tests/fleet/fleet up [--repo posix|s3] [--postgres 17|18] [--with pg-meta2]
    tests/fleet/fleet status | exec NODE -- CMD | power-off NODE | boot NODE | cut | mend | down [--purge]

What stands::

    namespace NAME-fleet: bridge 10.10.10.0/24 ── 10.10.10.2 sss.fleet, the object store of --repo s3
      ├── namespace NAME-controller   10.10.10.1    where pgdolly and Ansible run
      ├── namespace NAME-pg-meta-1    10.10.10.10   cluster pg-meta, and etcd for all
      ├── namespace NAME-pg-test-1…3  10.10.10.11…  cluster pg-test
      └── namespace NAME-pg-meta2-1   10.10.10.14   only --with pg-meta2: an empty node

NAME is PGDOLLY_FLEET_NAME, by default `pgdolly`. Fleets of different names do not see each other.

On disk, below PGDOLLY_FLEET_DIRECTORY (/var/lib/pgdolly-fleet)::

    base-RELEASE-POSTGRES-RECIPE/  what all nodes have installed; made once, shared by all fleets
    fleets/NAME/fleet.json         what `up` was asked for
               /pigsty.yml         the inventory
               /controller/        ssh key, known hosts, ssh configuration
               /nodes/NODE/root    the node's / (an overlay of base and upper); console.log beside it
               /nodes/NODE/pg      its /pg: a plain directory, so that PostgreSQL is not on an overlay
               /repository         the posix repository, /pg/backup on every node
               /s3/                the object store

Which module does what:

    layout     names, addresses, paths, passwords    access     ssh keys, known hosts, ssh configuration
    host       packages of this machine              network    namespaces, bridge, cut and mend
    disk       overlays, mounts                      machine    start, enter and kill a node
    base       what nodes have installed             processes  control groups: what runs for a fleet
    node_files, patroni_files, backup_files          what is written onto nodes
    store      etcd and its users                    objects    the S3 object store
    clusters   Patroni clusters, first backups       inventory  pigsty.yml
    fleet      `Fleet`, the API for tests            cli        the command
"""

from fleet.fleet import Fleet, Node
from fleet.layout import Plan
from fleet.running import FleetError

__all__ = ["Fleet", "FleetError", "Node", "Plan"]
