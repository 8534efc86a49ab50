"""One node with more and more shards, each time a new one."""
import shutil
import time

import growth
import loadtester
import processes
import servers

ACCOUNTS = 200
REST_SECONDS = 5
MESSAGE_BYTES = 4096


def measure(wanted, folder, binary):
    axis = growth.Axis("shards", "shards of one node", wanted.shards)
    axis.note = (f"{ACCOUNTS} accounts over all shards; deliveries of {MESSAGE_BYTES:,} bytes by 10 sessions, mixed commands by 20, by the "
                 f"load tester; CPU at rest over {REST_SECONDS} s.")
    servers.ACCOUNTS = ACCOUNTS
    for size in axis.sizes:
        print(f"  {size:,}", flush=True)
        place = f"{folder}/shards-{size}"
        with servers.Rookery(place, binary, options=("--single", "--shards", str(size))) as server:
            for name, unit, value in look(server, wanted.seconds):
                axis.add(name, unit, size, value)
        shutil.rmtree(place)
    return axis


def look(server, seconds):
    processes.wait_until_at_rest(server.pid)
    yield "memory at rest", "MiB", processes.settled_pss_kib(server.pid) / 1024
    before = processes.cpu_seconds(server.pid)
    time.sleep(REST_SECONDS)
    yield "CPU at rest, of a core", "%", (processes.cpu_seconds(server.pid) - before) / REST_SECONDS * 100
    times = ("--seconds", 3 * seconds, "--warmup", 1)
    for title, arguments, latency in (
            ("a delivery", ("deliver", server.description(), "--sessions", 10, "--size", MESSAGE_BYTES), "deliver p50"),
            ("a mixed command", ("mixed", server.description(), "--sessions", 20, "--size", MESSAGE_BYTES), None)):
        figures = loadtester.alone(f"{title} at {server.options}", *arguments, *times)
        yield f"{title}, CPU", "ms", figures["server CPU an operation"]
        if latency:
            yield f"{title}, p50", "ms", figures[latency]
