"""Mail clients: some that do what they should, and some that do not."""

import contextlib
import http.client
import imaplib
import smtplib
import socket
import ssl
import threading

PASSWORD = "playground"


def send(address: tuple[str, int], recipient: str, subject: str) -> int:
    """Sends a message; the code that its recipient or its text was answered with."""
    with smtplib.SMTP(*address, timeout=60) as client:
        client.ehlo()
        client.mail("sender@remote.test")
        code, _ = client.rcpt(recipient)
        if code == 250:
            code, _ = client.data(f"Subject: {subject}\r\n\r\nText\r\n")
        return code


def search(address: tuple[str, int], account: str) -> None:
    """Logs in over TLS and looks for something; IDLE is not among what this client can."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with imaplib.IMAP4_SSL(*address, ssl_context=context, timeout=60) as client:
        client.login(account, PASSWORD)
        client.select()
        client.search(None, "TEXT", "Text")


def submit_wrongly(address: tuple[str, int], account: str, password: str) -> None:
    """Logs in to submission with a wrong password."""
    with smtplib.SMTP(*address, timeout=60) as client:
        try:
            client.login(account, password)
        except smtplib.SMTPAuthenticationError:
            return
        raise AssertionError("a wrong password was taken")


def log_in_wrongly(address: tuple[str, int], account: str, password: str) -> None:
    """Logs in to IMAP with a wrong password, once."""
    with contextlib.closing(socket.create_connection(address, timeout=60)) as connection:
        reader = connection.makefile("rb")
        reader.readline()
        connection.sendall(f"a LOGIN {account} {password}\r\n".encode())
        answer = reader.readline()
    if not answer.startswith(b"a NO"):
        raise AssertionError(f"a wrong password was answered {answer!r}")


def talk_nonsense(imap_address: tuple[str, int], smtp_address: tuple[str, int]) -> None:
    """Commands that there are not."""
    for address, line in ((imap_address, b"a NONSENSE\r\n"), (smtp_address, b"NONSENSE\r\n")):
        with contextlib.closing(socket.create_connection(address, timeout=60)) as connection:
            reader = connection.makefile("rb")
            reader.readline()
            connection.sendall(line)
            reader.readline()


def break_handshake(address: tuple[str, int]) -> None:
    """No TLS where TLS is spoken."""
    with contextlib.closing(socket.create_connection(address, timeout=60)) as connection:
        connection.sendall(b"a LOGIN\r\n" * 10)
        with contextlib.suppress(ConnectionError):
            while connection.recv(4096):
                pass


def ask_for_nothing(address: str) -> None:
    """Asks an HTTP endpoint for what is not there."""
    with contextlib.closing(http.client.HTTPConnection(address, timeout=60)) as connection:
        connection.request("GET", "/nothing")
        status = connection.getresponse().status
    if status != 404:
        raise AssertionError(f"what is not there was answered {status}")


@contextlib.contextmanager
def many(address: tuple[str, int], count: int):
    """Connections that are held open; those that were refused are among them."""
    with contextlib.ExitStack() as held:
        for _ in range(count):
            held.enter_context(contextlib.closing(socket.create_connection(address, timeout=60)))
        yield


def knock(address: tuple[str, int], count: int) -> None:
    """Connects so often, and goes."""
    with many(address, count):
        pass


@contextlib.contextmanager
def again_and_again(count: int, act):
    """So many clients, each of which does something again and again until the block ends. The first that goes wrong is told then."""
    stop, failed = threading.Event(), []

    def live() -> None:
        while not stop.is_set() and not failed:
            try:
                act()
            except (OSError, smtplib.SMTPException, AssertionError) as error:
                failed.append(error)
            # A client's pause: the machine has other work.
            stop.wait(0.1)

    threads = [threading.Thread(target=live) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if failed:
        raise AssertionError(f"a client went wrong: {failed[0]!r}")
