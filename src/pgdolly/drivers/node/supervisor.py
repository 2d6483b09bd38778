"""Start or stop a program that supervisor keeps, and wait until it is up or down; or say how it is.

Takes: config (supervisorctl's), program, action (status|start|stop). Prints the program's state in supervisor's words,
null if supervisor knows no such program. What is up is not started, and what is down is not stopped.

Not by supervisorctl: as long as that waits for a program to stop, supervisord takes a whole core (rpcinterface.py,
stopProcess: onwait.delay = 0).
http://supervisord.org/api.html
"""

import json
import sys
import time
import xmlrpc.client

FAULTS = {"BAD_NAME": 10, "ALREADY_STARTED": 60, "NOT_RUNNING": 70}
POLL_SECONDS = 0.1


def call(method, *arguments, unless=None):
    """What supervisord answers; None if it refuses for the reason `unless`."""
    try:
        return method(*arguments)
    except xmlrpc.client.Fault as fault:
        if fault.faultCode == FAULTS.get(unless):
            return None
        sys.exit(f"supervisor: {fault.faultString}")


def act(supervisor, program, action):
    def look():
        return call(supervisor.getProcessInfo, program, unless="BAD_NAME") or {"statename": None}

    def look_while(on_its_way):  # whoever has this program run sets its deadline
        found = look()
        while on_its_way(found):
            time.sleep(POLL_SECONDS)
            found = look()
        return found

    if action == "status":
        return look()["statename"]
    if action == "stop":
        call(supervisor.stopProcess, program, False, unless="NOT_RUNNING")
        # Somebody may start it again between two looks: then what was to be stopped is down all the same.
        stopped = look()
        return look_while(lambda found: found["statename"] == "STOPPING" and found["pid"] == stopped["pid"])[
            "statename"
        ]
    look_while(lambda found: found["statename"] == "STOPPING")
    call(supervisor.startProcess, program, False, unless="ALREADY_STARTED")
    found = look_while(lambda found: found["statename"] == "STARTING")
    if found["statename"] != "RUNNING":
        # BACKOFF: it ended at once, and supervisor is about to try again.
        sys.exit(
            f"supervisor: {program} is {found['statename']}: {found['description'] or found['spawnerr']}"
        )
    return found["statename"]


def main(arguments):
    from supervisor.options import ClientOptions

    options = ClientOptions()
    options.realize(["-c", arguments["config"]])
    supervisor = options.getServerProxy().supervisor
    print(json.dumps({"state": act(supervisor, arguments["program"], arguments["action"])}))


main(json.loads(sys.argv[1]))
