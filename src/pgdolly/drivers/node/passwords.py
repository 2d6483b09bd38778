"""Passwords of a clone's own roles: made once, kept beside the run's lock until it ends, and put into patroni.yml.

Takes: action (make|own), file (where they are kept), patroni_config, mark (patroni.yml's first line), upstream (the
file whose restore_command is to go; "" for none).
make: keeps those that SECRETS has and makes up the others, unless they are kept already. Prints them: what it prints is
never shown. own: SECRETS holds them all; writes them into patroni.yml. Prints whether anything was changed.
"""

import json
import os
import secrets
import sys

ROLES = ("superuser", "replication", "rewind")


def fill(path, text):
    """Write into the file itself."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())


def write(path, text):
    """Replace the file at once."""
    new = path + ".new"
    fill(new, text)
    if os.path.exists(path):
        os.chmod(new, os.stat(path).st_mode & 0o777)
    os.replace(new, path)


def put(path, text, aside):
    """Replace a file that may lie in a directory of root's, where it can only be filled anew: then it is kept aside."""
    if os.access(os.path.dirname(path), os.W_OK):
        write(path, text)
    else:
        write(aside, text)
        fill(path, text)
        os.unlink(aside)


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
    import yaml

    path = arguments["patroni_config"]
    aside = os.path.join(os.path.dirname(arguments["file"]), "patroni.yml")
    # If it is there, somebody was killed while he filled the file, which may be half of it now.
    with open(aside if os.path.exists(aside) else path) as text:
        before = text.read()
    configuration = yaml.safe_load(before)
    for role, password in passwords.items():
        authentication_of(configuration)[role]["password"] = password
    recovery = configuration["postgresql"].get("recovery_conf") or {}
    if arguments["upstream"] and arguments["upstream"] in str(recovery.get("restore_command", "")):
        del recovery["restore_command"]
        if not recovery:
            del configuration["postgresql"]["recovery_conf"]
    after = arguments["mark"] + "\n" + yaml.safe_dump(configuration, sort_keys=False, allow_unicode=True)
    if after != before or os.path.exists(aside):
        put(path, after, aside)
    forget(arguments["upstream"], arguments["mark"])
    return {"changed": after != before}


def main(arguments):
    action = {"make": make, "own": own}[arguments["action"]]
    print(json.dumps(action(arguments, SECRETS)))  # noqa: F821


main(json.loads(sys.argv[1]))
