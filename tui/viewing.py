"""The application in this terminal: what a terminal must be able to do, what a lost one means, and the way out.

A viewer that has lost its terminal must end, and not spin: SIGHUP takes its default action here (the engine is the one
that ignores it). SIGTERM gives the terminal back first. Nothing but the application writes to the screen meanwhile.
"""

import gc
import os
import select
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import InputError
from tui.blocked import Ending
from tui.environment import charset_hindrance, settle

if TYPE_CHECKING:
    from tui.app import BilevelApp

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""What ends the application in order; the same a second time ends it at once."""

LOOK_SECONDS = 1.0


def on_terminal() -> bool:
    """Whether a person sits at all three streams: the application is drawn on standard error."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def hindrance() -> str:
    """Why the application cannot be shown here; empty where it can."""
    if not on_terminal():
        return "standard input, output and error are not all a terminal"
    term = os.environ.get("TERM", "")
    if term in ("", "dumb"):
        return f"this terminal cannot hold it (TERM is {term or 'not set'})"
    return charset_hindrance()


def view(db: Path, session: str | None, *, replay: bool = False, at: int | None = None, read_only: bool = False) -> int:
    """Show a session (None: the list of them) until the person leaves; the exit code. `at`: a trial, for a replay.

    Raises InputError where this terminal cannot show it.
    """
    why_not = hindrance()
    if why_not:
        raise InputError(f"the application cannot be shown: {why_not}: use `bilevel status`, `tail` or `sessions`")
    gc.disable()  # until it is drawn: all that starting makes stays, and passes over it take a tenth of the time
    settle()
    from tui.app import BilevelApp

    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    threading.Thread(target=_end_with_the_terminal, name="terminal", daemon=True).start()
    app = BilevelApp(db, session, replay=replay, at=at, read_only=read_only)
    ending = Ending()
    _give_way(app, ending)
    said = app.run()
    ending.finish()
    if said:
        print(said)
    return app.return_code or 0


def _end_with_the_terminal() -> None:
    """End as SIGHUP does once the terminal is gone: the signal comes only where it was the controlling one."""
    watched = select.poll()
    watched.register(sys.stdin.fileno(), 0)
    while not any(event & select.POLLHUP for _, event in watched.poll()):
        time.sleep(LOOK_SECONDS)  # a system whose poll does not know terminals says so at once
    os.kill(os.getpid(), signal.SIGHUP)


def _give_way(app: "BilevelApp", ending: Ending) -> None:
    """End the application on a signal, and on an exception in a thread, which would vanish otherwise."""

    def ended(number: int, frame: object) -> None:
        ending.begin(number)
        app.call_later(app.exit, return_code=128 + number)

    def failed(args: threading.ExceptHookArgs) -> None:
        app.call_later(_fail, args.exc_value)

    for number in SIGNALS:
        signal.signal(number, ended)
    threading.excepthook = failed


def _fail(error: BaseException | None) -> None:
    if error is not None:
        raise error
