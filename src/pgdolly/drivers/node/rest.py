"""Call this node's own Patroni with its own configuration's credentials.

Takes: patroni_config, method, path. Prints the answer's status (0 if there is none) and body.
"""

import base64
import json
import ssl
import sys
import urllib.error
import urllib.request


def main(arguments):
    from patroni.config import Config

    local = Config(arguments["patroni_config"], validator=None).local_configuration
    restapi, ctl = local.get("restapi", {}), local.get("ctl", {})
    scheme = "https" if restapi.get("certfile") else "http"
    request = urllib.request.Request(
        f"{scheme}://{restapi['connect_address']}{arguments['path']}",
        method=arguments["method"],
        data=b"{}" if arguments["method"] == "POST" else None,
        headers={"Content-Type": "application/json"},
    )
    authentication = restapi.get("authentication") or {}
    if authentication.get("username"):
        pair = f"{authentication['username']}:{authentication.get('password', '')}"
        request.add_header("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())
    context = None
    if scheme == "https":
        context = ssl.create_default_context(cafile=ctl.get("cacert") or restapi.get("cafile"))
        if ctl.get("certfile"):
            context.load_cert_chain(ctl["certfile"], ctl.get("keyfile"))
        if ctl.get("insecure"):
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(
            request, timeout=300 if request.method == "POST" else 5, context=context
        ) as answer:
            status, body = answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read().decode(errors="replace")
    except OSError as error:
        status, body = 0, str(error)
    try:
        body = json.loads(body)
    except ValueError:
        pass
    print(json.dumps({"status": status, "body": body}))


main(json.loads(sys.argv[1]))
