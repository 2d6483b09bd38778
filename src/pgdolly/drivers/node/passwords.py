"""Passwords of a clone's own roles: made once, kept beside the run's lock until it ends, and put into patroni.yml.

Takes: action (make|own), file (where they are kept), patroni_config, mark (patroni.yml's first line), aside (where
that waits while it is filled), upstream (the file whose restore_command is to go; "" for none).
make: keeps those that SECRETS has and makes up the others, unless they are kept already. Prints them: what it prints is
never shown. own: SECRETS holds them all; writes them into patroni.yml. Prints whether anything was changed.
"""

import json
import os
import secrets
import sys

from member_file import change, fill, leave, write

ROLES = ("superuser", "replication", "rewind")


def authentication_of(configuration):
    return configuration.get("postgresql", {}).get("authentication", {})


def make(arguments, given):
    path = arguments["file"]
    try:
        with open(path) as kept:
            return json.load(kept)
    except FileNotFoundError:
        pass
    import yaml

    with open(arguments["patroni_config"]) as text:
        roles = authentication_of(yaml.safe_load(text))
    made, names = {}, {}
    for role in ROLES:
        username = (roles.get(role) or {}).get("username")
        if username is None:
            continue
        # One role may serve two purposes: it has one password.
        made[role] = names.setdefault(username, given.get(role) or secrets.token_urlsafe(24))
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    write(path, json.dumps(made))
    return made


def forget(path, mark):
    """Remove a file with its passwords; from a directory of root's, all of it but its first line, by which it goes."""
    if path and os.path.exists(path):
        if os.access(os.path.dirname(path), os.W_OK):
            os.unlink(path)
        else:
            fill(path, mark + "\n")


def own(arguments, passwords):
    def edit(configuration):
        for role, password in passwords.items():
            authentication_of(configuration)[role]["password"] = password
        leave(configuration, arguments["upstream"], ("restore_command", "recovery_min_apply_delay"))

    changed = change(arguments, edit)
    forget(arguments["upstream"], arguments["mark"])
    return {"changed": changed}


def main(arguments):
    action = {"make": make, "own": own}[arguments["action"]]
    print(json.dumps(action(arguments, SECRETS)))  # noqa: F821


main(json.loads(sys.argv[1]))
