"""What a node's login shell is told to run for a command, and how its outcome is read. Pure.

ssh's own exit status will not do: 255 may be ssh's or the command's. So the command runs within a script that says
when it begins, on standard output, and with which status it ended, on standard error; a word that was made for this
one command tells these lines from the command's own.

The script runs the command under coreutils' `timeout`, so that it is ended on the node when its deadline passes,
whatever has become of the connection.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from pgdolly.domain.command import Command

KILL_AFTER_SECONDS = 5  # from SIGTERM to SIGKILL

# As the login user. Arguments: user ("" for the login user), where sudo stands, the script below, its arguments.
# Not `sudo -i`: it would put the arguments together to one line and mangle the line breaks in them.
_AS_USER = """\
cd /
user=$1 sudo=$2 script=$3; shift 3
if [ -z "$user" ] || [ "$user" = "$(id -un)" ]; then exec sh -c "$script" "$0" "$@"; fi
if [ "$sudo" = around ]; then exec sudo -n -H -u "$user" -- sh -c "$script" "$0" "$@"; fi
seconds=$1; shift
exec sh -c "$script" "$0" "$seconds" sudo -n -H -u "$user" -- "$@"
"""

# Arguments: seconds, the command. In the background, so that a signal to the script is heard while it waits: it
# hands it on to `timeout`, which ends the command with all that it started, by force if need be.
_UNDER_TIMEOUT = f"""\
seconds=$1; shift
child= ended=
trap 'ended=yes; [ -z "$child" ] || kill -TERM "$child"' TERM HUP INT
exec 3<&0 </dev/null
printf '%s %s\\n' "$0" "$$"
timeout -k {KILL_AFTER_SECONDS} "$seconds" "$@" <&3 3<&- &
child=$!
exec 3<&- >/dev/null
[ -z "$ended" ] || kill -TERM "$child"
wait "$child"; status=$?
while kill -0 "$child" 2>/dev/null; do wait "$child"; status=$?; done
printf '\\n%s %s\\n' "$0" "$status" >&2
"""

# Arguments: the process, the word of its command. The word: by now the number may be another process's.
_END = f"""\
signalled=
for _ in $(seq {(KILL_AFTER_SECONDS + 2) * 20}); do
    grep -qsaF -e "$2" "/proc/$1/cmdline" || exit 0
    [ -n "$signalled" ] || kill -TERM "$1" && signalled=yes
    sleep 0.05
done
exit 1
"""


def user_of(command: Command, dbsu: str) -> str:
    """The account that a command runs as; "" for the one that logs in."""
    return {"dbsu": dbsu, "root": "root", "login": ""}[command.run_as]


def remote_line(command: Command, *, dbsu: str, word: str, timeout_seconds: float) -> str:
    """The line for the login shell that runs a command, as its user, in `/`, until its deadline.

    sudo is around all of it for the database superuser, so that the deadline can end what runs as that account. For
    root it stands before the bare command: the rule in sudoers may then name that one command. Such a command ends
    by itself or not at all, because nobody but root may signal it.

    :param word: made for this one command; it stands in its output.
    """
    environment = tuple(f"{name}={value}" for name, value in command.environment)
    argv = ("env", *environment, *command.argv) if environment else command.argv
    place = "before" if command.run_as == "root" else "around"
    words = (user_of(command, dbsu), place, _UNDER_TIMEOUT, f"{timeout_seconds:g}", *argv)
    return shlex.join(("exec", "sh", "-c", _AS_USER, word, *words))


def end_line(process: int, *, user: str, word: str, own_word: str) -> str:
    """The line that ends a command by the process of its script, as the user whom it belongs to."""
    seconds = f"{KILL_AFTER_SECONDS + 5}"
    words = (user, "around", _UNDER_TIMEOUT, seconds, "sh", "-c", _END, "end", str(process), word)
    return shlex.join(("exec", "sh", "-c", _AS_USER, own_word, *words))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came back of a remote line.

    :param process: of the script, on the node; None if it is not known to have begun.
    :param status: of the command; None if the end of it was not seen.
    """

    process: int | None
    status: int | None
    stdout: str
    stderr: str


def read_outcome(word: str, stdout: bytes, stderr: bytes) -> Outcome:
    """Take the script's own lines out of what came back; before the first, a login shell may have printed."""
    process, status = None, None
    begin = f"{word} ".encode()
    at = stdout.find(begin)
    if at >= 0 and (end := stdout.find(b"\n", at)) >= 0:
        process = int(stdout[at + len(begin) : end])
        stdout = stdout[end + 1 :]
    finish = f"\n{word} ".encode()
    at = stderr.rfind(finish)
    if at >= 0 and (end := stderr.find(b"\n", at + 1)) >= 0:
        status = int(stderr[at + len(finish) : end])
        stderr = stderr[:at] + stderr[end + 1 :]
    return Outcome(
        process=process,
        status=status,
        stdout=stdout.decode(errors="replace"),
        stderr=stderr.decode(errors="replace"),
    )
