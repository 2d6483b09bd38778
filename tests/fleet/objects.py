"""The object store of `--repo s3`: s3rver (npm), over TLS with a certificate of the fleet's own authority.

It runs beside the nodes, at the bridge: a node that is off or a controller that is cut off does not take it away.
pgBackRest accepts no certificate for an address, so it has a name, which nodes find in /etc/hosts.
"""

from __future__ import annotations

import os
from pathlib import Path

from fleet import processes
from fleet.layout import OBJECTS_ADDRESS, OBJECTS_BUCKET, OBJECTS_NAME, OBJECTS_PORT, Place
from fleet.running import attempt, run, wait_for

PACKAGE = "s3rver@3.7.1"
PART = "s3"
INSTALL_SECONDS = 300.0
START_SECONDS = 30.0


def make_certificates(place: Place) -> str:
    """Make the authority and the store's certificate; return the authority's, PEM."""
    home = place.objects
    home.mkdir(parents=True, exist_ok=True)
    authority, certificate = home / "ca.crt", home / "s3.crt"
    if not certificate.exists():
        subject = ("-subj", f"/CN={OBJECTS_NAME}")
        new = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650")
        run(
            [*new, "-keyout", f"{home}/ca.key", "-out", str(authority), "-subj", "/CN=fleet authority"],
            what="making the fleet's authority",
        )
        run(
            [
                *(*new, *subject, "-keyout", f"{home}/s3.key", "-out", str(certificate)),
                *("-CA", str(authority), "-CAkey", f"{home}/ca.key"),
                *(
                    "-addext",
                    f"subjectAltName=DNS:{OBJECTS_NAME}",
                    "-addext",
                    "basicConstraints=critical,CA:FALSE",
                ),
            ],
            what="making the object store's certificate",
        )
    return authority.read_text()


def install(place: Place) -> Path:
    """Return s3rver's program; fetched from npm once, into the directory that fleets share."""
    directory = place.directory / "s3rver-3.7.1"
    program = directory / "node_modules/s3rver/bin/s3rver.js"
    if not program.exists():
        directory.mkdir(exist_ok=True)
        run(
            ["npm", "install", "--prefix", str(directory), "--no-audit", "--no-fund", "--silent", PACKAGE],
            what=f"fetching {PACKAGE} from npm",
            deadline_seconds=INSTALL_SECONDS,
            environment=os.environ | {"npm_config_cache": f"{directory}/cache"},
        )
    return program


def start(place: Place) -> None:
    home = place.objects
    (home / "buckets").mkdir(exist_ok=True)
    argv = [
        *("node", str(install(place)), "--directory", str(home / "buckets")),
        *("--address", OBJECTS_ADDRESS, "--port", str(OBJECTS_PORT), "--no-vhost-buckets"),
        *("--key", f"{home}/s3.key", "--cert", f"{home}/s3.crt", "--configure-bucket", OBJECTS_BUCKET),
    ]
    processes.start(
        argv,
        fleet=place.name,
        part=PART,
        log=home / "s3rver.log",
        environment=os.environ,
        namespace=place.fleet_namespace,
    )
    wait_for("starting the object store", lambda: silent(place), deadline_seconds=START_SECONDS)


def silent(place: Place) -> str | None:
    """Return None if the store listens, else what is the matter."""
    if not processes.members(place.name, PART):
        return f"s3rver does not run; {place.objects}/s3rver.log says why"
    listening = attempt(
        ["ip", "netns", "exec", place.fleet_namespace, "ss", "-Hltn", f"sport = :{OBJECTS_PORT}"],
        what="asking who listens",
    )
    return None if listening.stdout.strip() else f"nobody listens on {OBJECTS_ADDRESS}:{OBJECTS_PORT}"
