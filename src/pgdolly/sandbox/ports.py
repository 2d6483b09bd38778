"""Whether the sandbox's addresses are free, and who sits on them if not."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

from pgdolly.domain.errors import Refused

LISTENING = "0A"  # the state in /proc/net/tcp, see proc(5) and include/net/tcp_states.h


def check_free(ports: Iterable[tuple[str, int]], *, untouched: str = "nothing was created") -> None:
    """Check that every (address, port) can be listened on.

    :raises Refused: naming each one that cannot, and the process that has it, as far as it can be seen.
    """
    taken = []
    for address, port in ports:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # Without it, connections in TIME_WAIT after a `down` would look like a listener.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
                probe.listen(1)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise Refused(
                        f"cannot listen on {address}:{port}: {error.strerror}",
                        where="sandbox",
                        untouched=untouched,
                    ) from None
                taken.append(f"{address}:{port}{_by_whom(address, port)}")
    if taken:
        raise Refused(
            f"already in use: {', '.join(taken)}",
            where="sandbox",
            untouched=untouched,
            next_command="pgdolly sandbox up --network 127.10.30    # or end what is in the way",
        )


def _by_whom(address: str, port: int) -> str:
    """Return ` by NAME (pid N)` for each listener on a port; nothing if that cannot be seen."""
    # The kernel prints an IPv4 address as one number in the machine's byte order; IPv6 listeners matter only
    # if they take every address, ::.
    own = int.from_bytes(socket.inet_aton(address), sys.byteorder)
    inodes = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            host, _, number = fields[1].partition(":")
            if fields[3] == LISTENING and int(number, 16) == port and int(host, 16) in (0, own):
                inodes.add(f"socket:[{fields[9]}]")
    owners = sorted({owner for entry in Path("/proc").iterdir() if (owner := _owner(entry, inodes))})
    return f" by {' or '.join(owners)}" if owners else ""


def _owner(entry: Path, inodes: set[str]) -> str | None:
    if not entry.name.isdigit():
        return None
    try:
        if any(str(handle.readlink()) in inodes for handle in (entry / "fd").iterdir()):
            return f"{(entry / 'comm').read_text().strip()} (pid {entry.name})"
    except OSError:
        pass  # gone meanwhile, or somebody else's
    return None
