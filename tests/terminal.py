"""`bilevel` in a true terminal: a pty of a given size, the screen that its output makes, keys, and the loss of both.

    with Terminal(folder, "attach", "last", size=(120, 40)) as terminal:
        terminal.wait("1 Trials")                       # a text on the screen, or a condition; raises with the screen
        terminal.keys("3", "down", "f")                 # one at a time, as a person types them
        terminal.write("look at the batch").keys("enter")
        terminal.resize(80, 24)
        terminal.wait(lambda: view(db).frozen)          # a condition that has nothing to do with the screen
        terminal.keys("q")
        assert terminal.exit_code() == 0
        assert "goes on" in terminal.text()             # the screen is the shell's again: `terminal.full` is False

Nothing sleeps: `wait` reads what comes until the condition holds. The screen is read only then, so a condition that
looks at `text()` sees what has been drawn so far. `hang_up` takes the terminal away as a lost connection does; a
signal goes to `terminal.pid`. Whatever the test does, the process is gone when the `with` ends; engines are another's
affair (fast_sessions.engine_of).
"""

import contextlib
import os
import re
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import pexpect
import pyte

ROOT = Path(__file__).parents[1]
KEYS = {
    "enter": "\r",
    "escape": "\x1b",
    "tab": "\t",
    "shift+tab": "\x1b[Z",
    "backspace": "\x7f",
    "space": " ",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
    "home": "\x1b[H",
    "end": "\x1b[F",
    "pageup": "\x1b[5~",
    "pagedown": "\x1b[6~",
    "ctrl+c": "\x03",
    "ctrl+p": "\x10",
    "ctrl+q": "\x11",
    "ctrl+z": "\x1a",
}
_FULL = re.compile("\x1b\\[\\?1049([hl])")
"""To the screen of an application, and back to the one of the shell."""
_FOREIGN = re.compile("\x1b\\[[<>=][0-9;]*[a-zA-Z]|\x1b\\[\\?[0-9;]*\\$p|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)")
"""Keyboard protocols, questions to the terminal, titles: pyte would draw them."""
_BEGUN = re.compile("\x1b(?:\\[[0-9;?<>=$]*|\\][^\x07\x1b]*\x1b?)?$")
"""A sequence that the next bytes will end."""


class Terminal:
    """`bilevel WORDS` in a terminal of `size` (columns, lines), in the directory `folder`. A context manager.

    `program` stands for `-m tui.cli`: other arguments of Python. `ignore_sighup`: as `nohup` starts it.
    """

    def __init__(
        self,
        folder: Path,
        *words: str,
        size: tuple[int, int] = (100, 30),
        program: Sequence[str] = ("-m", "tui.cli"),
        ignore_sighup: bool = False,
        **environ: str,
    ) -> None:
        self._folder = folder
        self.child = pexpect.spawn(
            sys.executable,
            [*program, *words],
            ignore_sighup=ignore_sighup,
            cwd=str(folder),
            env={**environment(), **environ},
            dimensions=(size[1], size[0]),
            encoding="utf-8",
            codec_errors="replace",
        )
        self.child.delaybeforesend = None
        self.output = ""
        """All that was written so far."""
        self.full = False
        """Whether an application has the whole screen."""
        self._held = ""
        self._lines: list[str] | None = None
        """The screen as it was read last; None once more has been drawn."""
        self._screens = [pyte.Screen(*size), pyte.Screen(*size)]
        self._streams = [pyte.Stream(screen) for screen in self._screens]

    # --- what a person sees -------------------------------------------------------------------------------------------
    def lines(self) -> list[str]:
        """The lines of the screen, without blanks at their ends."""
        if self._lines is None:
            self._lines = [line.rstrip() for line in self._screens[self.full].display]
        return self._lines

    def text(self) -> str:
        """The screen as one text."""
        return "\n".join(self.lines())

    def wait(self, condition: str | Callable[[], object], seconds: float = 30.0) -> "Terminal":
        """Read until a text stands on the screen or a condition holds; AssertionError with the screen otherwise."""
        holds = (lambda: condition in self.text()) if isinstance(condition, str) else condition
        deadline = time.monotonic() + seconds
        while not holds():
            if self._ended() and not holds():
                raise AssertionError(f"ended before {condition!r}:\n{self.text()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:g} s: {condition!r}\n{self.text()}")
        return self

    # --- what a person does -------------------------------------------------------------------------------------------
    def keys(self, *keys: str) -> "Terminal":
        """Press keys: characters, or names out of `KEYS`. After escape wait for what it does: it begins sequences."""
        for key in keys:
            self.child.send(KEYS.get(key, key))
        return self

    def write(self, text: str) -> "Terminal":
        """Type a text."""
        self.child.send(text)
        return self

    def resize(self, columns: int, lines: int) -> "Terminal":
        """Give the terminal another size."""
        for screen in self._screens:
            screen.resize(lines, columns)
        self._lines = None
        self.child.setwinsize(lines, columns)
        return self

    def hang_up(self) -> None:
        """Take the terminal away, as a lost connection does."""
        self.child.ptyproc.fileobj.close()

    # --- the process --------------------------------------------------------------------------------------------------
    @property
    def pid(self) -> int:
        """The viewer's process."""
        return int(self.child.pid)

    def exit_code(self, seconds: float = 30.0) -> int:
        """Wait for the end; the exit code, or minus the number of the signal that ended it."""
        deadline = time.monotonic() + seconds
        while not self._ended():
            if time.monotonic() > deadline:
                raise AssertionError(f"it has not ended within {seconds:g} s:\n{self.text()}")
        self.child.wait()
        status = self.child.signalstatus
        return int(self.child.exitstatus) if status is None else -int(status)

    def wait_gone(self, seconds: float = 30.0) -> None:
        """Wait until the process is gone, whatever has become of the terminal."""
        deadline = time.monotonic() + seconds
        while self.child.isalive():
            if time.monotonic() > deadline:
                raise AssertionError(f"process {self.pid} lives on after {seconds:g} s")
            time.sleep(0.01)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.child.isalive():
            os.kill(self.pid, signal.SIGKILL)
            self.child.wait()
        with contextlib.suppress(OSError):
            self.child.close(force=True)
        failed = [] if error else list(self._folder.glob(".bilevel/*/viewer.log"))
        assert not failed, failed[0].read_text()

    # --- reading ------------------------------------------------------------------------------------------------------
    def _ended(self) -> bool:
        """Read what has come, waiting a moment for it; whether there will be no more."""
        if not select.select([self.child.fileno()], [], [], 0.02)[0]:
            return False
        try:
            self._feed(self.child.read_nonblocking(65_536, timeout=0))
        except pexpect.EOF:
            return True
        return False

    def _feed(self, data: str) -> None:
        self.output += data
        self._lines = None
        data = self._held + data
        begun = _BEGUN.search(data)
        self._held = data[begun.start() :] if begun else ""
        data = _FOREIGN.sub("", data[: begun.start()] if begun else data)
        parts = _FULL.split(data)
        self._streams[self.full].feed(parts[0])
        for change, part in zip(parts[1::2], parts[2::2], strict=True):
            self.full = change == "h"
            if self.full:
                self._screens[True].reset()
            self._streams[self.full].feed(part)


def environment() -> dict[str, str]:
    """This one, without what would change what bilevel does or how it looks."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("BILEVEL_", "TEXTUAL"))}
    for name in ("NO_COLOR", "COLORTERM", "EDITOR", "VISUAL", *[name for name in ours if name.endswith("API_KEY")]):
        ours.pop(name, None)
    return {**ours, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
