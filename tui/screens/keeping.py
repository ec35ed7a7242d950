"""Taking away what is seen: to the clipboard, into a file, as a picture."""

import errno
import re
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from textual.screen import Screen

from tui.widgets.contained import Contained

_ROOM, _LEAVE = "make room there", "start bilevel in a directory that you may write to"
ADVICE = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EACCES: _LEAVE,
    errno.EPERM: _LEAVE,
    errno.EROFS: _LEAVE,
    errno.ENOENT: "the working directory was removed, start bilevel in another",
}
"""What to do where a file cannot be written, by the number of the error."""
_FETCHED_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_ELSEWHERE = "start bilevel in another directory"


class Keeping(Contained, Screen[Any]):
    """For a screen that knows what its files are called, and which part of it the person looks at."""

    def kept_as(self) -> str:
        """What is shown, as the files are called by it: a session, or a word."""
        raise NotImplementedError

    def part_in_focus(self) -> tuple[str, str]:
        """The part that the person looks at: what it is called in the name of a file, and its text."""
        raise NotImplementedError

    def action_copy(self) -> None:
        """The part's text to the terminal's clipboard."""
        self.app.copy_to_clipboard(self.part_in_focus()[1])
        self.notify("sent to the terminal's clipboard (OSC 52); a terminal or tmux may drop it: o writes a file")

    def action_write(self) -> None:
        """The part's text to a file."""
        part, text = self.part_in_focus()
        self._keep(f"{part}.txt", text, "or copy it with c")

    def action_picture(self) -> None:
        """The screen as an SVG file, which fetches nothing when it is looked at."""
        picture = self.app.export_screenshot(title=f"bilevel {self.kept_as()}")
        self._keep("screen.svg", _FETCHED_FONTS.sub("", picture))

    def _keep(self, what: str, text: str, instead: str = "") -> None:
        """Into a new file in the working directory, and say where. `instead`: what else can be done if it fails."""
        path = Path(f"bilevel-{self.kept_as()}-{time.strftime('%H%M%S')}-{what}")
        try:
            path = path.absolute()  # which a working directory that was removed has not
            path = write_new(path, text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            todo = ", ".join(filter(None, (ADVICE.get(error.errno or 0, _ELSEWHERE), instead)))
            self.notify(f"{path} cannot be written: {error.strerror}; {todo}", severity="error", markup=False)
        else:
            self.notify(f"written: {path}", markup=False)


def write_new(path: Path, data: bytes) -> Path:
    """Write a file whole or not at all, under the first free name: what is there stays. The name that it got."""
    free, names = path, (path.with_stem(f"{path.stem}-{more}") for more in count(2))
    while True:
        try:
            file = free.open("xb")
            break
        except FileExistsError:
            free = next(names)
    try:
        with file:
            file.write(data)
    except BaseException:
        with suppress(OSError):
            free.unlink()
        raise
    return free
