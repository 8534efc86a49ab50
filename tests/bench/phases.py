"""What is measured, and the table of it."""
import asyncio
import json
import resource
import statistics

import loads
import processes

# FETCHes of a round: one is shorter than the clock in which the kernel counts CPU.
FETCHES = 50



def add_arguments(parser):
    """The options of the phases."""
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--sessions", default="1,10,50")
    parser.add_argument("--size", type=int, default=10240)
    parser.add_argument("--login-seconds", type=float, default=4)
    parser.add_argument("--login-parallel", type=int, default=20)
    parser.add_argument("--idle", type=int, default=1000)
    parser.add_argument("--mailbox", type=int, default=20000)
    parser.add_argument("--only", default="deliver,login,idle,fetch")
    parser.add_argument("--json")


class Table:
    """Figures by row and server, printed side by side."""

    def __init__(self):
        self.rows = {}

    def add(self, row, server, value):
        self.rows.setdefault(row, {}).setdefault(server, []).append(value)

    def show(self, names):
        """A column for each name, and each one's ratio to the first."""
        first, *others = names
        ratios = "".join(f" {name + ' / ' + first:>20}" for name in others)
        print(f"\n{'':42}" + "".join(f" {name:>12}" for name in names) + ratios)
        for row, values in self.rows.items():
            medians = [statistics.median(values[name]) for name in names]
            spread = [f"{min(values[name]):.6g}-{max(values[name]):.6g}" for name in names]
            line = f"{row:42}" + "".join(f" {median:12.6g}" for median in medians)
            line += "".join(f" {f'{median / medians[0]:.3g}' if medians[0] else '-':>20}" for median in medians[1:])
            print(f"{line}   ({'; '.join(spread)})")


def measured(server, work):
    """Runs a load; its answer and the server's CPU seconds meanwhile."""
    before = processes.cpu_seconds(server.pid)
    answer = asyncio.run(work)
    return answer, processes.cpu_seconds(server.pid) - before


def deliver(table, all_servers, wanted):
    serial = 0
    for sessions in map(int, wanted.sessions.split(",")):
        count = min(wanted.messages, 200 * sessions)
        for turn in range(wanted.rounds + 1):
            for server in all_servers:
                mails = loads.distinct_messages(count, wanted.size, serial)
                serial += count
                seconds, cpu = measured(server, loads.deliver(server, mails, sessions))
                if turn:  # the first round warms both
                    table.add(f"LMTP {wanted.size} B, {sessions} sessions: messages/s", server.name, count / seconds)
                    table.add(f"  server CPU, ms/message ({sessions})", server.name, cpu / count * 1e3)


def login(table, all_servers, wanted):
    for turn in range(wanted.rounds + 1):
        for server in all_servers:
            work = loads.sessions(server, wanted.login_parallel, wanted.login_seconds if turn else 1)
            (done, seconds), cpu = measured(server, work)
            if turn:
                table.add("LOGIN, SELECT, LOGOUT: sessions/s", server.name, done / seconds)
                table.add("  server CPU, ms/session", server.name, cpu / done * 1e3)


def idle(table, all_servers, wanted):
    for server in all_servers:
        held, grown = asyncio.run(loads.idle(server, wanted.idle))
        table.add(f"{wanted.idle} connections in IDLE: KiB (PSS) each", server.name, grown / held)


def fetch(table, all_servers, wanted):
    for server in all_servers:
        loads.fill(server, wanted.mailbox)
    for turn in range(wanted.rounds + 1):
        for server in all_servers:
            before = processes.cpu_seconds(server.pid)
            seconds = loads.fetch_flags(server, wanted.mailbox, FETCHES)
            cpu = processes.cpu_seconds(server.pid) - before
            count = wanted.mailbox * FETCHES
            if turn:
                table.add(f"FETCH 1:* (FLAGS) of {wanted.mailbox}: messages/s", server.name, count / seconds)
                table.add("  server CPU, us/message", server.name, cpu / count * 1e6)


PHASES = {"deliver": deliver, "login": login, "idle": idle, "fetch": fetch}


def run(all_servers, wanted):
    """All wanted phases on servers that run, in turn; prints the table."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    table = Table()
    for server in all_servers:
        print(f"{server.name}: {server.about}", flush=True)
    for name in wanted.only.split(","):
        print(f"measuring {name}", flush=True)
        PHASES[name](table, all_servers, wanted)
    table.show([server.name for server in all_servers])
    print("\n" + processes.machine())
    if wanted.json:
        with open(wanted.json, "w", encoding="utf-8") as file:
            json.dump(table.rows, file, indent=1)
