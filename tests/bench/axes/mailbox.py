"""One mailbox of more and more messages: each size is INBOX of an account of its own, all in one node."""
import itertools
import statistics
import time

import client
import growth
import mail
import processes
import servers
from axes.repeated import repeated

MESSAGE_BYTES = 1024
APPENDED_AT_ONCE = 200
ROUNDS = 3
# Before a SELECT each.
DELIVERED = 10
# Of what is appended and delivered to measure it, so that no message is one of those that were filled in.
FIRST_NEW = 100_000_000


def measure(wanted, folder, binary):
    axis = growth.Axis("mailbox", "messages in the mailbox", wanted.mailboxes)
    axis.note = (f"Messages of {MESSAGE_BYTES:,} bytes, one client and one session; medians of {ROUNDS} rounds. \"A message\" is the cost "
                 "of a command over all messages, divided by their number.")
    servers.ACCOUNTS = len(axis.sizes)
    mails = mail.Mails(MESSAGE_BYTES)
    with servers.Rookery(f"{folder}/mailbox", binary) as server:
        for number, size in enumerate(axis.sizes, 1):
            print(f"  filling a mailbox of {size:,}", flush=True)
            fill(server, server.user(number), size, mails)
        if not processes.wait_until_at_rest(server.pid):
            print("  the server did not come to rest", flush=True)
        new = itertools.count(FIRST_NEW)
        held = {}
        for _ in range(ROUNDS):
            for number, size in enumerate(axis.sizes, 1):
                for name, per, figures in look(server, server.user(number), size, wanted.seconds, (mails[one] for one in new)):
                    held.setdefault((name, per, size), []).append(figures)
    for (name, per, size), figures in held.items():
        unit, scale = ("µs", 1e3 / size) if per == "message" else ("ms", 1)
        cpu, took = zip(*figures)
        has_cpu = None not in cpu
        if has_cpu:
            axis.add(f"{name}, CPU a {per}", unit, size, statistics.median(cpu) * scale)
        axis.add(f"{name}, p50 a {per}", unit, size, statistics.median(took) * scale, drawn=not has_cpu)
    return axis


def fill(server, login, size, mails):
    with client.Imap(server.imap, login, servers.PASSWORD) as imap:
        for first in range(0, size, APPENDED_AT_ONCE):
            imap.append(b"INBOX", (mails[number] for number in range(first, min(size, first + APPENDED_AT_ONCE))))


def look(server, login, size, seconds, new):
    """Each operation's name, what its cost is told for, and CPU (or None) and time in milliseconds."""
    with client.Imap(server.imap, login, servers.PASSWORD) as imap:
        middle, flag = size // 2, itertools.cycle((b"+", b"-"))
        yield "SELECT", "command", repeated(server, lambda: imap.command(b"SELECT INBOX"), seconds)
        yield "STATUS", "command", repeated(server, lambda: imap.command(b"STATUS INBOX (MESSAGES UIDNEXT UNSEEN)"), seconds)
        last = b"FETCH %d:%d (UID FLAGS ENVELOPE BODYSTRUCTURE)" % (max(1, size - 49), size)
        yield "FETCH of the last 50", "command", repeated(server, lambda: imap.command(last), seconds)
        yield "FETCH 1:* (FLAGS)", "message", repeated(server, lambda: imap.command(b"FETCH 1:* (FLAGS)"), seconds)
        yield "SEARCH SENTSINCE", "message", repeated(server, lambda: imap.command(b"SEARCH SENTSINCE 1-Jan-2030"), seconds)
        yield "STORE of one", "command", repeated(
            server, lambda: imap.command(b"STORE %d %sFLAGS (\\Flagged)" % (middle, next(flag))), seconds)
        yield "APPEND of one, selected", "command", repeated(server, lambda: imap.append(b"INBOX", [next(new)]), seconds)
    with client.Lmtp(server.lmtp) as lmtp:
        yield "LMTP into it", "message delivered", repeated(server, lambda: lmtp.deliver(login, next(new)), seconds)
        with client.Imap(server.imap, login, servers.PASSWORD) as imap:
            yield "SELECT after a delivery", "command", (None, select_after_delivery(imap, lambda: lmtp.deliver(login, next(new))))


def select_after_delivery(imap, deliver):
    """Milliseconds of a SELECT that finds what it did not know, which CPU of the delivery would be mixed up with."""
    took = []
    for _ in range(DELIVERED):
        deliver()
        start = time.perf_counter()
        imap.command(b"SELECT INBOX")
        took.append(time.perf_counter() - start)
    return statistics.median(took) * 1e3
