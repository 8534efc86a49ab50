"""Clients that do one thing after the other: IMAP and LMTP, plain, over one connection each."""
import socket

RECEIVED_AT_ONCE = 1 << 20


class Connection:
    def __init__(self, port):
        self.stream = socket.create_connection(("127.0.0.1", port))
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.stream.makefile("rb", RECEIVED_AT_ONCE)

    def line(self):
        line = self.file.readline()
        if not line:
            raise ConnectionError("closed")
        return line

    def close(self):
        self.file.close()
        self.stream.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Imap(Connection):
    """Logged in from the start."""

    TAG = b"x1y2z3 "

    def __init__(self, port, login, password):
        super().__init__(port)
        self.line()
        self.command(f"LOGIN {login} {password}".encode())

    def command(self, line):
        """Sends a command; how many lines came before its tagged answer, and the bytes of their literals."""
        self.stream.sendall(self.TAG + line + b"\r\n")
        return self.answered()

    def answered(self):
        count = literals = 0
        while not (answer := self.line()).startswith(self.TAG):
            count += 1
            while answer.endswith(b"}\r\n"):
                size = int(answer[answer.rindex(b"{") + 1:-3])
                literals += size
                if len(self.file.read(size)) < size:
                    raise ConnectionError("closed within a literal")
                answer = self.line()
        if not answer.startswith(self.TAG + b"OK"):
            raise RuntimeError(answer)
        return count, literals

    def append(self, mailbox, mails):
        """Many with one command (RFC 3502), literals without waiting (RFC 7888)."""
        literals = (b" (\\Seen) {%d+}\r\n%s" % (len(mail), mail) for mail in mails)
        return self.command(b"APPEND " + mailbox + b"".join(literals))


class Lmtp(Connection):
    def __init__(self, port):
        super().__init__(port)
        self.expect(b"220")
        self.send(b"LHLO bench.test\r\n", b"250")

    def expect(self, code):
        while True:
            line = self.line()
            if not line.startswith(code):
                raise RuntimeError(f"expected {code}, was answered {line!r}")
            if line[3:4] == b" ":
                return

    def send(self, data, *codes):
        self.stream.sendall(data)
        for code in codes:
            self.expect(code)

    def deliver(self, recipient, mail):
        """A mail, of which no line may begin with a dot."""
        self.send(b"MAIL FROM:<sender@remote.test>\r\nRCPT TO:<" + recipient.encode() + b">\r\nDATA\r\n", b"250", b"250", b"354")
        self.send(mail + b".\r\n", b"250")
