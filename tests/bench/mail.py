"""Small messages that are made at once: each its own header and first line, and one text from a few, so that a million
take seconds to write. Where bytes on the disk count, the load tester's texts are the ones to send."""
import random

WORDS = ["".join(random.Random(seed).choices("etaoinshrdlucmfwypvbgk", k=2 + seed % 9)) for seed in range(3000)]
TEXTS = 64
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def _text(number, size):
    choose = random.Random(number)
    lines, held = [], 0
    while held < size:
        lines.append(" ".join(choose.choices(WORDS, k=12)))
        held += len(lines[-1]) + 2
    return "\r\n".join(lines) + "\r\n"


class Mails:
    """Messages of about so many bytes, counted from 0."""

    HEADER_BYTES = 360

    def __init__(self, size):
        self.texts = [_text(number, size - self.HEADER_BYTES) for number in range(TEXTS)]

    def __getitem__(self, number):
        day, month = number % 28 + 1, MONTHS[number // 28 % 12]
        return (f"From: Sender {number % 97} <sender{number % 97}@remote.test>\r\nTo: someone@example.test\r\n"
                f"Subject: {WORDS[number % 3000]} of {number}\r\nDate: {day} {month} 2025 10:00:00 +0000\r\n"
                f"Message-ID: <{number}.bench@remote.test>\r\nMIME-Version: 1.0\r\n"
                f"Content-Type: text/plain; charset=utf-8\r\n\r\nThis is message {number}.\r\n{self.texts[number % TEXTS]}").encode()
