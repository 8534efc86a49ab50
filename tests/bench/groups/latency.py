"""Latencies of mixed commands at 70 % of the rate that a server can do, for so long that RocksDB writes out and compacts meanwhile."""
import contextlib
import glob
import os

import loadtester
from rows import Figure, Row, beside

SHARE = 0.7
SESSIONS = 100
# Of others' mail before, so that more than one level is there to be compacted.
FILL_SECONDS = 15
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
        rates, found, events = [], [], {}
        for server in pair:
            own = server.description() + f",accounts={measured}"
            others = server.description() + f",first_account={measured + 1},accounts={wanted.accounts - measured}"
            loadtester.alone("fill", "deliver", others, "--sessions", 20, "--seconds", FILL_SECONDS)
            highest = loadtester.alone("mixed", "mixed", own, "--sessions", SESSIONS, "--seconds", 2 * wanted.seconds, "--warmup", 2)
            rates.append(highest["operations"])
            before = count_events(server.folder)
            report = loadtester.run("mixed at a rate", ["mixed", "--server", own, "--sessions", OPEN_SESSIONS, "--warmup", 3,
                                                        "--rate", SHARE * rates[-1], "--seconds", wanted.latency_seconds])
            events[server.name] = [now - then for now, then in zip(count_events(server.folder), before)]
            held = report["servers"][0][0]
            found.append({f"{of['operation']} {name}": of["latencies"][key]
                          for of in held["operations"] for name, key in TOLD.items()})
    flushed, compacted = events[pair[1].name]
    title = (f"mixed commands at {SHARE * 100:.0f} % of the highest rate of each, open loop, {wanted.latency_seconds:g} s; RocksDB "
             f"wrote out {flushed} times and compacted {compacted} times meanwhile")
    told = {"rate": beside(*(SHARE * rate for rate in rates))}
    told |= {name: beside(found[0][name], found[1][name]) for name in found[0] if name in found[1]}
    yield Row("latency", title, [], [Figure(name, name, "/s" if name == "rate" else "ms") for name in told]), told


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
