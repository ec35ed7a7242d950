"""A line that says that something takes time: shown after two seconds, renewed in place, gone afterwards."""

import shutil
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

PATIENCE = 2.0
"""Seconds for which a person waits without being told anything."""


class Waiting:
    """While it is open, `what` stands on standard error: with its seconds in a terminal, else once as a line.

    `why` is asked every second what it waits for; where there is no terminal, each new answer is a line.
    """

    def __init__(self, what: str, why: Callable[[], str] = lambda: "") -> None:
        self._what = what
        self._why = why
        self._began = 0.0
        self._shown = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Waiting":
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._show, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join()
        if self._shown and sys.stderr.isatty():
            print("\r" + " " * self._shown + "\r", end="", file=sys.stderr, flush=True)

    def _show(self) -> None:
        if self._stop.wait(PATIENCE):
            return
        if not sys.stderr.isatty():
            self._print_lines()
            return
        while True:
            why = self._why()
            text = f"{self._what} ... {time.monotonic() - self._began:.0f} s" + (f": {why}" if why else "")
            text = text[: max(20, shutil.get_terminal_size().columns - 1)]
            print("\r" + text.ljust(self._shown), end="", file=sys.stderr, flush=True)
            self._shown = max(self._shown, len(text))
            if self._stop.wait(1.0):
                return

    def _print_lines(self) -> None:
        told: str | None = None
        while True:
            why = self._why()
            if why != told:
                print(f"{self._what} ..." + (f": {why}" if why else ""), file=sys.stderr, flush=True)
                told = why
            if self._stop.wait(1.0):
                return
