"""Matching a regular expression for a limited time: some would take years over a short line, `(a+)+$` for one."""

import re
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class TooSlow(Exception):
    """The time was over."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise TooSlow in what runs meanwhile, once so many seconds have passed.

    The `re` module looks for signals as it matches. Only the main thread hears them: elsewhere nothing is limited.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def over(number: int, frame: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, over)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)


def matching(pattern: re.Pattern[str], lines: Iterable[str], seconds: float) -> list[int] | None:
    """The numbers of the lines that match, from 0, ascending; None where it takes longer to look through them."""
    try:
        with at_most(seconds):
            return [index for index, line in enumerate(lines) if pattern.search(line)]
    except TooSlow:
        return None
