"""Say who replicates from this member's server, and what slots there are on it. Reads only.

Takes: data_directory, bin_directory, socket_directory and port (None: no server runs), superuser.
"""

import json
import sys

from followers import senders, slots
from removal_guard import fillers


def main(arguments):
    data = arguments["data_directory"]
    print(
        json.dumps(
            {
                "senders": senders(arguments),
                "slots": slots(data),
                "fillers": [f"{name} (process {pid})" for pid, name in fillers(data)],
            }
        )
    )


main(json.loads(sys.argv[1]))
