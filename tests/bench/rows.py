"""What is measured of two servers, each by one run of the load tester, and what is aimed at."""
import statistics

RATE = "operations"
CPU = "server CPU an operation"
MEMORY = "server memory a session (PSS)"

# Of each message in the large mailbox.
BIG_BYTES = 4096
# The rate with one message a sync, when a sync takes 4 ms, is 99/s; twenty times that is wished of 20 that are sent at once.
APPEND_MANY = 20 * 99


class Figure:
    """One line of the table: a figure of a run, and what it should be.

    `faster`: at least so many times the other's (of a rate), `ratio_most`: at most so many times the other's; `most`, `least`: at most or
    at least so much, in the figure's own unit. With `amount` the figure is that much by the second, where the run tells milliseconds.
    """

    def __init__(self, what, name, unit, faster=None, ratio_most=None, most=None, least=None, amount=None):
        self.what, self.name, self.unit, self.amount = what, name, unit, amount
        self.faster, self.ratio_most, self.most, self.least = faster, ratio_most, most, least

    def aim(self):
        aims = ((self.faster, "≥ {:,g} x"), (self.ratio_most, "≤ {:,g} x"), (self.most, "≤ {:,g} " + self.unit),
                (self.least, "≥ {:,g} " + self.unit))
        return next((text.format(aim) for aim, text in aims if aim is not None), "")

    def is_met(self, ours, ratio):
        if self.faster is not None:
            return ratio is not None and ratio >= self.faster
        if self.ratio_most is not None:
            return ratio is not None and ratio <= self.ratio_most
        if self.most is not None:
            return ours <= self.most
        return ours >= self.least if self.least is not None else None

    def of(self, held):
        """What is told of a run's figure: both servers' values, and the ratio."""
        if self.amount is None:
            return held
        # The least time is the highest rate.
        told = [{name: self.amount / value[of] * 1e3 for name, of in (("median", "median"), ("min", "max"), ("max", "min"))}
                for value in held["servers"]]
        return {"servers": told, "ratio": {"median": told[1]["median"] / told[0]["median"]}}


def beside(theirs, ours):
    """A figure that was not taken by the load tester, as it would tell it; each of both is one value or those of the rounds."""
    servers = []
    for values in (theirs, ours):
        values = values if isinstance(values, list) else [values]
        servers.append({"median": statistics.median(values), "min": min(values), "max": max(values)})
    ratio = servers[1]["median"] / servers[0]["median"] if servers[0]["median"] else None
    return {"servers": servers, "ratio": ratio and {"median": ratio}}


class Row:
    """A run: the load tester's arguments, what differs in the description of both servers, and its figures."""

    def __init__(self, group, title, arguments, figures, server=""):
        self.group, self.title, self.arguments, self.figures, self.server = group, title, arguments, figures, server


def _rate(faster=None):
    return Figure("rate", RATE, "/s", faster=faster)


def _cpu(most=None, ratio_most=None):
    return Figure("CPU an operation", CPU, "ms", most=most, ratio_most=ratio_most)


def delivery(size, sessions, faster=None, most=None, title="LMTP", server=""):
    kib = size // 1024
    arguments = ["deliver", "--sessions", str(sessions), "--size", str(size)]
    of = "session" if sessions == 1 else "sessions"
    return Row("deliver", f"{title}, {kib} KiB, {sessions} {of}", arguments, [_rate(faster), _cpu(most)], server)


def append(sessions, batch=1, pipelined=1, least=None):
    how = f"of {batch} with each command" if batch > 1 else f"{pipelined} pipelined" if pipelined > 1 else "one by one"
    of = "session" if sessions == 1 else "sessions"
    arguments = ["append", "--sessions", str(sessions), "--set", f"append.batch={batch}", "--set", f"append.pipelined={pipelined}"]
    return Row("append", f"APPEND {how}, 10 KiB, {sessions} {of}", arguments, [Figure("rate", RATE, "/s", least=least), _cpu()])


def login(title, most=None, server=""):
    return Row("login", f"LOGIN, SELECT, LOGOUT, 50 at a time, {title}", ["login", "--sessions", "50"],
               [_rate(), _cpu(most)], server)


def mixed(most=None, ratio_most=None, group="mixed", title="mixed commands, 100 sessions"):
    return Row(group, title, ["mixed"], [_rate(), _cpu(most, ratio_most)])


def idling(count, title, most=None, server=""):
    # Long enough for Dovecot's to be asleep.
    arguments = ["idle", "--sessions", str(count), "--set", "idle.notify_rate=0", "--set", "idle.settle_seconds=9",
                 "--seconds", "1", "--rounds", "1"]
    return Row("idle", f"{count} sessions in IDLE, {title}", arguments,
               [Figure("memory each (PSS)", MEMORY, "KiB", most=most)], server)


def big_mailbox(messages):
    def took(operation, most=None):
        return Figure(operation, f"{operation} p50", "ms", most=most)

    # Aims are for 100,000 messages; they are taken in proportion.
    part = messages / 100_000
    arguments = ["big-mailbox", "--rounds", "1", "--size", str(BIG_BYTES), "--set", f"big_mailbox.messages={messages}"]
    return Row("mailbox", f"A mailbox of {messages:,} messages of 4 KiB", arguments, [
        took("select", 0.3), took("fetch flags", 40 * part), took("fetch sizes", 120 * part),
        took("fetch envelopes", 250 * part), took("fetch structures", 150 * part), took("fetch last 50"),
        took("fetch bodies"), Figure("fetch bodies", "fetch bodies p50", "MB/s", least=1000, amount=messages * BIG_BYTES / 1e6),
        took("search flags"), took("search from"), took("search subject"), took("search since"),
        took("search body"), took("search text"), took("copy"), took("store"),
        took("expunge half"), took("delete mailbox"), Figure("filled", "mailbox filled", "messages/s"),
    ])


# Of three mailstores, with one replica of each shard and with three.
CLUSTER = [
    Row("cluster", f"3 mailstores, LMTP, 10 KiB, {sessions} sessions", ["deliver", "--sessions", str(sessions), "--size", "10240"],
        [_rate(0.45), _cpu()])
    for sessions in (10, 50)
] + [mixed(group="cluster", title="3 mailstores, mixed commands, 100 sessions")]

# Of one process with all roles, and of a process for each.
TRANSPORT = [mixed(ratio_most=1.6, group="transport")]

TLS = ",tls=implicit,tls_unverified=true"


def rows(accounts, idle, messages):
    """All runs, in their order; of so many accounts, so many idle sessions, so many messages in the large mailbox."""
    first = ["login", "--sessions", "50", "--operations", str(accounts), "--rounds", "1"]
    return [
        delivery(10240, 1, 2), delivery(10240, 10, 5, 0.2), delivery(10240, 50, 5, 0.2), delivery(10240, 100, 5, 0.2),
        delivery(102400, 50, 4), delivery(10240, 10, 5, title="LMTP to one mailbox", server=",accounts=1"),
        append(1), append(50), append(1, pipelined=20, least=APPEND_MANY), append(10, pipelined=20, least=APPEND_MANY),
        append(1, batch=20), append(10, batch=20),
        Row("login", "the first LOGIN of each account, SELECT, LOGOUT", first, [_rate(), _cpu()]),
        login("plain", 0.2), login("TLS, full handshakes", 0.42, TLS),
        mixed(0.06),
        idling(idle, "plain", 8), idling(idle, "TLS", 20, TLS),
        big_mailbox(messages),
    ]
