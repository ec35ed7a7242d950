"""`bilevel` in a window of tmux, as a person over SSH has it: keys are sent, and what the window shows is captured.

with Window(folder, "attach", size=(120, 40)) as window:
    window.wait("1 Trials").keys("i").wait("waits for a decision")
    window.keys("Enter")                    # by tmux's names; of letters several at once
    window.drop()                           # the window and the terminal in it are gone
"""

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import pytest
from terminal import environment

TMUX = shutil.which("tmux")
needs_tmux = pytest.mark.skipif(TMUX is None, reason="tmux is not installed: `apt install tmux`, or your system's way")


class Window:
    """`bilevel WORDS` in a window of a tmux server of its own, in the directory `folder`. A context manager."""

    def __init__(self, folder: Path, *words: str, size: tuple[int, int] = (120, 40)) -> None:
        self._server = f"bilevel-{uuid.uuid4().hex[:8]}"
        command = shlex.join([sys.executable, "-m", "tui.cli", *words])
        where = ["-x", str(size[0]), "-y", str(size[1]), "-c", str(folder)]
        self._tmux("-f", os.devnull, "new-session", "-d", *where, f"exec {command}")
        self.pid = int(self._tmux("display-message", "-p", "#{pane_pid}"))
        """The viewer's process."""

    def text(self) -> str:
        """What the window shows."""
        return "\n".join(line.rstrip() for line in self._tmux("capture-pane", "-p").splitlines())

    def keys(self, *keys: str) -> "Window":
        """Press keys."""
        self._tmux("send-keys", *keys)
        return self

    def wait(self, condition: str | Callable[[], object], seconds: float = 30.0) -> "Window":
        """Look until a text stands there or a condition holds; AssertionError with what is shown otherwise."""
        holds = (lambda: condition in self.text()) if isinstance(condition, str) else condition
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:g} s: {condition!r}\n{self.text()}")
            time.sleep(0.05)
        return self

    def drop(self) -> None:
        """Take the window away, with the terminal that the viewer has."""
        self._tmux("kill-server")

    def _tmux(self, *words: str) -> str:
        assert TMUX is not None
        given = {**environment(), "TMUX": ""}
        found = subprocess.run([TMUX, "-L", self._server, *words], env=given, capture_output=True, text=True)
        if found.returncode:
            raise AssertionError(f"tmux {words[0]}: {found.stderr.strip()}")
        return found.stdout

    def __enter__(self) -> "Window":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with contextlib.suppress(AssertionError):
            self.drop()
