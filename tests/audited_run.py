"""Run a script without a network, and write down the files that it opens for writing.

python audited_run.py LIST_FILE SCRIPT ARGUMENTS
"""

import os
import runpy
import sys

NETWORK = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg"}
WRITING = os.O_WRONLY | os.O_RDWR

list_file, script, *arguments = sys.argv[1:]
written = os.open(list_file, os.O_CREAT | os.O_WRONLY | os.O_APPEND)


def audit(event, details):
    if event in NETWORK:
        raise PermissionError(f"the network was asked for: {event} {details}")
    if event == "open" and isinstance(details[2], int) and details[2] & WRITING and not isinstance(details[0], int):
        os.write(written, os.fsencode(os.path.abspath(details[0])) + b"\n")


sys.addaudithook(audit)
sys.argv = [script, *arguments]
sys.path[0] = os.path.dirname(script)
runpy.run_path(script, run_name="__main__")
