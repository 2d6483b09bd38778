"""Which files `pgdolly clone` wrote: those that it may replace and remove.

Sent along with the programs that look at files or remove them.
"""

import os
import stat


def empty(path):
    """Whether a file is there that holds nothing: no link, no device."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == 0


def made(path, mark):
    """Whether the file's first line says so, or nothing is in it.

    `install`, by which root writes it, makes the file before it reads what goes into it: if the run is killed just
    then, or its connection breaks, the file stays empty. What cannot be read is not known to be pgdolly's.
    """
    if empty(path):
        return True
    try:
        with open(path, errors="replace") as lines:
            return lines.readline().startswith(mark)
    except OSError:
        return False
