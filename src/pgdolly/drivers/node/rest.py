"""Call this node's own Patroni with its own configuration's credentials.

Takes: patroni_config, method, path, body (sent as JSON). Prints the answer's status (0 if there is none) and body.
"""

import json
import sys

from patroni_file import local_configuration
from patroni_rest import call


def main(arguments):
    local = local_configuration(arguments["patroni_config"])
    method = arguments["method"]
    status, body = call(
        local, arguments["path"], method, body=arguments.get("body"), timeout=300 if method == "POST" else 10
    )
    print(json.dumps({"status": status, "body": body}))


main(json.loads(sys.argv[1]))
