"""More and more TLS connections in IDLE over three proxies, and what others' commands cost meanwhile."""
import subprocess
import time
import urllib.request

import growth
import loadtester
import processes
import servers

IDLERS = 200
OTHERS = 100
REST_SECONDS = 10
OPEN_SECONDS_MAX = 600
# A process may open so many files, and its connections are its sessions'.
SESSIONS_OF_A_PROCESS = 15_000
# Below, what a connection takes is less than what memory moves by itself.
MEMORY_FROM = 5000
MESSAGE_BYTES = 4096
OPTIONS = ("--mailstores", "1", "--replicas", "1", "--proxies", "3", "--shards", "16")


def measure(wanted, folder, binary):
    axis = growth.Axis("connections", "TLS connections in IDLE, over three proxies", wanted.connections)
    axis.note = (f"`{' '.join(OPTIONS)}`, all processes together; {IDLERS} accounts idle in turn, {OTHERS} others are delivered to and "
                 f"used by 20 sessions of mixed commands, plain. CPU at rest is of all processes, over {REST_SECONDS} s. Memory is what "
                 "the connections since the size before have added, each.")
    servers.ACCOUNTS = IDLERS + OTHERS
    idlers = []
    with servers.Rookery(f"{folder}/connections", binary, options=OPTIONS) as server:
        try:
            warm(server, wanted.seconds)
            for size in axis.sizes:
                print(f"  {size:,} connections", flush=True)
                held = sum(connections(server))
                before = processes.settled_pss_kib(server.pid)
                idlers += open_idlers(server, size - held, wanted.open_rate)
                wait_for(server, size, idlers)
                processes.wait_until_at_rest(server.pid, share=0.2)
                if size - held >= MEMORY_FROM:
                    axis.add("memory a connection (PSS)", "KiB", size,
                             (processes.settled_pss_kib(server.pid) - before) / (size - held))
                for name, unit, value in look(server, wanted.seconds):
                    axis.add(name, unit, size, value)
        finally:
            for idler in idlers:
                idler.kill()
                idler.wait()
    return axis


def described(server, proxy, first, count, more=""):
    """One of the proxies and some of the accounts."""
    return (f"imap={proxy['imap']},imaps={proxy['imaps']},lmtp={proxy['lmtp']},first_account={first},accounts={count},"
            f"account_pattern=user%d@{server.domain},pid={server.pid}{more}")


def open_idlers(server, count, rate):
    """Load testers that hold so many further sessions, a part at each proxy."""
    started = []
    for place, proxy in enumerate(server.proxies):
        left = count // 3 + (place < count % 3)
        while left > 0:
            sessions = min(left, SESSIONS_OF_A_PROCESS)
            left -= sessions
            command = [loadtester.PROGRAM, "idle", "--server",
                       described(server, proxy, 1, IDLERS, ",tls=implicit,tls_unverified=true"), "--sessions", str(sessions),
                       # It is ended when all has been measured.
                       "--seconds", "100000", "--set", "idle.notify_rate=0", "--set", f"open_rate={max(1, rate // 3)}", "--quiet"]
            started.append(subprocess.Popen(command, env=loadtester.environment(), stdout=subprocess.DEVNULL))
    return started


def connections(server):
    """What each proxy says that it holds."""
    for proxy in server.proxies:
        with urllib.request.urlopen(f"http://{proxy['http']}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        yield sum(int(float(line.split()[-1])) for line in lines
                  if line.split("{")[0].split(" ")[0] == "rookery_proxy_imap_connections")


def wait_for(server, count, idlers):
    deadline = time.monotonic() + OPEN_SECONDS_MAX
    while (held := sum(connections(server))) < count:
        if any(idler.poll() is not None for idler in idlers):
            raise SystemExit(f"a load tester ended with {held} of {count} connections open")
        if time.monotonic() > deadline:
            raise SystemExit(f"only {held} of {count} connections opened in {OPEN_SECONDS_MAX} s")
        time.sleep(0.2)


def mixed(server, *arguments):
    return loadtester.alone("mixed commands", "mixed", described(server, server.proxies[0], IDLERS + 1, OTHERS), "--sessions", 20,
                            "--size", MESSAGE_BYTES, *arguments)


def warm(server, seconds):
    """First logins, whose hashing takes memory for a while, and the others' first messages."""
    loadtester.alone("first logins", "login", described(server, server.proxies[0], 1, IDLERS), "--operations", IDLERS)
    mixed(server, "--seconds", seconds)


def look(server, seconds):
    before = processes.cpu_seconds(server.pid)
    time.sleep(REST_SECONDS)
    yield "CPU at rest, of a core", "%", (processes.cpu_seconds(server.pid) - before) / REST_SECONDS * 100
    times = ("--seconds", 3 * seconds, "--warmup", 1)
    figures = mixed(server, *times)
    yield "a mixed command, CPU", "ms", figures["server CPU an operation"]
    yield "a FETCH of the mixed, p50", "ms", figures["fetch p50"]
    figures = loadtester.alone("deliveries", "deliver", described(server, server.proxies[0], IDLERS + 1, OTHERS), "--sessions", 10,
                               "--size", MESSAGE_BYTES, *times)
    yield "a delivery, CPU", "ms", figures["server CPU an operation"]
    yield "a delivery, p50", "ms", figures["deliver p50"]
