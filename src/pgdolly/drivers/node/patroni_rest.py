"""Call this node's own Patroni as its own configuration says: address, TLS, credentials. Sent along with programs.

Not by urllib, which would go through the proxy that the node's environment names.
"""

import base64
import http.client
import json


def call(local, path, method="GET", body=None, timeout=5):
    """The answer's status (0 if there is none) and body, which is read as JSON where it is that.

    `local` is Patroni's local configuration, as a dictionary.
    """
    restapi, ctl = local.get("restapi") or {}, local.get("ctl") or {}
    headers = {"Content-Type": "application/json"}
    authentication = restapi.get("authentication") or {}
    if authentication.get("username") and method != "GET":  # only what changes something needs it
        pair = f"{authentication['username']}:{authentication.get('password', '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    try:
        connection = connect(str(restapi.get("connect_address")), restapi, ctl, timeout)
        try:
            connection.request(
                method,
                path,
                body=json.dumps(body or {}).encode() if method != "GET" else None,
                headers=headers,
            )
            answer = connection.getresponse()
            status, body = answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:  # no answer, no certificate, no address
        return 0, f"{type(error).__name__}: {error}"
    try:
        return status, json.loads(body)
    except ValueError:
        return status, body


def connect(address, restapi, ctl, timeout):
    if not restapi.get("certfile"):
        return http.client.HTTPConnection(address, timeout=timeout)
    import ssl

    context = ssl.create_default_context(cafile=ctl.get("cacert") or restapi.get("cafile"))
    if ctl.get("certfile"):
        context.load_cert_chain(ctl["certfile"], ctl.get("keyfile"))
    if ctl.get("insecure"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(address, timeout=timeout, context=context)
