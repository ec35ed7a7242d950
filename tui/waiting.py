"""A line that says that something takes time: shown after two seconds, renewed in place, gone afterwards."""

import sys
import threading
import time
from types import TracebackType

PATIENCE = 2.0
"""Seconds for which a person waits without being told anything."""


class Waiting:
    """While it is open, `what` stands on standard error: with its seconds in a terminal, else once as a line."""

    def __init__(self, what: str) -> None:
        self._what = what
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
            print(f"{self._what} ...", file=sys.stderr, flush=True)
            return
        while True:
            text = f"{self._what} ... {time.monotonic() - self._began:.0f} s"
            self._shown = len(text)
            print("\r" + text, end="", file=sys.stderr, flush=True)
            if self._stop.wait(1.0):
                return
