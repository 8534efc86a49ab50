"""What a server's whole tree of processes costs, and how busy the machine is."""
import os
import tempfile
import time

TICKS = os.sysconf("SC_CLK_TCK")


def _stat(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return file.read().rpartition(")")[2].split()


def tree(root):
    """The process and all that descend from it."""
    children = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            children.setdefault(int(_stat(name)[1]), []).append(int(name))
        except (OSError, IndexError):
            pass  # it has ended meanwhile
    found = [root]
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def cpu_seconds(root):
    """User and system time of the tree, of children that have ended too."""
    seconds = 0.0
    for pid in tree(root):
        try:
            own, ended = (sum(map(int, part)) for part in (_stat(pid)[11:13], _stat(pid)[13:15]))
            # Ticks count threads that have ended, and are cut to hundredths of a second: much for a short measurement.
            seconds += max(own / TICKS, _threads_seconds(pid)) + ended / TICKS
        except OSError:
            pass
    return seconds


def _threads_seconds(pid):
    """Time of a process's threads that have not ended, to the nanosecond."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
        except OSError:
            pass
    return total / 1e9


def summed(root, file, field):
    """A field of a file in /proc of each process of the tree, together."""
    total = 0
    for pid in tree(root):
        try:
            with open(f"/proc/{pid}/{file}", encoding="ascii") as lines:
                total += next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
        except (OSError, StopIteration):
            pass  # ended meanwhile
    return total


def written_bytes(root):
    """Bytes that the tree has caused to be written to disks, by children that have ended too."""
    return summed(root, "io", "write_bytes")


def wait_until_at_rest(root, seconds_max=60, share=0.05):
    """Waits until the tree needs hardly any CPU for two seconds in a row: what it does in the background has been done."""
    deadline = time.monotonic() + seconds_max
    quiet = 0
    while quiet < 4 and time.monotonic() < deadline:
        before = cpu_seconds(root)
        time.sleep(0.5)
        quiet = quiet + 1 if cpu_seconds(root) - before < 0.5 * share else 0
    return quiet == 4


def pss_kib(root):
    """Memory of the tree; pages that processes share count once in all."""
    return summed(root, "smaps_rollup", "Pss")


def settled_pss_kib(root, seconds_max=30):
    """The same once it does not change by a hundredth any more: an allocator gives back what it has freed some seconds later."""
    deadline = time.monotonic() + seconds_max
    before = pss_kib(root)
    while True:
        time.sleep(3)
        now = pss_kib(root)
        if abs(now - before) < before / 100 or time.monotonic() > deadline:
            return now
        before = now


def machine():
    """Processors, load, and what an append of 4 KiB with its sync costs now."""
    times = []
    with tempfile.TemporaryFile() as file:
        for _ in range(100):
            os.write(file.fileno(), b"x" * 4096)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    times.sort()
    return (f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, fdatasync median {times[50] * 1e3:.2f} ms, "
            f"p90 {times[90] * 1e3:.2f} ms")
