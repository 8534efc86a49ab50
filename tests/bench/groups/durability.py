"""Syncs of each delivery, counted by strace, and that each message was synced before it was acknowledged.

What counts as a sync: fsync, fdatasync, and writes to files that were opened to be synchronous (O_SYNC, O_DSYNC) or say so themselves.
"""
import os
import re
import shutil
import signal
import subprocess
import tempfile

import loadtester
import processes
from rows import Figure, Row, beside

CALLS = "fsync,fdatasync,msync,openat,pwrite64,pwritev,pwritev2,write,writev,sendto,sendmsg"
SYNCS = ("fsync", "fdatasync", "msync")
SYNCHRONOUS = os.O_SYNC | os.O_DSYNC
MESSAGE_BYTES = 10240


def measure(pair, wanted):
    if not shutil.which("strace"):
        raise SystemExit("strace is missing: .ci/install bench")
    told, figures = {}, []
    for sessions, count in ((1, wanted.traced), (10, wanted.traced * 5)):
        seen = []
        for server in pair:
            with server:
                # Mailboxes and processes that are made by the first mail are there.
                deliver(server, sessions, 20 * sessions)
                with Traced(server) as traced:
                    deliver(server, sessions, count)
                seen.append(traced.read())
        name = f"{sessions} sessions" if sessions > 1 else "1 session"
        told[name] = beside(*(one.syncs / count for one in seen))
        figures.append(Figure(f"syncs a delivery, {name}", name, "syncs", least=1 if sessions == 1 else None))
        if sessions == 1:
            told["before"] = beside(*(one.synced / max(1, one.acknowledged) * 100 for one in seen))
            figures.append(Figure(f"of {count} messages, synced between 354 and 250", "before", "%", least=100))
    yield Row("durability", "LMTP, 10 KiB, under strace", [], figures), told


def deliver(server, sessions, count):
    loadtester.run("deliveries under strace", ["deliver", "--server", server.description(), "--sessions", sessions, "--size", MESSAGE_BYTES,
                                               "--operations", count])


def synchronous_files(pids):
    """Paths that these processes have open for synchronous writes."""
    found = set()
    for pid in pids:
        for descriptor in os.listdir(f"/proc/{pid}/fdinfo"):
            try:
                with open(f"/proc/{pid}/fdinfo/{descriptor}", encoding="ascii") as file:
                    flags = next(int(line.split()[1], 8) for line in file if line.startswith("flags:"))
                if flags & SYNCHRONOUS:
                    found.add(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
            except OSError:
                pass  # closed meanwhile
    return found


class Traced:
    """The system calls of a server's processes, and of those that they start, while it is entered."""

    CALL = re.compile(r"^(\d+) +(?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)$")
    RESULT = re.compile(r"= (-?\d+)[^=]*$")
    REPLY = re.compile(r'"(354|250)[ -]')

    def __init__(self, server):
        self.server = server
        self.syncs = self.acknowledged = self.synced = 0

    def __enter__(self):
        pids = processes.tree(self.server.pid)
        self.synchronous = synchronous_files(pids)
        self.output = tempfile.NamedTemporaryFile("r", suffix=".strace", errors="replace")
        command = ["strace", "-f", "-y", "-s", "24", "-e", f"trace={CALLS}", "-e", "signal=none", "-o", self.output.name]
        for pid in pids:
            command += ["-p", str(pid)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        waiting = set(pids)
        while waiting:
            line = self.process.stderr.readline()
            if not line:
                raise SystemExit("strace ended before it was attached")
            said = re.search(r"Process (\d+) attached", line)
            if said:
                waiting.discard(int(said.group(1)))
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.communicate()

    def read(self):
        """Counts what was traced, in its order."""
        begun, taken, synced = {}, False, False
        with self.output as file:
            for line in file:
                match = self.CALL.match(line)
                if not match:
                    continue
                pid, resumed, name, rest = match.groups()
                if resumed:
                    name, rest = resumed, begun.pop(pid, "") + rest
                else:
                    reply = self.REPLY.search(rest) if name in ("write", "writev", "sendto", "sendmsg") else None
                    if reply and reply.group(1) == "354":
                        taken, synced = True, False
                    elif reply and taken:
                        self.acknowledged += 1
                        self.synced += synced
                        taken = False
                    if rest.endswith("<unfinished ...>"):
                        begun[pid] = rest
                        continue
                if self.is_sync(name, rest):
                    self.syncs += 1
                    synced = True
        return self

    def is_sync(self, name, rest):
        """Whether a call that has returned has synced something."""
        result = self.RESULT.search(rest)
        if not result or int(result.group(1)) < 0:
            return False
        path = re.search(r"<([^>]*)>", rest)
        if name == "openat":
            if "O_SYNC" in rest or "O_DSYNC" in rest:
                # The path of what was opened is that of the result.
                self.synchronous.add(rest.rpartition("<")[2].rstrip(">\n"))
            return False
        if name in SYNCS:
            return True
        return "DSYNC" in rest or bool(path and path.group(1) in self.synchronous)
