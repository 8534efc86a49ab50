"""The first commands after a restart with nothing in memory: the server's caches are empty, and so is the system's page cache."""
import subprocess
import time

import client
import mail
import processes
import servers
from rows import Figure, Row, beside

MESSAGE_BYTES = 4096
APPENDED_AT_ONCE = 100
ROUNDS = 3
PER = 100_000


def measure(pair, wanted):
    count = wanted.mailbox
    servers.ACCOUNTS = min(10, wanted.accounts)
    mails = mail.Mails(MESSAGE_BYTES)
    for server in pair:
        # What is filled in is read after a restart: whether it was synced meanwhile changes nothing but how long that takes.
        server.fsync = "never"
        with server, connected(server) as imap:
            for first in range(0, count, APPENDED_AT_ONCE):
                imap.append(b"INBOX", (mails[number] for number in range(first, min(count, first + APPENDED_AT_ONCE))))
            processes.wait_until_at_rest(server.pid)
        server.fsync = servers.Dovecot.FSYNC
    took = {}
    for _ in range(ROUNDS):
        for server in pair:
            for name, value in look(server, count):
                took.setdefault(name, {}).setdefault(server.name, []).append(value)
    told = {name: beside(*(values[server.name] for server in pair)) for name, values in took.items()}
    servers.ACCOUNTS = wanted.accounts
    yield Row("cold", f"A mailbox of {count:,} messages of 4 KiB, after a restart and without the page cache", [], [
        Figure("select", "select", "ms", most=3), Figure(f"first envelopes, of {PER:,}", "envelopes", "s", most=0.4),
        Figure("fetch bodies", "bodies", "MB/s", least=250)]), told


def connected(server):
    return client.Imap(server.imap, server.user(1), servers.PASSWORD)


def look(server, count):
    """Each command in a server that was just started: one reads what the next would need."""
    with started(server) as imap:
        yield "select", timed(imap, b"SELECT INBOX")[0] * 1e3
    with started(server, b"SELECT INBOX") as imap:
        yield "envelopes", timed(imap, b"FETCH 1:* (UID ENVELOPE)", count)[0] / count * PER
    with started(server, b"SELECT INBOX") as imap:
        seconds, read = timed(imap, b"FETCH 1:* (BODY.PEEK[])", count)
        yield "bodies", read / seconds / 1e6


def timed(imap, command, at_least=1):
    began = time.perf_counter()
    answers, literals = imap.command(command)
    took = time.perf_counter() - began
    if answers < at_least:
        raise RuntimeError(f"{command}: {answers} answers of {at_least}")
    return took, literals


class started:
    """A session in a server that was started for it, after the given commands."""

    def __init__(self, server, *commands):
        self.server, self.commands = server, commands

    def __enter__(self):
        self.server.start()
        processes.wait_until_at_rest(self.server.pid)
        self.imap = connected(self.server)
        drop_page_cache()
        for command in self.commands:
            self.imap.command(command)
        return self.imap

    def __exit__(self, *_):
        self.imap.close()
        self.server.stop()


def drop_page_cache():
    subprocess.run(["sync"], check=True)
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("3\n")
