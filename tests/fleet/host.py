"""What this machine needs for a fleet; installed from Debian where it is missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from fleet.running import FleetError, run

# command: package
NEEDED = {
    "systemd-nspawn": "systemd-container",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "mount": "mount",
    "ssh": "openssh-client",
}
NEEDED_FOR_OBJECTS = {"node": "nodejs", "npm": "npm", "openssl": "openssl"}
INSTALL_SECONDS = 600.0
# inotify(7): instances of one user, root here, on all of this machine. Linux grants 128; each node's systemd holds
# five, and the units of a node that boots with none left fail.
INOTIFY_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_INSTANCES = 1024


def prepare(*, objects: bool, say: Callable[[str], None]) -> None:
    """Install what is missing, and grant what many nodes need; say what.

    :raises FleetError: without root, if apt fails, or if this machine grants too little.
    """
    if os.geteuid() != 0:
        raise FleetError("the fleet needs root, for namespaces and mounts. Type: sudo tests/fleet/fleet …")
    _install(NEEDED | (NEEDED_FOR_OBJECTS if objects else {}), say)
    _grant_inotify(say)


def _grant_inotify(say: Callable[[str], None]) -> None:
    granted = int(INOTIFY_LIMIT.read_text())
    if granted >= INOTIFY_INSTANCES:
        return
    say(
        f"raising fs.inotify.max_user_instances from {granted} to {INOTIFY_INSTANCES}, until this machine boots"
    )
    try:
        INOTIFY_LIMIT.write_text(f"{INOTIFY_INSTANCES}\n")
    except OSError as error:
        raise FleetError(
            f"fs.inotify.max_user_instances stays at {granted}: {error.strerror}. "
            f"Type, on the host: sysctl fs.inotify.max_user_instances={INOTIFY_INSTANCES}"
        ) from error


def _install(needed: Mapping[str, str], say: Callable[[str], None]) -> None:
    # Somebody's PATH may lack the administrator's directories.
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    packages = sorted(
        {package for command, package in needed.items() if not shutil.which(command, path=path)}
    )
    os.environ["PATH"] = path
    if not packages:
        return
    if not shutil.which("apt-get"):
        raise FleetError(f"no apt-get here: install {', '.join(packages)} by this system's own means")
    say(f"installing {', '.join(packages)}")
    run(["apt-get", "update", "-qq"], what="reading the package lists", deadline_seconds=INSTALL_SECONDS)
    run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
        what=f"installing {', '.join(packages)}",
        deadline_seconds=INSTALL_SECONDS,
        environment=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
    )
