"""Overlays and mounts, below the fleets' directory only.

An overlay's upper directory, and PostgreSQL's, must not lie on an overlay. Where the fleets' directory does, as in many
containers, a file system in a file is mounted at its place for the fleets.
"""

from __future__ import annotations

from pathlib import Path

from fleet.running import FleetError, run

IMAGE_BYTES = 64 * 2**30  # sparse: it takes what is written


def ensure_plain(directory: Path) -> None:
    """Make `directory`, on a file system that can carry overlays and PostgreSQL."""
    directory.mkdir(parents=True, exist_ok=True)
    if filesystem(directory) != "overlay":
        return
    image = directory.with_name(directory.name + ".ext4")
    if not image.exists():
        with image.open("wb") as file:
            file.truncate(IMAGE_BYTES)
        run(["mkfs.ext4", "-q", str(image)], what=f"making a file system in {image}")
    run(["mount", "-o", "loop", str(image), str(directory)], what=f"mounting {image}")


def release_plain(directory: Path) -> None:
    """Undo `ensure_plain`, with all that was written there. The directory itself stays."""
    image = directory.with_name(directory.name + ".ext4")
    if image.exists():
        unmount_below(directory)
        image.unlink()


def filesystem(directory: Path) -> str:
    return (
        run(["stat", "--file-system", "--format=%T", str(directory)], what=f"asking what {directory} lies on")
        .strip()
        .replace("overlayfs", "overlay")
    )


def mount_overlay(base: Path, node: Path) -> None:
    """Mount `node`/root: `base` below, what the node writes in `node`/upper."""
    root, upper, work = (node / part for part in ("root", "upper", "work"))
    if root in mounted_below(node):
        return
    for part in (root, upper, work):
        part.mkdir(exist_ok=True)
    if any(sign in f"{base}{node}" for sign in ",:\\"):
        raise FleetError(f"{node}: an overlay's path must be without , : and \\. Set PGDOLLY_FLEET_DIRECTORY")
    run(
        [
            "mount",
            "-t",
            "overlay",
            "overlay",
            "-o",
            f"lowerdir={base},upperdir={upper},workdir={work}",
            str(root),
        ],
        what=f"mounting the root of {node.name}",
    )


def unmount_below(directory: Path) -> None:
    """Unmount all that is mounted at or below `directory`, the last one first."""
    for path in reversed(mounted_below(directory)):
        run(["umount", str(path)], what=f"unmounting {path}")


def mounted_below(directory: Path) -> list[Path]:
    """Where something is mounted at or below `directory`, in the order of mounting."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    # Blanks and the like are written as octal escapes: https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html
    points = [Path(line.split()[4].encode().decode("unicode_escape")) for line in mounts]
    return [point for point in points if point == directory or directory in point.parents]


def is_lower(base: Path) -> bool:
    """Whether an overlay of any fleet stands on `base`."""
    return f"lowerdir={base}," in Path("/proc/self/mountinfo").read_text()
