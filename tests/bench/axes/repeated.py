"""An operation again and again: what it costs the server, and how long it takes."""
import statistics
import time

import processes

TIMES_MIN = 3
TIMES_MAX = 400


def repeated(server, operation, seconds):
    """CPU of the server and the median time of an operation, in milliseconds. The first one does not count."""
    operation()
    took = []
    before, began = processes.cpu_seconds(server.pid), time.perf_counter()
    while len(took) < TIMES_MIN or (time.perf_counter() - began < seconds and len(took) < TIMES_MAX):
        start = time.perf_counter()
        operation()
        took.append(time.perf_counter() - start)
    cpu = processes.cpu_seconds(server.pid) - before
    return cpu / len(took) * 1e3, statistics.median(took) * 1e3
