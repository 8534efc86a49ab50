"""What is measured beside Dovecot, each by one run of the load tester, and what is aimed at."""

RATE = "operations"
CPU = "server CPU an operation"
MEMORY = "server memory a session (PSS)"


class Figure:
    """One line of the table: a figure of a run, and what it should be.

    `faster`: at least so many times the other's (of a rate), `most`: at most so much, in the figure's own unit.
    """

    def __init__(self, what, name, unit, faster=None, most=None, digits=3):
        self.what, self.name, self.unit = what, name, unit
        self.faster, self.most, self.digits = faster, most, digits

    def aim(self):
        if self.faster:
            return f"≥ {self.faster:g} x"
        return f"≤ {self.most:g} {self.unit}" if self.most else ""

    def is_met(self, ours, ratio):
        if self.faster:
            return ratio is not None and ratio >= self.faster
        return ours <= self.most if self.most else None


class Row:
    """A run: the load tester's arguments, what differs in the description of both servers, and its figures."""

    def __init__(self, group, title, arguments, figures, server=""):
        self.group, self.title, self.arguments, self.figures, self.server = group, title, arguments, figures, server


def _rate(faster=None):
    return Figure("rate", RATE, "/s", faster=faster)


def _cpu(most=None):
    return Figure("CPU an operation", CPU, "ms", most=most)


def _delivery(size, sessions, faster, most=None, title="LMTP", server=""):
    kib = size // 1024
    arguments = ["deliver", "--sessions", str(sessions), "--size", str(size)]
    of = "session" if sessions == 1 else "sessions"
    return Row("deliver", f"{title}, {kib} KiB, {sessions} {of}", arguments, [_rate(faster), _cpu(most)], server)


def _login(title, most, server=""):
    return Row("login", f"LOGIN, SELECT, LOGOUT, 50 at a time, {title}", ["login", "--sessions", "50"],
               [_rate(), _cpu(most)], server)


def _idle(count, title, most, server=""):
    # Long enough for Dovecot's to be asleep.
    arguments = ["idle", "--sessions", str(count), "--set", "idle.notify_rate=0", "--set", "idle.settle_seconds=9",
                 "--seconds", "1", "--rounds", "1"]
    return Row("idle", f"{count} sessions in IDLE, {title}", arguments,
               [Figure("memory each (PSS)", MEMORY, "KiB", most=most)], server)


def _big(messages):
    def took(operation, most=None):
        return Figure(operation, f"{operation} p50", "ms", most=most)

    # Aims are for 100,000 messages; they are taken in proportion.
    part = messages / 100_000
    arguments = ["big-mailbox", "--rounds", "1", "--set", f"big_mailbox.messages={messages}"]
    return Row("mailbox", f"A mailbox of {messages:,} messages of 4 KiB", arguments, [
        took("select", 0.3), took("fetch flags", 40 * part), took("fetch sizes", 120 * part),
        took("fetch envelopes", 250 * part), took("fetch structures", 150 * part), took("fetch last 50"),
        took("fetch bodies"), took("search flags"), took("search from"), took("search subject"),
        took("search since"), took("search body"), took("search text"), took("copy"), took("store"),
        took("expunge half"), took("delete mailbox"), Figure("filled", "mailbox filled", "messages/s"),
    ])


# Of three mailstores, with one replica of each shard and with three.
CLUSTER = [
    Row("cluster", f"3 mailstores, LMTP, 10 KiB, {sessions} sessions", ["deliver", "--sessions", str(sessions), "--size", "10240"],
        [_rate(0.45), _cpu()])
    for sessions in (10, 50)
] + [Row("cluster", "3 mailstores, mixed commands, 100 sessions", ["mixed"], [_rate(), _cpu()])]

TLS = ",tls=implicit,tls_unverified=true"


def rows(accounts, idle, messages):
    """All runs, in their order; of so many accounts, so many idle sessions, so many messages in the large mailbox."""
    first = ["login", "--sessions", "50", "--operations", str(accounts), "--rounds", "1"]
    return [
        _delivery(10240, 1, 2), _delivery(10240, 10, 5, 0.2), _delivery(10240, 50, 5, 0.2), _delivery(10240, 100, 5, 0.2),
        _delivery(102400, 50, 4), _delivery(10240, 10, 5, title="LMTP to one mailbox", server=",accounts=1"),
        Row("append", "APPEND one by one, 10 KiB, 1 session", ["append", "--sessions", "1"], [_rate(), _cpu()]),
        Row("append", "APPEND one by one, 10 KiB, 50 sessions", ["append", "--sessions", "50"], [_rate(), _cpu()]),
        Row("login", "the first LOGIN of each account, SELECT, LOGOUT", first, [_rate(), _cpu()]),
        _login("plain", 0.2), _login("TLS, full handshakes", 0.42, TLS),
        Row("mixed", "mixed commands, 100 sessions", ["mixed"], [_rate(), _cpu(0.06)]),
        _idle(idle, "plain", 8), _idle(idle, "TLS", 20, TLS),
        _big(messages),
    ]
