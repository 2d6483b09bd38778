"""A real sshd for tests: on a loopback address, with keys of its own, for the user who runs the tests.

In front of it stands a relay, so that a test can cut the network: what has been connected hangs, and what connects
is not answered, as when a switch goes down.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pgdolly.transport.ssh_destination import Destination

ADDRESS = "127.10.21.1"


def wait_until(condition: Callable[[], object], what: str, seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        port: int = probe.getsockname()[1]
        return port


class Sshd:
    """One sshd, and the ssh_config of a person who can log in to it as `node`."""

    def __init__(self, directory: Path, user: str, *settings: str) -> None:
        self.directory = directory
        self.user = user
        self.port = _free_port()
        self.relay = Relay(self.port)
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        for key in ("host", "other_host", "login"):
            make = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key, "-f", str(directory / key))
            subprocess.run(make, check=True, timeout=20)
        shutil.copy(directory / "login.pub", directory / "authorized_keys")
        self.trust("host")
        self.configure({"node": self.relay.port})

    def trust(self, key: str) -> None:
        """Have `known_hosts` hold this key for `node`."""
        public = (self.directory / f"{key}.pub").read_text()
        (self.directory / "known_hosts").write_text(f"node {public}")

    def configure(self, ports: dict[str, int]) -> None:
        """Write the ssh_config: by which port each host is reached."""
        hosts = "".join(f"Host {host}\n Port {port}\n" for host, port in ports.items())
        (self.directory / "ssh_config").write_text(
            f"{hosts}Host *\n HostName {ADDRESS}\n User {self.user}\n HostKeyAlias node\n"
            f" IdentityFile {self.directory}/login\n IdentitiesOnly yes\n IdentityAgent none\n"
            f" UserKnownHostsFile {self.directory}/known_hosts\n GlobalKnownHostsFile /dev/null\n"
        )

    def destination(self, *arguments: str, address: str = "node") -> Destination:
        """As the administrator's inventory has it; a dead connection is noticed after 2 to 3 s."""
        alive = ("-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=2")
        config = ("-F", str(self.directory / "ssh_config"))
        return Destination(address=address, arguments=(*config, *alive, *arguments))

    def start(self) -> None:
        lines = (
            f"ListenAddress {ADDRESS}:{self.port}",
            f"HostKey {self.directory}/host",
            f"AuthorizedKeysFile {self.directory}/authorized_keys",
            "PidFile none",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin prohibit-password",
            "LogLevel VERBOSE",
            *self._settings,
        )
        (self.directory / "sshd_config").write_text("\n".join(lines) + "\n")
        other = self.user != pwd.getpwuid(os.geteuid()).pw_name
        if other:
            subprocess.run(("chown", "-R", self.user, str(self.directory)), check=True, timeout=10)
        elif os.geteuid() == 0:
            Path("/run/sshd").mkdir(
                mode=0o755, exist_ok=True
            )  # its service makes it, which need not run here
        program = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
        assert program is not None, "sshd is not installed: bin/setup --tests"
        argv = (program, "-D", "-f", f"{self.directory}/sshd_config", "-E", f"{self.directory}/log")
        as_user = ("setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--init-groups", "--")
        self._process = subprocess.Popen((*as_user, *argv) if other else argv, cwd="/")
        wait_until(self._listens, f"sshd to listen:\n{self.log()}")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((ADDRESS, self.port)) == 0

    def log(self) -> str:
        log = self.directory / "log"
        return log.read_text() if log.exists() else ""

    @property
    def logins(self) -> int:
        return self.log().count("Accepted publickey for")

    def sessions(self) -> list[int]:
        """sshd's processes for the connections that are there: one or two each, as the login demands."""
        assert self._process is not None
        found = {int(stat.parent.name): _look(stat) for stat in Path("/proc").glob("[0-9]*/stat")}
        known, grown = set[int](), {self._process.pid}
        while grown:
            known |= grown
            grown = {
                pid for pid, (name, parent) in found.items() if parent in known and name.startswith("sshd")
            } - known
        return sorted(known - {self._process.pid})

    def kill_sessions(self) -> None:
        for process in self.sessions():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        wait_until(lambda: not self.sessions(), "the connections to be gone")

    def stop(self) -> None:
        if self._process is not None:
            self.kill_sessions()
            self._process.terminate()
            self._process.wait(10)
            self._process = None


def _look(stat: Path) -> tuple[str, int]:
    """A process's name and its parent."""
    try:
        head, _, rest = stat.read_text().rpartition(") ")
    except (FileNotFoundError, ProcessLookupError):
        return "", 0
    return head.partition("(")[2], int(rest.split()[1])


class Relay:
    """Carries bytes between a port of its own and sshd's, unless it is cut."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._flows = threading.Event()
        self._flows.set()
        self._closed = False
        self._listener = socket.create_server((ADDRESS, 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._sockets: list[socket.socket] = []
        self._threads[0].start()

    def cut(self) -> None:
        self._flows.clear()

    def mend(self) -> None:
        self._flows.set()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(here)
            thread = threading.Thread(target=self._connect, args=(here,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _connect(self, here: socket.socket) -> None:
        self._flows.wait()
        there = socket.socket()
        self._sockets.append(there)
        with contextlib.suppress(OSError):
            if self._closed:
                return
            there.connect((ADDRESS, self._target))
            for end in (here, there):  # else small packets wait for each other's acknowledgement
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=self._carry, args=(there, here), daemon=True)
            self._threads.append(back)
            back.start()
            self._carry(here, there)

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while received := source.recv(1 << 16):
                self._flows.wait()
                sink.sendall(received)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._closed = True
        self.mend()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(10)


@contextmanager
def running_sshd(directory: Path, *settings: str, user: str | None = None) -> Iterator[Sshd]:
    sshd = Sshd(directory, user or pwd.getpwuid(os.geteuid()).pw_name, *settings)
    try:
        sshd.start()
        yield sshd
    finally:
        sshd.relay.close()
        sshd.stop()
