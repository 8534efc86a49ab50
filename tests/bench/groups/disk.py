"""Bytes on the disk: of each message that lies there, with all that belongs to it, and written for each that is delivered."""
import glob
import os
import subprocess
import time

import loadtester
import processes
from rows import Figure, Row, beside

MESSAGE_BYTES = 10240
SESSIONS = 20
# No command asks the store to compact: what it does by itself is waited for.
SETTLE_SECONDS_MAX = 120
SETTLED_LOOKS = 3
LOOK_SECONDS = 3


def measure(pair, wanted):
    count, held, logs, written, waited = wanted.disk_messages, [], [], [], []
    for server in pair:
        # One after the other: the page cache is too small for both.
        with server:
            before = processes.written_bytes(server.pid)
            loadtester.run("fill", ["deliver", "--server", server.description(), "--sessions", SESSIONS, "--size", MESSAGE_BYTES,
                                    "--operations", count])
            waited.append(settle(server))
            # All of it: a log that is allocated ahead is there from the start, and what it takes weighs less the more there is.
            held.append(bytes_held(server.folder) / count)
            logs.append(sum(map(bytes_held, glob.glob(f"{server.folder}/*/store/log"))) / count)
            written.append((processes.written_bytes(server.pid) - before) / count / MESSAGE_BYTES)
    told = {"held": beside(*held), "logs": beside(*logs), "written": beside(*written),
            "share": beside(*(one / MESSAGE_BYTES * 100 for one in held))}
    settled = "" if all(waited) else f"; still changing after {SETTLE_SECONDS_MAX} s"
    yield Row("disk", f"{count:,} messages of {MESSAGE_BYTES // 1024} KiB delivered, at rest{settled}; all files of the server", [], [
        Figure("on disk a message", "held", "B"), Figure("of that, in replication's logs", "logs", "B"),
        Figure("on disk, of the mail", "share", "%", most=70),
        Figure("written until at rest, by the mail", "written", "times", most=2.5)]), told


def bytes_held(folder):
    """What files take on the disk, those that are allocated ahead included."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(f"{place}/{name}").st_blocks * 512
            except FileNotFoundError:
                pass  # removed meanwhile
    return total


def settle(server):
    """Waits until nothing is written and the folder stays as it is; whether it came to that."""
    subprocess.run(["sync"], check=True)
    deadline, quiet, before = time.monotonic() + SETTLE_SECONDS_MAX, 0, None
    while quiet < SETTLED_LOOKS:
        if time.monotonic() > deadline:
            return False
        now = bytes_held(server.folder)
        quiet = quiet + 1 if now == before else 0
        before = now
        time.sleep(LOOK_SECONDS)
    return True
