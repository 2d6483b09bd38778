"""Write a member's patroni.yml anew. Sent along with programs that change it."""

import os


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


def change(arguments, edit):
    """Have `edit` change what the file holds; whether anything was changed."""
    import yaml

    path, aside = arguments["patroni_config"], arguments["aside"]
    # If it is there, somebody was killed while he filled the file, which may be half of it now.
    with open(aside if os.path.exists(aside) else path) as text:
        before = text.read()
    configuration = yaml.safe_load(before)
    edit(configuration)
    after = arguments["mark"] + "\n" + yaml.safe_dump(configuration, sort_keys=False, allow_unicode=True)
    if after != before or os.path.exists(aside):
        put(path, after, aside)
    return after != before


def leave(configuration, upstream, settings):
    """Take out what makes a standby of its source's: WAL out of its archive (`upstream` leads there), the delay."""
    recovery = configuration["postgresql"].get("recovery_conf") or {}
    for name in settings:
        if name != "restore_command" or (upstream and upstream in str(recovery.get(name, ""))):
            recovery.pop(name, None)
    if not recovery:
        configuration["postgresql"].pop("recovery_conf", None)
