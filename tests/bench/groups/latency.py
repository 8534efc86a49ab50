"""Latencies of mixed commands at 70 % of the rates that the servers can do, for so long that RocksDB writes out and compacts meanwhile."""
import contextlib
import glob
import os

import loadtester
from rows import Figure, Row, beside

SHARE = 0.7
SESSIONS = 100
# Of others' mail before, so that more than one level is there to be compacted.
FILL_SECONDS = 15
HIGHEST_SECONDS = 30
# Enough for operations that wait, since none may be missed.
OPEN_SESSIONS = 200
TOLD = {"p50": "p50_ms", "p99": "p99_ms", "p99.9": "p999_ms"}
EVENTS = ("flush_finished", "compaction_finished")


def measure(pair, wanted):
    # No inbox that is measured gets further mail: the others are filled.
    measured = min(OPEN_SESSIONS, wanted.accounts // 2)
    with contextlib.ExitStack() as running:
        for server in pair:
            running.enter_context(server)
        highest = []
        for server in pair:
            others = server.description() + f",first_account={measured + 1},accounts={wanted.accounts - measured}"
            loadtester.alone("fill", "deliver", others, "--sessions", 20, "--seconds", FILL_SECONDS)
            # For a while, so that it is not that of a moment in which nothing is written out.
            run = loadtester.alone("mixed", "mixed", described(server, measured), "--sessions", SESSIONS, "--seconds",
                                   HIGHEST_SECONDS, "--warmup", 5)
            highest.append(run["operations"])
        # The same work for both, and as much as each can take: who can do more waits longer at its own 70 % than at the other's.
        lower = min(highest)
        yield at_rates(pair, wanted, measured, [SHARE * lower] * 2, f"mixed commands at {SHARE * 100:.0f} % of the lower of both highest rates")
        yield at_rates(pair, wanted, measured, [SHARE * one for one in highest], f"the same at {SHARE * 100:.0f} % of the highest rate of each")


def described(server, accounts):
    return server.description() + f",accounts={accounts}"


def at_rates(pair, wanted, accounts, rates, title):
    """A row of each command's latencies, when commands arrive at these rates."""
    found, events = [], []
    for server, rate in zip(pair, rates):
        before = count_events(server.folder)
        report = loadtester.run("mixed at a rate", ["mixed", "--server", described(server, accounts), "--sessions", OPEN_SESSIONS,
                                                    "--warmup", 3, "--rate", rate, "--seconds", wanted.latency_seconds])
        events.append([now - then for now, then in zip(count_events(server.folder), before)])
        held = report["servers"][0][0]
        found.append({f"{of['operation']} {name}": of["latencies"][key]
                      for of in held["operations"] for name, key in TOLD.items()})
    flushed, compacted = events[1]
    told = {"rate": beside(*rates)}
    told |= {name: beside(found[0][name], found[1][name]) for name in found[0] if name in found[1]}
    whole = (f"{title}, open loop, {wanted.latency_seconds:g} s; RocksDB wrote out {flushed} times and compacted {compacted} times "
             "meanwhile")
    return Row("latency", whole, [], [Figure(name, name, "/s" if name == "rate" else "ms") for name in told]), told


def count_events(folder):
    """How often RocksDB says in its logs that it has written out and compacted, in all stores of a folder."""
    counts = dict.fromkeys(EVENTS, 0)
    for path in glob.glob(f"{folder}/**/rows/LOG*", recursive=True):
        if not os.path.isfile(path):
            continue
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                for event in EVENTS:
                    counts[event] += f'"event": "{event}"' in line
    return list(counts.values())
