"""Where a node is reached by SSH, and the command lines of `ssh` for it. Pure.

Source: ssh(1), ssh_config(5). For most options ssh keeps the first value that it meets, so what must hold comes
first, then what the inventory says, then what is only a default; the administrator's ssh_config comes last.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from pgdolly.domain.cluster import Node

CONNECT_SECONDS = 10
ALIVE_SECONDS = 5  # a connection that is silent for four times as long is given up
ALIVE_COUNT = 3
PERSIST_SECONDS = 60

# What `ssh` says where there is no connection to join. Nothing has been begun on the node then.
NO_CONNECTION = "pgdolly: no connection to join"


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A node's login: two members with an equal one share its connection.

    :param arguments: the inventory's further arguments for `ssh`.
    """

    address: str
    user: str | None = None
    port: int | None = None
    identity_file: str | None = None
    arguments: tuple[str, ...] = ()

    @classmethod
    def of(cls, node: Node) -> Destination:
        return cls(
            address=node.address,
            user=node.login_user,
            port=node.login_port,
            identity_file=node.identity_file,
            arguments=node.ssh_arguments,
        )

    def _login(self) -> tuple[str, ...]:
        words: list[str] = []
        if self.port is not None:
            words += ["-p", str(self.port)]
        if self.user is not None:
            words += ["-l", self.user]
        if self.identity_file is not None:
            words += ["-i", self.identity_file]
        return (*words, *self.arguments)

    def by_hand(self) -> str:
        """The line that a person types to see for themselves why it does not work."""
        return shlex.join(("ssh", *self._login(), self.address, "id"))

    def connect_argv(self, socket: Path) -> tuple[str, ...]:
        """Log in, put the connection into the background, and let others join it at `socket`.

        No word about host keys: they are checked as the administrator's configuration says.
        """
        return (
            "ssh",
            *_options(
                BatchMode="yes",  # keys and agents only: nobody is there to be asked
                ControlMaster="yes",
                ControlPath=_escaped(socket),
                ControlPersist=str(PERSIST_SECONDS),
                RequestTTY="no",
                RemoteCommand="none",
                PermitLocalCommand="no",
                ClearAllForwardings="yes",  # those of the administrator's own sessions
                LogLevel="ERROR",
            ),
            *self._login(),
            *_options(
                ConnectTimeout=str(CONNECT_SECONDS),
                ServerAliveInterval=str(ALIVE_SECONDS),
                ServerAliveCountMax=str(ALIVE_COUNT),
            ),
            "-f",
            "-N",
            "--",
            self.address,
        )

    def run_argv(self, socket: Path, line: str) -> tuple[str, ...]:
        """Run a line of shell on the connection at `socket`, and never on one of its own."""
        return (*self._join(socket), "-T", "--", self.address, line)

    def control_argv(self, socket: Path, order: str) -> tuple[str, ...]:
        """Ask the connection at `socket` whether it lives (`check`), or end it (`exit`)."""
        return (*self._join(socket), "-O", order, "--", self.address)

    def _join(self, socket: Path) -> tuple[str, ...]:
        # Without a connection to join, ssh would make one of its own: through this proxy, which only says so.
        # ssh_config is not read: it is for making the connection, and LANG need not reach the node.
        return (
            "ssh",
            "-F",
            "/dev/null",
            *_options(
                BatchMode="yes",
                ControlMaster="no",
                ControlPath=_escaped(socket),
                ProxyCommand=f"sh -c 'echo {NO_CONNECTION} >&2; exit 1'",
                LogLevel="ERROR",
            ),
        )


def _options(**options: str) -> tuple[str, ...]:
    return tuple(word for name, value in options.items() for word in ("-o", f"{name}={value}"))


def _escaped(socket: Path) -> str:
    quoted = str(socket).replace("%", "%%")
    return f'"{quoted}"' if " " in quoted else quoted
