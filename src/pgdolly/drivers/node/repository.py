"""The repository that this node's pgBackRest is configured with; and a configuration for another one beside it.

Takes: config (None: pgBackRest's own places), stanza, write (None, or the file to write). Without `write` it prints
the repo options, secrets and all: what it prints is never shown. With it, SECRETS, which is sent along, holds the repo
options of the file; whatever else this node's own configuration says (log-path, process-max, …) is kept.
"""

import glob
import json
import os
import sys

FILES = ("/etc/pgbackrest/pgbackrest.conf", "/etc/pgbackrest.conf")


def own_options(config, stanza):
    """What the file says for this stanza, as pairs: the stanza's own section beats [global]."""
    main = config or next((name for name in FILES if os.path.exists(name)), FILES[0])
    files = [main, *([] if config else sorted(glob.glob("/etc/pgbackrest/conf.d/*.conf")))]
    found = {}
    for section in ("global", stanza):
        for name in files:
            # An option may stand several times (repo1-storage-tag): configparser would keep the last one.
            for key, value in options_of(name, section):
                found.setdefault(key, {}).setdefault(section, []).append(value)
    return [
        (key, value) for key, by in found.items() for value in (by[stanza] if stanza in by else by["global"])
    ]


def options_of(path, wanted):
    section = None
    try:
        with open(path, encoding="utf-8") as lines:
            for line in map(str.strip, lines):
                if line.startswith("[") and line.endswith("]"):
                    section = line[1:-1]
                elif section == wanted and "=" in line and not line.startswith("#"):
                    key, _, value = line.partition("=")
                    yield key.strip(), value.strip()
    except FileNotFoundError:
        return


def main(arguments):
    options = own_options(arguments["config"], arguments["stanza"])
    if arguments["write"] is None:
        print(json.dumps({"options": [pair for pair in options if pair[0].startswith("repo")]}))
        return
    kept = [pair for pair in options if not pair[0].startswith(("repo", "pg"))]
    lines = ["[global]", *(f"{key}={value}" for key, value in (*kept, *SECRETS))]  # noqa: F821
    os.makedirs(os.path.dirname(arguments["write"]), mode=0o700, exist_ok=True)
    new = f"{arguments['write']}.new"
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write("\n".join(lines) + "\n")
    os.replace(new, arguments["write"])
    print(json.dumps({"written": arguments["write"]}))


main(json.loads(sys.argv[1]))
