"""Where a clone's Patroni keeps the password with which it replicates. Sent along with programs that look or remove."""

import os
import re

from made import made
from removal_guard import processes


def settings(path):
    """`postgresql` of a configuration of Patroni's; empty if it cannot be read."""
    import yaml

    try:
        with open(path) as text:
            return (yaml.safe_load(text) or {}).get("postgresql") or {}
    except (OSError, AttributeError, ValueError, yaml.YAMLError):
        return {}


def pgpass(config, mark):
    """The file, if `pgdolly clone` wrote the configuration that names it, and it holds what Patroni writes there alone.

    Not if another Patroni on this node writes the same one.
    """
    own = settings(config) if made(config, mark) else {}
    path = own.get("pgpass")
    if (
        not isinstance(path, str)
        or not os.path.isabs(path)
        or os.path.islink(path)
        or not os.path.isfile(path)
    ):
        return None
    others = {
        word
        for _, words, _ in processes()
        if any(os.path.basename(each) == "patroni" for each in words)
        for word in words
        if word.endswith((".yml", ".yaml")) and os.path.realpath(word) != os.path.realpath(config)
    }
    if any(settings(other).get("pgpass") == path for other in others):
        return None
    users = {(role or {}).get("username") for role in (own.get("authentication") or {}).values()}
    try:
        with open(path) as lines:
            written = [re.split(r"(?<!\\):", line.rstrip("\n")) for line in lines]
    except (OSError, ValueError):
        return None
    # host:port:*:user:password, as Patroni's write_pgpass has it
    return path if all(len(line) >= 5 and line[2] == "*" and line[3] in users for line in written) else None
