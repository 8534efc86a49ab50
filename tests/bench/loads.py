"""The loads: the same bytes to whichever server."""
import asyncio
import random
import socket
import time

import processes
import servers

WORDS = ["".join(random.Random(seed).choices("etaoinshrdlucmfwypvbgk", k=2 + seed % 9)) for seed in range(3000)]
FILL_COMMAND = 100


def message(number, size):
    """A text of its own: no two share a line, and it compresses about as mail does."""
    choose = random.Random(number)
    lines = [
        f"From: Sender {number} <sender{number % 97}@remote.test>", "To: someone@bench.test",
        f"Subject: {' '.join(choose.choices(WORDS, k=5))}", "Date: Mon, 23 Nov 2026 10:00:00 +0000",
        f"Message-ID: <{number}.{choose.getrandbits(64):x}@remote.test>", "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8", "",
    ]
    held = sum(len(line) + 2 for line in lines)
    while held < size:
        line = " ".join(choose.choices(WORDS, k=12))
        lines.append(line)
        held += len(line) + 2
    return ("\r\n".join(lines) + "\r\n").encode()


def distinct_messages(count, size, first):
    return [message(first + number, size) for number in range(count)]


async def _expect(reader, code):
    while True:
        line = await reader.readline()
        if not line.startswith(code):
            raise RuntimeError(f"expected {code}, was answered {line!r}")
        if line[3:4] == b" ":
            return


async def deliver(server, mails, sessions):
    """Each mail to one account in turn, over LMTP connections that stay; the seconds that it took."""
    waiting = iter(list(enumerate(mails, 1)))

    async def connect():
        reader, writer = await asyncio.open_connection("127.0.0.1", server.lmtp)
        await _expect(reader, b"220")
        writer.write(b"LHLO bench.test\r\n")
        await _expect(reader, b"250")
        return reader, writer

    async def send(reader, writer):
        for number, mail in waiting:
            recipient = server.user(number).encode()
            writer.write(b"MAIL FROM:<sender@remote.test>\r\nRCPT TO:<" + recipient + b">\r\nDATA\r\n")
            for code in (b"250", b"250", b"354"):
                await _expect(reader, code)
            writer.write(mail + b".\r\n")
            await _expect(reader, b"250")
        writer.write(b"QUIT\r\n")
        writer.close()

    connections = [await connect() for _ in range(sessions)]
    began = time.perf_counter()
    await asyncio.gather(*(send(*connection) for connection in connections))
    return time.perf_counter() - began


class Imap(asyncio.Protocol):
    """One connection that goes through a list of (what to wait for, what to send then)."""

    __slots__ = ("steps", "held", "done", "transport")

    def __init__(self, steps):
        self.steps, self.held, self.transport = list(steps), b"", None
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if not self.steps:
            return
        self.held += data
        awaited, answer = self.steps[0]
        if awaited in self.held:
            self.steps.pop(0)
            self.held = b""
            if answer:
                self.transport.write(answer)
            if not self.steps and not self.done.done():
                self.done.set_result(True)
        elif b" NO " in self.held or b" BAD " in self.held or b"* BYE" in self.held:
            self.fail(RuntimeError(self.held))

    def fail(self, error):
        if not self.done.done():
            self.done.set_exception(error)

    def connection_lost(self, error):
        self.fail(error or ConnectionError("closed"))


async def _connect(server, number, steps):
    login = f"a LOGIN {server.user(number)} {servers.PASSWORD}\r\n".encode()
    steps = [(b"* OK", login), (b"a OK", b"b SELECT INBOX\r\n"), *steps]
    # Several addresses, so that ports do not run out.
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: Imap(steps), "127.0.0.1", server.imap, local_addr=(f"127.0.1.{number % 8 + 1}", 0))
    await asyncio.wait_for(connection.done, 60)
    return connection


async def sessions(server, parallel, seconds):
    """Whole sessions one after the other on so many connections: how many, in how long."""
    began, count = time.perf_counter(), 0

    async def one(first):
        nonlocal count
        number = first
        while time.perf_counter() - began < seconds:
            connection = await _connect(server, number, [(b"b OK", b"c LOGOUT\r\n"), (b"c OK", None)])
            connection.transport.close()
            number += parallel
            count += 1

    await asyncio.gather(*(one(number) for number in range(1, parallel + 1)))
    return count, time.perf_counter() - began


async def idle(server, count):
    """Connections in IDLE: how many are held, and the KiB by which the server has grown."""
    steps = [(b"b OK", b"c IDLE\r\n"), (b"+ ", None)]
    held = [await _connect(server, number, steps) for number in range(1, 21)]  # wakes what starts late
    before = processes.pss_kib(server.pid)
    gate = asyncio.Semaphore(20)

    async def one(number):
        async with gate:
            held.append(await _connect(server, number, steps))

    await asyncio.gather(*(one(number) for number in range(count)))
    await asyncio.sleep(3)  # what was only needed to begin is given back
    grown = processes.pss_kib(server.pid) - before
    for connection in held:
        connection.transport.abort()
    return count, grown


class Lines:
    """A blocking IMAP connection for one command at a time."""

    def __init__(self, server, number):
        self.stream = socket.create_connection(("127.0.0.1", server.imap))
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.stream.makefile("rb", 1 << 20)
        self.file.readline()
        self.command(f"LOGIN {server.user(number)} {servers.PASSWORD}".encode())

    def command(self, line):
        """Sends a command; the lines before its tagged answer."""
        self.stream.sendall(b"x1y2z3 " + line + b"\r\n")
        count = 0
        while not (answer := self.file.readline()).startswith(b"x1y2z3 "):
            if not answer:
                raise ConnectionError("closed")
            count += 1
        if not answer.startswith(b"x1y2z3 OK"):
            raise RuntimeError(answer)
        return count


def fill(server, count):
    """So many small messages in a mailbox of account 1, many with each command (RFC 3502)."""
    lines = Lines(server, 1)
    lines.command(b"CREATE Large")
    for first in range(0, count, FILL_COMMAND):
        mails = distinct_messages(min(FILL_COMMAND, count - first), 600, 10_000_000 + first)
        literals = (b" (\\Seen) {%d+}\r\n%s" % (len(mail), mail) for mail in mails)
        lines.command(b"APPEND Large" + b"".join(literals))


def fetch_flags(server, count, times):
    """Seconds for the flags of the whole mailbox, so many times."""
    lines = Lines(server, 1)
    lines.command(b"SELECT Large")
    began = time.perf_counter()
    answers = sum(lines.command(b"FETCH 1:* (FLAGS)") for _ in range(times))
    seconds = time.perf_counter() - began
    if answers < count * times:
        raise RuntimeError(f"{answers} answers for {times} times {count} messages")
    return seconds
