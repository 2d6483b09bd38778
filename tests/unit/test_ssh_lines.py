"""The command lines of ssh, what a node's login shell is told, and how its answer is read."""

from __future__ import annotations

import itertools
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgdolly.domain.cluster import Node
from pgdolly.domain.command import Command
from pgdolly.domain.errors import InvalidInput
from pgdolly.inventory.parameters import member_from_variables
from pgdolly.transport.reach import shell_for
from pgdolly.transport.remote import read_outcome, remote_line
from pgdolly.transport.ssh import SshShell
from pgdolly.transport.ssh_destination import NO_CONNECTION, Destination

SOCKET = Path("/run/user/1000/pgdolly/0123")
FULL = Destination(
    address="10.10.10.11",
    user="dba",
    port=2222,
    identity_file="~/.ssh/fleet key",
    arguments=("-J", "bastion", "-o", "ConnectTimeout=3"),
)


def options(argv: tuple[str, ...]) -> dict[str, str]:
    """As ssh reads them: of several values the first counts."""
    found: dict[str, str] = {}
    for flag, word in itertools.pairwise(argv):
        if flag == "-o":
            name, _, value = word.partition("=")
            found.setdefault(name, value)
    return found


def test_a_connection_is_made_with_the_inventorys_login() -> None:
    argv = FULL.connect_argv(SOCKET)
    assert argv[0] == "ssh"
    assert argv[-2:] == ("--", "10.10.10.11")
    for words in (("-p", "2222"), ("-l", "dba"), ("-i", "~/.ssh/fleet key"), ("-J", "bastion")):
        assert words in itertools.pairwise(argv)


def test_the_inventory_may_change_what_is_only_a_default() -> None:
    assert options(FULL.connect_argv(SOCKET))["ConnectTimeout"] == "3"
    assert options(Destination(address="a").connect_argv(SOCKET))["ConnectTimeout"] == "10"


def test_the_inventory_may_not_change_what_the_connection_stands_on() -> None:
    given = ("-o", "BatchMode=no", "-o", "ControlMaster=no", "-o", "ControlPath=/tmp/theirs")
    found = options(Destination(address="a", arguments=given).connect_argv(SOCKET))
    assert (found["BatchMode"], found["ControlMaster"], found["ControlPath"]) == ("yes", "yes", str(SOCKET))


def test_nothing_is_said_about_host_keys() -> None:
    for argv in (FULL.connect_argv(SOCKET), FULL.run_argv(SOCKET, "true")):
        assert "hostkey" not in " ".join(argv).lower()


def test_a_percent_sign_in_the_sockets_path_is_no_token_of_ssh() -> None:
    argv = FULL.run_argv(Path("/run/50%/s"), "true")
    assert options(argv)["ControlPath"] == "/run/50%%/s"


def test_a_command_goes_over_the_connection_or_not_at_all() -> None:
    argv = FULL.run_argv(SOCKET, "true")
    assert options(argv)["ControlMaster"] == "no"
    assert NO_CONNECTION in options(argv)["ProxyCommand"]
    assert argv[-3:] == ("--", "10.10.10.11", "true")


def test_the_line_to_try_by_hand_is_one_that_a_person_can_type() -> None:
    assert FULL.by_hand() == (
        "ssh -p 2222 -l dba -i '~/.ssh/fleet key' -J bastion -o ConnectTimeout=3 10.10.10.11 id"
    )
    assert Destination(address="pg-test-1").by_hand() == "ssh pg-test-1 id"


# ---- what the node runs ----------------------------------------------------------------------------------------------


def carried(line: str, word: str, stdin: bytes = b"") -> tuple[bytes, bytes]:
    """What a login shell makes of a line."""
    done = subprocess.run(("sh", "-c", line), input=stdin, capture_output=True, timeout=20, check=False)
    return done.stdout, done.stderr


@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), max_size=4))
def test_a_login_shell_gives_every_argument_on_as_it_is(words: list[str]) -> None:
    line = remote_line(
        Command(argv=("printf", *words), run_as="login"), dbsu="postgres", word="w", timeout_seconds=5
    )
    assert shlex.split(line)[-len(words) - 1 :] == ["printf", *words]


def test_the_environment_is_set_behind_sudo() -> None:
    command = Command(argv=("psql",), environment=(("PGOPTIONS", "-c a=b"),))
    line = remote_line(command, dbsu="postgres", word="w", timeout_seconds=60)
    assert shlex.split(line)[-4:] == ["60", "env", "PGOPTIONS=-c a=b", "psql"]


@pytest.mark.parametrize(
    ("run_as", "told"),
    [
        ("dbsu", "-n -H -u postgres -- sh -c SCRIPT w 60 systemctl stop patroni"),
        ("root", "-n -H -u root -- systemctl stop patroni"),
        ("login", ""),
    ],
)
def test_sudo_is_told_what_a_rule_can_name(run_as: Any, told: str, tmp_path: Path) -> None:
    """Of root's commands a rule in sudoers names the very words."""
    for name, script in (
        ("sudo", 'for word; do case $word in seconds=*) word=SCRIPT;; esac; printf "%s " "$word"; done'),
        ("id", "echo dba"),
        ("systemctl", ":"),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    command = Command(argv=("systemctl", "stop", "patroni"), run_as=run_as)
    line = remote_line(command, dbsu="postgres", word="w", timeout_seconds=60)
    stdout, stderr = carried(f"PATH={tmp_path}:$PATH; {line}", "w")
    assert read_outcome("w", stdout, stderr).stdout.strip() == told


@pytest.mark.parametrize("status", [0, 1, 255])
def test_the_outcome_is_read_out_of_what_came_back(status: int) -> None:
    script = f"cat; printf 'no newline' >&2; exit {status}"
    command = Command(argv=("sh", "-c", script), run_as="login")
    stdout, stderr = carried(
        remote_line(command, dbsu="postgres", word="pgdolly-12", timeout_seconds=5), "", b"a\0b\n"
    )
    outcome = read_outcome("pgdolly-12", stdout, stderr)
    assert outcome.process is not None
    assert (outcome.status, outcome.stdout, outcome.stderr) == (status, "a\0b\n", "no newline")


def test_what_a_login_shell_prints_is_not_the_commands_output() -> None:
    outcome = read_outcome("pgdolly-0", b"welcome\npgdolly-0 17\nown\n", b"\npgdolly-0 3\n")
    assert (outcome.process, outcome.status, outcome.stdout, outcome.stderr) == (17, 3, "own\n", "")


def test_a_command_whose_end_was_not_seen_has_no_status() -> None:
    outcome = read_outcome("pgdolly-0", b"pgdolly-0 17\nhalf", b"some")
    assert (outcome.process, outcome.status, outcome.stdout, outcome.stderr) == (17, None, "half", "some")
    assert read_outcome("pgdolly-0", b"pgdolly-0 1", b"").process is None


# ---- which shell a node gets -----------------------------------------------------------------------------------------


def shell_of(**variables: Any) -> Any:
    member, _ = member_from_variables("10.10.10.11", {"pg_cluster": "pg-test", "pg_seq": 1, **variables})
    return shell_for(member)


@pytest.mark.parametrize("connection", ["ssh", "smart", None])
def test_ssh_is_what_ansible_calls_ssh_or_nothing_at_all(connection: str | None) -> None:
    shell = shell_of(**({"ansible_connection": connection} if connection else {}))
    assert isinstance(shell, SshShell)


def test_members_of_one_login_share_its_connection_and_others_do_not() -> None:
    one, same = shell_of(pg_port=5432), shell_of(pg_port=5433)
    other = shell_of(ansible_user="dba")
    assert one._connection is same._connection
    assert one._connection is not other._connection


def test_the_login_is_what_the_inventory_says_by_any_of_its_names() -> None:
    named = shell_of(
        ansible_ssh_host="db1",
        ansible_ssh_port=2222,
        ansible_ssh_user="dba",
        ansible_private_key_file="/k",
        ansible_ssh_common_args="-J 'bastion'",
        ansible_ssh_extra_args="-C",
    )
    assert named._connection.destination == Destination(
        address="db1", port=2222, user="dba", identity_file="/k", arguments=("-J", "bastion", "-C")
    )


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"ansible_password": "geheim"}, "ansible_password is set, and pgdolly logs in with keys only"),
        ({"ansible_ssh_pass": "geheim"}, "ansible_ssh_pass is set, and pgdolly logs in with keys only"),
        (
            {"ansible_become_password": "geheim"},
            "ansible_become_password is set, and pgdolly hands no password",
        ),
        (
            {"ansible_become_method": "su"},
            "ansible_become_method is su, and pgdolly changes users by sudo only",
        ),
    ],
)
def test_a_login_that_is_not_ours_is_refused_without_its_password(
    variables: dict[str, str], said: str
) -> None:
    with pytest.raises(InvalidInput, match=said) as raised:
        shell_of(**variables)
    assert "geheim" not in repr(vars(raised.value))
    assert raised.value.where == "pg-test-1"
    assert "docs/how-to/fleet.md" in (raised.value.next_command or "")


def test_sudo_as_the_way_to_become_others_is_ours() -> None:
    assert isinstance(shell_of(ansible_become_method="sudo", ansible_become="yes"), SshShell)


def test_a_password_is_nobodys_business_where_nobody_logs_in() -> None:
    assert not isinstance(shell_of(ansible_connection="local", ansible_password="x"), SshShell)


def test_other_connections_are_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="'docker' is not supported: use ssh or local"):
        shell_of(ansible_connection="docker")


def test_a_controller_without_ssh_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InvalidInput, match="ssh is not installed here") as raised:
        shell_of()
    assert "openssh-client" in (raised.value.next_command or "")


def test_a_destination_is_made_of_a_node() -> None:
    assert Destination.of(Node(name="pg-test-1", address="a")) == Destination(address="a")
