"""More and more accounts of one node. The node stays: it is stopped, started with further accounts, and measured again."""
import random
import time

import client
import growth
import mail
import processes
import servers
from axes.repeated import repeated

MESSAGE_BYTES = 4096
# Accounts that log in again and again, of all that there are.
WORKING_SET = 100


def measure(wanted, folder, binary):
    axis = growth.Axis("accounts", "accounts", wanted.accounts)
    axis.note = (f"Accounts are made by the admin API in calls of 500, each with the hash of a password; all of a call share one hash, so "
                 f"that no more is hashed than 2 in 1,000. {WORKING_SET} accounts, drawn at random, log in again and again, their first "
                 "logins not counted; deliveries go to accounts drawn at random of all, by one session.")
    made, names, spent = 0, [], 0.0
    for generation, size in enumerate(axis.sizes):
        # A pattern of its own, for the ones that are there are not looked at again.
        pattern = f"g{generation}n%d@{servers.Rookery.domain}"
        servers.ACCOUNTS = size - made
        server = servers.Rookery(f"{folder}/accounts", binary, options=("--single", "--account-pattern", pattern),
                                 start_seconds_max=max(1, wanted.account_seconds - spent))
        print(f"  {servers.ACCOUNTS:,} further accounts", flush=True)
        began = time.monotonic()
        try:
            server.start()
        except servers.NotReady:
            axis.note += f" {size:,} accounts were not made in {wanted.account_seconds:g} seconds and are left out."
            print(f"  {size:,} accounts were not made in time", flush=True)
            break
        spent += time.monotonic() - began
        try:
            axis.add("made, CPU each", "ms", size, processes.cpu_seconds(server.pid) / (size - made) * 1e3)
            names.append((made, pattern))
            made = size
            processes.wait_until_at_rest(server.pid)
            for name, unit, value in look(server, lambda number: address(names, number), size, wanted.seconds):
                axis.add(name, unit, size, value)
        finally:
            server.stop()
    return axis


def address(names, number):
    """Of an account, counted from 0 over all generations."""
    before, pattern = next(one for one in reversed(names) if one[0] <= number)
    return pattern.replace("%d", str(number - before + 1))


def look(server, addressed, count, seconds):
    choose, mails = random.Random(count), mail.Mails(MESSAGE_BYTES)
    yield "memory at rest", "MiB", processes.settled_pss_kib(server.pid) / 1024
    serial = iter(range(count * 1000, count * 1000 + 1_000_000))
    with client.Lmtp(server.lmtp) as lmtp:
        def deliver():
            lmtp.deliver(addressed(choose.randrange(count)), mails[next(serial)])
        cpu, took = repeated(server, deliver, 2 * seconds)
        yield "LMTP to a random account, CPU", "ms", cpu
        yield "LMTP to a random account, p50", "ms", took
    working_set = [addressed(choose.randrange(count)) for _ in range(WORKING_SET)]

    def session(login):
        with client.Imap(server.imap, login, servers.PASSWORD) as imap:
            imap.command(b"SELECT INBOX")
            imap.command(b"LOGOUT")

    for login in working_set:
        session(login)
    cpu, took = repeated(server, lambda: session(choose.choice(working_set)), 2 * seconds)
    yield "LOGIN, SELECT, LOGOUT, CPU", "ms", cpu
    yield "LOGIN, SELECT, LOGOUT, p50", "ms", took
