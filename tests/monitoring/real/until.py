"""Waiting for what must come true."""

import time


def until(what: str, seconds: float, holds, said=lambda: "") -> None:
    """Looks again and again whether something holds, and fails with the reason when it does not in time."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s\n{said()}")
        time.sleep(0.2)
