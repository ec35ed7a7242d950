"""What a trainer printed, as lines for a person: live from the log file, in replay from the record up to a moment.

Only the end of a log is read, as much as the lines asked for need, so that a log of a gigabyte costs what a short one
does. It is what a changed script printed: no terminal acts on these lines, whatever is in them. A line of progress that
a script renews in place by carriage returns is shown as it was last. Nothing here parses what was printed.
"""

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

from engine.errors import BilevelError
from engine.record.head import run_directory
from tui.feed import Feed

BLOCK_BYTES = 65_536
MOST_BYTES = 4 << 20
"""Of a log that are read at once at most: fewer lines than asked for where these hold no more."""
LARGEST_BLOB = 16 << 20
"""A content beyond this is unpacked only where the file is gone: until it is read, the application stands still."""
LONGEST_LINE = 2_000
"""Characters of a line that are shown."""
TAB = 8
# Terminal sequences go as a whole, so that no "[31m" stays: CSI, strings such as titles and links, two-character ones.
_ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]")
_Read = Callable[[int, int], bytes]
"""The bytes from an offset on, at most so many."""


class TrainerLog:
    """The output of the runs of a feed's session, as it was at the feed's position.

    `shown` is the run that the last call showed, `note` why there is nothing to show; both may be empty.
    """

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.shown = self.note = ""
        self._blob: tuple[str, bytes] = ("", b"")
        self._last: tuple[object, list[str]] = ((), [])

    def lines(self, last: int, run: str | None = None, *, live: bool = True) -> list[str]:
        """The last lines, at most so many, of a run, or (None) of the one that trains, else of the last that ended.

        A run that trains now is shown to the end of its file; with `live` False to where its last progress was.
        """
        view, self.note = self.feed.view, ""
        running = view.running
        if run is None:
            run = running.started.run if running else next(reversed(view.finished_runs), "")
        self.shown = run
        if running is not None and running.started.run == run:
            if live and self.feed.position == self.feed.head:
                return self._of_file(run, running.started.attempt, None, last)
            offset = running.progress.offset if running.progress else 0
            return self._up_to(run, running.started.attempt, offset, last)
        if run in view.finished_runs:
            return self._up_to(run, view.finished_runs[run].attempt, None, last)
        self.note = f"{run} has not begun" if run else "no run has begun"
        return []

    def _up_to(self, run: str, attempt: int, end: int | None, last: int) -> list[str]:
        """From the record, if the attempt is in it, else from its file."""
        finished = self.feed.finished(run)
        digest = finished.log_blob if finished and finished.attempt == attempt else None
        try:
            size = self.feed.blob_size(digest) if digest else None
            if digest and size is not None and (size <= LARGEST_BLOB or not self._path(run, attempt).exists()):
                return self._of_blob(digest, end, last)
        except BilevelError as error:
            self.note = f"{error}"
        return self._of_file(run, attempt, end, last)

    def _of_blob(self, digest: str, end: int | None, last: int) -> list[str]:
        if self._blob[0] != digest:
            self._blob = (digest, self.feed.blob(digest))
        data = self._blob[1]
        end = len(data) if end is None else min(end, len(data))
        return self._kept((digest, end, last), lambda: tail(lambda start, size: data[start : start + size], end, last))

    def _of_file(self, run: str, attempt: int, end: int | None, last: int) -> list[str]:
        path = self._path(run, attempt)
        try:
            # Not through a link, and not waiting: whatever a script may have put into the log's place.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (OSError, ValueError) as error:
            self.note = self.note or _missing(error, f"{run}, attempt {attempt}")
            return []
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                self.note = f"the log of {run} is no file"
                return []
            end = found.st_size if end is None else min(end, found.st_size)
            key = (path, found.st_ino, found.st_size, found.st_mtime_ns, end, last)
            return self._kept(key, lambda: tail(lambda start, size: os.pread(descriptor, size, start), end, last))
        except OSError as error:
            self.note = f"the log of {run} cannot be read: {error.strerror}"
            return []
        finally:
            os.close(descriptor)

    def _kept(self, key: object, make: Callable[[], list[str]]) -> list[str]:
        """The lines of the last call where nothing has changed since."""
        if self._last[0] != key:
            self._last = (key, make())
        return self._last[1]

    def _path(self, run: str, attempt: int) -> Path:
        folder = f"{run}.{attempt}".replace("/", "_")  # a name in the record leads nowhere else
        return run_directory(self.feed.db) / self.feed.session / "runs" / folder / "trainer.log"


def _missing(error: OSError | ValueError, run: str) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{run} has printed nothing yet, or its log is gone"
    return f"the log of {run} cannot be read: {getattr(error, 'strerror', None) or error}"


def tail(read: _Read, end: int, last: int) -> list[str]:
    """The last lines, at most `last`, of the bytes before the offset `end`, clean; MOST_BYTES of them are read at most.

    Where even a single line is longer than that, its end is shown, after an ellipsis. Raises OSError.
    """
    blocks: list[bytes] = []
    start, breaks = end, 0
    while start > 0 and breaks <= last and end - start < MOST_BYTES:
        size = min(BLOCK_BYTES, start)
        start -= size
        blocks.append(read(start, size))
        breaks += blocks[-1].count(b"\n")
    first, *rest = b"".join(reversed(blocks)).split(b"\n")
    whole = [first, *rest] if start == 0 else rest
    if whole and not whole[-1]:
        whole.pop()
    if not whole and start > 0:
        return ["…" + _line(first)]
    return [_line(line) for line in whole[-last:]] if last > 0 else []


def _line(raw: bytes) -> str:
    """What stands in a line at last: after its last carriage return, without what a terminal would act on."""
    raw = raw.rstrip(b"\r")
    shown = raw[raw.rfind(b"\r") + 1 :][: 8 * LONGEST_LINE].decode("utf-8", "replace")
    text = _ESCAPE.sub("", shown).expandtabs(TAB)[:LONGEST_LINE]
    if text.isprintable():
        return text.rstrip()
    return "".join(character if character.isprintable() else " " for character in text).rstrip()
