"""A program in a terminal of its own, as a measurement needs it: what it writes, how much, when, and what it costs."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from types import TracebackType

from engine.tools.bench_figure import cpu_seconds, resident_mb

SIZE = (120, 40)
"""Columns and lines."""
_READ = 65_536


class Terminal:
    """`python -m MODULE WORDS` in a terminal; a context manager that ends it. What it writes is read as it comes.

    The environment is this one's, without what would change what is drawn or have every start compile anew.
    """

    def __init__(self, folder: Path, *words: str, module: str = "tui.cli", size: tuple[int, int] = SIZE) -> None:
        self._began = time.perf_counter()
        self.bytes = 0
        """Written to the terminal so far."""
        self._unseen = b""
        self._descriptor, terminal = pty.openpty()
        columns, lines = size
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *words],
            cwd=folder,
            env=environment(),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._descriptor)

    # --- what a person does and sees ----------------------------------------------------------------------------------
    def press(self, keys: str) -> None:
        """Type; what was written before counts as seen."""
        self.read(0.0)
        self._unseen = b""
        os.write(self._descriptor, keys.encode())

    def wait_for(self, text: str, seconds: float = 30.0) -> float:
        """Read until the text comes after what was seen; the seconds that it took. Raises TimeoutError."""
        began, wanted = time.perf_counter(), text.encode()
        while wanted not in self._unseen:
            left = seconds - (time.perf_counter() - began)
            if left <= 0:
                raise TimeoutError(f"the application has not shown {text!r} within {seconds:g} s")
            self._read_once(left)
        self._unseen = self._unseen.partition(wanted)[2]
        return time.perf_counter() - began

    def read(self, seconds: float) -> None:
        """Read for so long."""
        until = time.perf_counter() + seconds
        while self._read_once(max(0.0, until - time.perf_counter())):
            pass

    def _read_once(self, seconds: float) -> bool:
        """Read what comes next, waiting so long for it; whether anything came. Raises TimeoutError at the end."""
        if not select.select([self._descriptor], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._descriptor, _READ)
        except OSError:
            data = b""
        if not data:
            raise TimeoutError("the application has ended before it was measured")
        self.bytes += len(data)
        self._unseen = self._unseen[-_READ:] + data
        return True

    def age(self) -> float:
        """The seconds since its process was started."""
        return time.perf_counter() - self._began

    # --- what it costs ------------------------------------------------------------------------------------------------
    def cpu_seconds(self) -> float:
        """Seconds of a core that it has taken so far, to 10 ms."""
        return cpu_seconds(self._process.pid)

    def resident_mb(self) -> float:
        """Megabytes (1e6 bytes) of memory that it has now."""
        return resident_mb(self._process.pid)


def environment() -> dict[str, str]:
    """This one's, for what is measured."""
    given = {name: value for name, value in os.environ.items() if not name.startswith(("BILEVEL_", "TEXTUAL"))}
    for name in ("NO_COLOR", "COLORTERM", "PYTHONDONTWRITEBYTECODE"):
        given.pop(name, None)
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join([root, *filter(None, [given.get("PYTHONPATH")])])
    return {**given, "PYTHONPATH": path, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
