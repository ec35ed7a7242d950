"""The terminal's driver, which also goes on where it was stopped by what it cannot hear; and who would let it go on."""

import codecs
import os
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from textual import events
from textual._xterm_parser import BRACKETED_PASTE_END, BRACKETED_PASTE_START, XTermParser
from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

LARGEST = 2000
"""Columns or lines that a terminal may have."""


PASTE_BEGINS, PASTE_ENDS = BRACKETED_PASTE_START, BRACKETED_PASTE_END
"""What the terminal sends around a text that a person pastes (bracketed paste)."""
PATIENCE = 30.0
"""Seconds without input after which a paste has ended, although its end was not marked."""


class LenientParser(XTermParser):
    """Textual's, for which a key that cannot be is none: what is pasted or lost on the way ends nothing.

    In Textual's an escape character in a pasted text begins a sequence of keys, so that a paste could give commands:
    here a pasted text has none.
    """

    def __init__(self, debug: bool = False) -> None:
        self._pasting = False
        self._kept = ""
        """Outside a paste the last characters, which the parser has; in one what may begin the mark of its end."""
        self._taken_as_keys = False
        """What the parser has of them it waits for no longer."""
        self._heard_at = 0.0
        super().__init__(debug)

    def feed(self, data: str) -> Iterable[Message]:
        self._heard_at = time.monotonic()
        if not data:  # the end of the input
            yield from super().feed(data)
        while data:
            text, data = self._pasted(data) if self._pasting else self._before_paste(data)
            self._taken_as_keys = False
            if text:
                yield from super().feed(text)

    def tick(self) -> Iterable[Message]:
        """A key that is no sequence after all; not where a mark has come in part, as over a slow line."""
        if self._pasting:
            if time.monotonic() - self._heard_at > PATIENCE:
                yield from self.feed(PASTE_ENDS)
            return
        if any(self._kept.endswith(PASTE_BEGINS[:size]) for size in range(2, len(PASTE_BEGINS))):
            return
        waited = self._timeout_time is not None
        yield from super().tick()
        self._taken_as_keys |= waited and self._timeout_time is None

    def _before_paste(self, data: str) -> tuple[str, str]:
        """What the parser may have next, up to where a paste begins, and what is left after that."""
        known, seen = self._kept + data, len(self._kept)
        at = known.find(PASTE_BEGINS)
        if at < 0:
            self._kept = known[1 - len(PASTE_BEGINS) :]
            return data, ""
        end = at + len(PASTE_BEGINS)
        text = PASTE_BEGINS if at < seen and self._taken_as_keys else known[seen:end]
        self._pasting, self._kept = True, ""
        return text, known[end:]

    def _pasted(self, data: str) -> tuple[str, str]:
        """The same in a paste, up to where it ends."""
        known = self._kept + data
        text, mark, left = known.partition(PASTE_ENDS)
        self._pasting, self._kept = not mark, ""
        if not mark:
            begun = next((size for size in range(len(PASTE_ENDS) - 1, 0, -1) if known.endswith(PASTE_ENDS[:size])), 0)
            text, self._kept = known[: len(known) - begun], known[len(known) - begun :]
        return text.replace("\x1b", "") + mark, left

    def _parse_extended_key(self, sequence: str) -> list[events.Key] | None:
        try:
            return super()._parse_extended_key(sequence)
        except (ValueError, OverflowError):
            return None

    def parse_mouse_code(self, code: str) -> Message | None:
        if not all((*(self.terminal_size or (0,)), *(self.terminal_pixel_size or (0,)))):
            self.mouse_pixels = False  # a terminal that does not know how many it has divides by them
        return super().parse_mouse_code(code)


class ViewerDriver(LinuxDriver):
    """Textual's, which takes every SIGCONT for the end of a suspension of its own.

    After a SIGSTOP that was not, it would read the keys with two threads, hang when it is left, and leave the terminal
    as the application has it. Here the terminal is given back first, and then taken anew: a shell may have changed it.
    """

    def run_input_thread(self) -> None:
        # Names that the thread below takes from its module: a byte that is no UTF-8 would end the application as well.
        linux_driver.XTermParser = LenientParser
        linux_driver.getincrementaldecoder = lambda name: partial(codecs.getincrementaldecoder(name), "replace")
        super().run_input_thread()

    def process_message(self, message: Message) -> None:
        if isinstance(message, events.Resize) and not all(0 < side <= LARGEST for side in message.size):
            return  # what a terminal says of itself in its input may be anybody's
        super().process_message(message)

    def _sigcont_application(self, *told: object) -> None:
        reads = self._key_thread is not None and self._key_thread.is_alive()
        if self._auto_restart and reads:
            self.suspend_application_mode()
            self._must_signal_resume = True
        if self._must_signal_resume:
            super()._sigcont_application(*told)


def shell_waits() -> bool:
    """Whether a shell with job control would take this process group back once it is stopped.

    It is the parent of the group's first process, in the same session and another group. Without one, as where a
    command is all that `ssh -t` or a tmux window runs, what is stopped stays so.
    """
    group = os.getpgrp()
    try:
        parent = int(Path(f"/proc/{group}/stat").read_text().rpartition(")")[2].split()[1])
        return os.getsid(parent) == os.getsid(0) and os.getpgid(parent) != group
    except (OSError, ValueError, IndexError):
        return False
