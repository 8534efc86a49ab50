"""Mail clients of the local run: senders that remember what was acknowledged, and readers."""

import collections
import imaplib
import smtplib
import ssl
import threading

PASSWORD = "correct horse battery"


def message(subject: str) -> str:
    return f"From: sender@example.net\r\nSubject: {subject}\r\n\r\nText of {subject}\r\n"


def send(pod, protocol: str, recipient: str, subject: str) -> None:
    """Sends one message; it is stored when this returns."""
    client = {"smtp": smtplib.SMTP, "lmtp": smtplib.LMTP}[protocol]
    with client(pod.address, pod.ports[protocol], timeout=30) as connection:
        connection.sendmail("sender@example.net", [recipient], message(subject))


def log_in(pod, account: str, ca) -> imaplib.IMAP4_SSL:
    """An IMAP session over TLS, at a server that has a certificate of the CA."""
    context = ssl.create_default_context(cafile=str(ca))
    # The name in the certificate leads to the load balancer, not to one proxy.
    context.check_hostname = False
    session = imaplib.IMAP4_SSL(pod.address, pod.ports["imaps"], ssl_context=context, timeout=30)
    session.login(account, PASSWORD)
    return session


def subjects(session: imaplib.IMAP4) -> collections.Counter:
    """How often each subject is in the inbox."""
    session.select("INBOX", readonly=True)
    _, answer = session.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    texts = (part[1].decode().strip() for part in answer if isinstance(part, tuple))
    return collections.Counter(text.partition(": ")[2] for text in texts)


class Traffic:
    """Senders that send until they are stopped, each to one account, over the proxies in turn."""

    def __init__(self, proxies: list, accounts: list[str], run: str):
        self.acknowledged: dict[str, set[str]] = {account: set() for account in accounts}
        self.refused: list[str] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=(proxies, account, f"{run}-{number}"))
            for number, account in enumerate(accounts)
        ]
        for thread in self._threads:
            thread.start()

    def _send(self, proxies: list, account: str, run: str) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            subject = f"{run}-{number}"
            protocol = "lmtp" if number % 3 else "smtp"
            try:
                send(proxies[number % len(proxies)], protocol, account, subject)
                self.acknowledged[account].add(subject)
            except (OSError, smtplib.SMTPException) as error:
                self.refused.append(f"{subject}: {error!r}")
            # A sender's pause: the machine has other work.
            self._stop.wait(0.1)

    def stop(self) -> int:
        """Ends it; how many messages were acknowledged."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=60)
        return sum(len(held) for held in self.acknowledged.values())
