"""Take settings of a standby out of a member's patroni.yml, if `pgdolly clone` wrote it.

Takes: patroni_config, mark (patroni.yml's first line), aside (where it waits while it is filled), upstream (the file
whose restore_command may go), settings (what goes: restore_command, recovery_min_apply_delay).
Prints whether `pgdolly clone` wrote the file.
"""

import json
import os
import sys

from member_file import change, leave


def main(arguments):
    with open(arguments["patroni_config"], errors="replace") as lines:
        made = lines.readline().startswith(arguments["mark"]) or os.path.exists(arguments["aside"])
    if made:
        change(arguments, lambda found: leave(found, arguments["upstream"], arguments["settings"]))
    print(json.dumps({"made": made}))


main(json.loads(sys.argv[1]))
