"""A session followed in plain lines, from the record, until it ends or the person leaves.

In a terminal a line of progress is renewed in place; elsewhere it is printed every half minute. The session does not
depend on it: leaving ends nothing.
"""

import contextlib
import shutil
import sys
import time
from collections import deque
from pathlib import Path
from typing import TextIO

from engine.record.account import summary_lines
from engine.record.lock import holder
from engine.record.reader import Reader
from engine.record.seeking import advance, copied
from engine.record.view import ENDED, View
from engine.tools.launch import reap
from tui.plain import Narrator, clean, header, progress_line
from tui.telling import command

POLL_SECONDS = 0.25
QUIET_SECONDS = 30.0
"""Between two progress lines where there is no terminal to renew one in."""
ALIVE_SECONDS = 2.0
"""Between two looks whether the engine still runs."""
CLOSING_SECONDS = 5.0
_LOOKED = 64
"""Events that bear on the state, among which the last lines are looked for at first."""


class Screen:
    """Lines on a stream, and below them, in a terminal, one that is renewed in place."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.terminal = out.isatty()
        self._shown = ""
        self._last = time.monotonic()

    def line(self, text: str) -> None:
        """Print a line for good."""
        self._erase()
        self._out.write(text + "\n")
        self._out.flush()

    def progress(self, text: str) -> None:
        """Renew the line of progress."""
        if self.terminal:
            text = clean(text, max(20, shutil.get_terminal_size().columns - 1))
            if text != self._shown:
                self._erase()
                self._out.write(text)
                self._out.flush()
                self._shown = text
        elif time.monotonic() - self._last >= QUIET_SECONDS:
            self._last = time.monotonic()
            self.line(f"... {text}")

    def close(self) -> None:
        """Take the line of progress away."""
        self._erase()
        self._out.flush()

    def _erase(self) -> None:
        if self._shown:
            self._out.write("\r" + " " * len(self._shown) + "\r")
            self._shown = ""


def follow(db: Path, session: str, *, earlier: int | None, out: TextIO | None = None) -> int:
    """Print the session until it ends; exit code 0 when it finished, 1 when it failed or its engine is gone.

    `earlier`: how many of the lines so far are printed, after what the session is (0: neither). None: all of them, for
    a person who has just started it and was told. KeyboardInterrupt passes through.
    """
    screen = Screen(out or sys.stdout)
    with Reader(db) as reader, contextlib.closing(screen):
        narrator = Narrator()
        _catch_up(reader, session, narrator, screen, earlier)
        while not _ended(narrator.view):
            _wait(db, reader, session, narrator, screen)
            if engine_gone(db, session):
                # What it wrote last may have come between the last look at the record and the one at the lock.
                _print_new(reader, session, narrator, screen)
                break
            _print_new(reader, session, narrator, screen)
        _let_go(db, session)
        screen.close()
        return _conclude(narrator.view, screen, db)


def _catch_up(reader: Reader, session: str, narrator: Narrator, screen: Screen, most: int | None) -> None:
    """Print the first lines and what happened so far, or the last of it."""
    lines: deque[str] = deque(maxlen=most)
    for row in reader.events(session):
        told = narrator.tell(row.seq, row.time, row.event)
        lines.extend([told] if told else [])
    if most is None:
        screen.line(f"session   {session}\n")
    elif most > 0:
        screen.line("\n".join([*header(narrator.view), ""]))
    for line in lines:
        screen.line(line)


def _print_new(reader: Reader, session: str, narrator: Narrator, screen: Screen) -> None:
    for row in reader.events(session, after=narrator.view.seq):
        told = narrator.tell(row.seq, row.time, row.event)
        if told:
            screen.line(told)


def _wait(db: Path, reader: Reader, session: str, narrator: Narrator, screen: Screen) -> None:
    """Return once there is something new, or it is time to see whether the engine lives."""
    version, began = reader.data_version(), time.monotonic()
    _print_new(reader, session, narrator, screen)
    while not _ended(narrator.view) and time.monotonic() - began < ALIVE_SECONDS:
        screen.progress(progress_line(narrator.view, time.time()))
        time.sleep(POLL_SECONDS)
        if reader.data_version() != version:
            return


def _ended(view: View) -> bool:
    return view.status in ENDED


def engine_gone(db: Path, session: str) -> bool:
    """Whether no engine runs that session now."""
    running = holder(db)
    return running is None or (running.session != session and running.pid != 0)


def _let_go(db: Path, session: str) -> None:
    """Give an engine that has ended its session the moment that it needs to close the record."""
    deadline = time.monotonic() + CLOSING_SECONDS
    while not engine_gone(db, session) and time.monotonic() < deadline:
        time.sleep(0.05)
    reap()


def _conclude(view: View, screen: Screen, db: Path) -> int:
    screen.line("")
    for line in summary_lines(view):
        screen.line(line)
    if not _ended(view):
        again = command(f"resume {view.session}", db)
        screen.line(f"the engine of {view.session} is gone: `{again}` takes the session up again")
    return 0 if view.status == "finished" else 1


def narrator_before(reader: Reader, session: str, lines: int, *, every: bool = False) -> Narrator:
    """One that has been told all of a session but its end, in which at least so many lines are told, if there are.

    `every`: each event is a line. What lies before is folded without what changes no state. Raises RecordError.
    """
    head, looked = reader.last_seq(session), _LOOKED
    if every:
        return Narrator(_view_at(reader, session, max(0, head - lines)))
    while True:
        rows = reader.newest(session, head, looked, state_only=True)
        view = _view_at(reader, session, rows[0].seq - 1 if len(rows) == looked else 0)
        probe = Narrator(copied(view))
        told = [row.seq for row in rows if probe.tell(row.seq, row.time, row.event) is not None]
        if len(told) > lines:
            advance(view, reader, session, told[-lines - 1])
        if len(told) > lines or not view.seq:
            return Narrator(view)
        looked *= 8


def _view_at(reader: Reader, session: str, seq: int) -> View:
    view = View()
    advance(view, reader, session, seq)
    return view
