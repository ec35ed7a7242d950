"""The way out of a terminal that takes nothing any more: a connection that hangs, a window that somebody holds still.

What the application writes waits then, and so does all of it; that costs nothing, and once the terminal reads it goes
on. Only a signal that ends it must not wait: what was still to be written is given up, for the terminal to be left as
it was found.
"""

import os
import signal
import sys
import termios
import threading
import time

WAIT_SECONDS = 2.0
"""For which the end is waited for: a slow line has taken most of what was under way by then."""
WRITER = "textual-output"
"""The name of the thread that writes."""
LEFT = (
    b"\x18"  # whatever sequence was begun ends here
    b"\x1b[?2026l\x1b[?2004l\x1b[?7h\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[<u\x1b[?1049l\x1b[?25h\x1b[?1004l"
)
"""What Textual's driver writes when it is left, as in its `stop_application_mode`."""


class Ending:
    """The end of an application on a signal, also where it waits for the terminal."""

    def __init__(self) -> None:
        self._terminal: int | None = None

    def begin(self, number: int) -> None:
        """In the handler of the signal: end in order, else without the terminal, else at once."""
        signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGUSR1, lambda number, frame: None)  # it interrupts a write, and no more
        threading.Thread(target=self._press, args=(number,), name="ending", daemon=True).start()

    def _press(self, number: int) -> None:
        time.sleep(WAIT_SECONDS)
        writers = [thread.ident for thread in threading.enumerate() if thread.name == WRITER and thread.ident]
        if not writers:  # the terminal is another's: an editor's, say, which the person would lose
            return
        self._give_up_writing(writers)
        time.sleep(WAIT_SECONDS)
        self.finish()
        os.kill(os.getpid(), number)

    def _give_up_writing(self, writers: list[int]) -> None:
        """Let what is written lead nowhere, also what the writer waits with: Python begins that anew."""
        stream = sys.__stderr__
        assert stream is not None
        terminal, nowhere = os.dup(stream.fileno()), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        self._terminal = terminal
        for writer in writers:
            signal.pthread_kill(writer, signal.SIGUSR1)

    def finish(self) -> None:
        """After the application: where writing was given up, leave the terminal by what it takes at once."""
        if self._terminal is None:
            return
        termios.tcflush(self._terminal, termios.TCOFLUSH)
        os.write(self._terminal, LEFT)
