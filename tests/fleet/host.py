"""What this machine needs for a fleet; installed from Debian where it is missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

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


def prepare(*, objects: bool, say: Callable[[str], None]) -> None:
    """Install what is missing, and say what.

    :raises FleetError: without root, or if apt fails.
    """
    if os.geteuid() != 0:
        raise FleetError("the fleet needs root, for namespaces and mounts. Type: sudo tests/fleet/fleet …")
    needed = NEEDED | (NEEDED_FOR_OBJECTS if objects else {})
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
