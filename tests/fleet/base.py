"""What every node has installed: a Debian tree, made once by debootstrap and kept under the hash of its recipe."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from fleet import disk
from fleet.layout import ADMIN, Place
from fleet.running import FleetError, attempt, run

BUILD_SECONDS = 1200.0

# libpam-systemd: an ssh session is a scope of logind's, as on anybody's server.
SYSTEM = ("systemd", "systemd-sysv", "libpam-systemd", "dbus", "openssh-server", "sudo", "iproute2", "procps")
TOOLS = ("ca-certificates", "curl", "less", "zstd")
DATABASE = ("pgbackrest", "patroni", "python3-etcd", "python3-psycopg2", "etcd-server", "etcd-client")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a base is made of.

    :param release: Debian's, of the system.
    :param postgres: major version.
    :param newer: the release that PostgreSQL and what belongs to it come from, if not from `release`. With it comes
        what they need; the system, and systemd with it, stays that of `release`.
    """

    release: str
    postgres: int
    newer: str | None = None

    @property
    def database_packages(self) -> tuple[str, ...]:
        return (f"postgresql-{self.postgres}", *DATABASE)

    @property
    def name(self) -> str:
        """The base's directory: it changes with everything that goes into it."""
        ingredients = json.dumps(
            [asdict(self), SYSTEM, TOOLS, self.database_packages, _FILES, _FINISH, _PREPARE]
        )
        digest = hashlib.sha256(ingredients.encode()).hexdigest()[:8]
        return f"{self.prefix}{digest}"

    @property
    def prefix(self) -> str:
        return f"base-{self.release}-{self.postgres}-"


RECIPES = {
    17: Recipe(release="trixie", postgres=17),
    18: Recipe(release="trixie", postgres=18, newer="forky"),
}

# Before packages are installed: none starts a service or makes a database cluster, and dpkg does not flush each file.
_PREPARE: Mapping[str, tuple[int, str]] = {
    "usr/sbin/policy-rc.d": (0o755, "#!/bin/sh\nexit 101\n"),
    "etc/postgresql-common/createcluster.conf": (0o644, "create_main_cluster = false\n"),
    "etc/dpkg/dpkg.cfg.d/fleet": (
        0o644,
        "force-unsafe-io\npath-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\n"
        "path-exclude=/usr/share/locale/*\n",
    ),
    "etc/apt/apt.conf.d/90fleet": (0o644, 'Acquire::Languages "none";\n'),
}

_FILES: Mapping[str, tuple[int, str]] = {
    "etc/sudoers.d/admin": (0o440, f"{ADMIN} ALL=(ALL) NOPASSWD: ALL\n"),
    "etc/ssh/sshd_config.d/fleet.conf": (
        0o644,
        "PasswordAuthentication no\nHostKey /etc/ssh/ssh_host_ed25519_key\nUseDNS no\n",
    ),
    "etc/systemd/journald.conf.d/fleet.conf": (
        0o644,
        "[Journal]\nForwardToConsole=yes\nMaxLevelConsole=info\n",
    ),
}

# What a node must not share with others (keys, machine id), what should not start by itself, and the administrator.
_FINISH = f"""
set -e
useradd --create-home --shell /bin/bash {ADMIN}
systemctl --quiet disable etcd.service patroni.service postgresql.service
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer \\
    getty.target console-getty.service systemd-timesyncd.service; do
    ln -sf /dev/null /etc/systemd/system/$unit
done
rm -f /usr/sbin/policy-rc.d /etc/ssh/ssh_host_* /etc/machine-id /var/lib/dbus/machine-id /etc/resolv.conf
rm -f /etc/pgbackrest.conf /etc/patroni/dcs.yml /etc/hostname
mkdir -p /pg /var/log/journal /etc/pgbackrest
"""


def ensure(place: Place, postgres: int, say: Callable[[str], None]) -> Path:
    """Return the base for a version of PostgreSQL; make it if there is none of the present recipe."""
    recipe = recipe_of(postgres)
    base = place.directory / recipe.name
    place.directory.mkdir(parents=True, exist_ok=True)
    with (place.directory / "bases.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two fleets may come up at once
        if not base.exists():
            say(f"making {base} (once; some minutes)")
            making = base.with_name(f"making-{base.name}")
            _remove(making)
            _make(recipe, making)
            making.rename(base)
            for old in place.directory.glob(f"{recipe.prefix}*"):
                if old != base and not disk.is_lower(old):
                    _remove(old)
    return base


def recipe_of(postgres: int) -> Recipe:
    if postgres not in RECIPES:
        raise FleetError(f"no recipe for PostgreSQL {postgres}: there are {', '.join(map(str, RECIPES))}")
    return RECIPES[postgres]


def purge(place: Place) -> list[Path]:
    """Remove all bases that no fleet stands on; return those that stay."""
    bases = [*place.directory.glob("base-*"), *place.directory.glob("making-*")]
    for base in bases:
        if not disk.is_lower(base):
            _remove(base)
    (place.directory / "bases.lock").unlink(missing_ok=True)
    return [base for base in bases if base.exists()]


def _make(recipe: Recipe, tree: Path) -> None:
    run(
        ["debootstrap", "--variant=minbase", *_keyring(), recipe.release, str(tree), *_mirror()],
        what=f"debootstrap of {recipe.release}",
        deadline_seconds=BUILD_SECONDS,
    )
    write_files(tree, {**_PREPARE, _MACHINES: (0o644, _machines_acquire())})
    _inside(tree, f"apt-get update -qq && {_install(*SYSTEM, *TOOLS)}")
    if recipe.newer is None:
        _inside(tree, _install(*recipe.database_packages))
    else:
        write_files(tree, _sources_of_newer(recipe, tree))
        from_newer = _install(*recipe.database_packages, release=recipe.newer)
        _inside(tree, f"apt-get update -qq && {from_newer}")
    write_files(tree, _FILES)
    _inside(tree, _FINISH + f"apt-get clean\nrm -rf /var/lib/apt/lists/* /{_MACHINES}\n")


def _install(*packages: str, release: str | None = None) -> str:
    chosen = f"--target-release {release} " if release else ""
    return f"apt-get install -y -qq --no-install-recommends {chosen}{' '.join(packages)}"


def _sources_of_newer(recipe: Recipe, tree: Path) -> Mapping[str, tuple[int, str]]:
    """Return apt's files that offer the newer release and keep systemd what it is (apt_preferences(5))."""
    own = (tree / "etc/apt/sources.list").read_text()
    kept = "systemd systemd-sysv libpam-systemd libnss-systemd libsystemd-shared udev"
    pin = f"Package: {kept}\nPin: release n={recipe.release}\nPin-Priority: 1001\n"
    return {
        "etc/apt/sources.list.d/newer.list": (0o644, own.replace(f" {recipe.release} ", f" {recipe.newer} ")),
        "etc/apt/preferences.d/fleet": (0o644, pin),
    }


def write_files(tree: Path, files: Mapping[str, tuple[int, str]]) -> None:
    for name, (mode, text) in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)


def _inside(tree: Path, script: str) -> None:
    """Run a script in the tree, with /proc and /dev, which are gone when it ends, however it ends."""
    mounts = 'mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && exec chroot "$1" /bin/sh -c "$2"'
    run(
        ["unshare", "--mount", "--", "/bin/sh", "-c", mounts, "sh", str(tree), script],
        what=f"installing into {tree}",
        deadline_seconds=BUILD_SECONDS,
        environment=os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", "PATH": _PATH},
    )


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


_MACHINES = "etc/apt/apt.conf.d/91machine"


def _machines_acquire() -> str:
    """Return how this machine's own apt fetches: through which proxy, and whether a frozen mirror is good enough."""
    dumped = attempt(["apt-config", "dump"], what="asking apt for its configuration").stdout.splitlines()
    kept = (
        "Acquire::Check-Valid-Until",
        "Acquire::Check-Date",
        "Acquire::http::Proxy",
        "Acquire::https::Proxy",
    )
    return "".join(f"{line}\n" for line in dumped if line.split(" ", 1)[0] in kept)


def _mirror() -> list[str]:
    """Return the mirror that this machine's own apt uses, if it is a Debian; else debootstrap knows one."""
    asked = attempt(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(REPO_URI) $(SUITE)",
            "Created-By: Packages",
            "Origin: Debian",
        ],
        what="asking apt for its mirror",
    )
    sites = [line.split()[0] for line in asked.stdout.splitlines() if "-" not in line.split()[-1]]
    return sites[:1]


def _keyring() -> list[str]:
    """Tell debootstrap where Debian's keys are, as a machine that is no Debian keeps them elsewhere or not at all."""
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    return ["--keyring", str(keyring)] if keyring.exists() else []


def _remove(tree: Path) -> None:
    if tree.exists():
        disk.unmount_below(tree)
        shutil.rmtree(tree)
