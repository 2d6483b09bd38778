"""Call this node's own Patroni as its own configuration says: address, TLS, credentials. Sent along with programs."""

import base64
import json
import ssl
import urllib.error
import urllib.request


def call(local, path, method="GET", body=None, timeout=5):
    """The answer's status (0 if there is none) and body, which is read as JSON where it is that.

    `local` is Patroni's local configuration, as a dictionary.
    """
    restapi, ctl = local.get("restapi") or {}, local.get("ctl") or {}
    scheme = "https" if restapi.get("certfile") else "http"
    request = urllib.request.Request(
        f"{scheme}://{restapi.get('connect_address')}{path}",
        method=method,
        data=json.dumps(body or {}).encode() if method != "GET" else None,
        headers={"Content-Type": "application/json"},
    )
    authentication = restapi.get("authentication") or {}
    if authentication.get("username") and method != "GET":  # only what changes something needs it
        pair = f"{authentication['username']}:{authentication.get('password', '')}"
        request.add_header("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())
    try:
        context = None
        if scheme == "https":
            context = ssl.create_default_context(cafile=ctl.get("cacert") or restapi.get("cafile"))
            if ctl.get("certfile"):
                context.load_cert_chain(ctl["certfile"], ctl.get("keyfile"))
            if ctl.get("insecure"):
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with urllib.request.urlopen(request, timeout=timeout, context=context) as answer:
            status, body = answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read().decode(errors="replace")
    except (OSError, ValueError) as error:  # no answer, no certificate, no address
        return 0, f"{type(error).__name__}: {error}"
    try:
        return status, json.loads(body)
    except ValueError:
        return status, body
