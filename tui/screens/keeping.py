"""Finding a trial, and taking away what is seen: clipboard, files, pictures, themes."""

import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from tui.screens.asking import Ask
from tui.widgets.lines import LineView
from tui.widgets.plot import Plot

if TYPE_CHECKING:
    from tui.screens.session import SessionScreen


class Keeping:
    """Finding and keeping for `SessionScreen`."""

    def action_goto_trial(self: "SessionScreen") -> None:
        """Go to a trial by its number."""

        def given(text: str | None) -> None:
            if not text:
                return
            try:
                self.go_to_trial(int(text))
            except ValueError:
                self.notify(f"{text} is no trial's number", severity="error", markup=False)

        self.app.push_screen(Ask("Go to trial", "Its number; 0 is the baseline.", longest=9), given)

    def go_to_trial(self: "SessionScreen", number: int) -> None:
        """Select a trial; a replay goes to the moment at which it ended."""
        if self.replay:
            if not self.seek_trial(number):
                return
        elif number not in self.feed.view.history.trials:
            self.notify(f"there is no trial {number} yet", severity="warning")
            return
        else:
            self.selection.trial = number
        self.action_pane(1)

    # --- taking away --------------------------------------------------------------------------------------------------
    def text_in_focus(self: "SessionScreen") -> str:
        """The text of the pane with the focus."""
        lines = self.lines_in_focus()
        if lines is not None:
            return lines.text()
        return "".join(f"{line.plain.rstrip()}\n" for plot in self.focused_pane().query(Plot) for line in plot.lines())

    def lines_in_focus(self: "SessionScreen") -> LineView | None:
        """The list of lines that the person looks at, in the pane with the focus."""
        if isinstance(self.focused, LineView):
            return self.focused
        return next((lines for lines in self.focused_pane().query(LineView) if lines.display), None)

    def action_copy(self: "SessionScreen") -> None:
        """The pane's text to the terminal's clipboard."""
        self.app.copy_to_clipboard(self.text_in_focus())
        self.notify("sent to the terminal's clipboard (OSC 52); a terminal or tmux may drop it: o writes a file")

    def action_write(self: "SessionScreen") -> None:
        """The pane's text to a file."""
        name = self.focused_pane().heading.lower().replace(" ", "-")
        self._write(f"{name}.txt", self.text_in_focus())

    def action_picture(self: "SessionScreen") -> None:
        """The screen as an SVG file."""
        self._write("screen.svg", self.app.export_screenshot(title=f"bilevel {self.feed.session}"))

    def _write(self: "SessionScreen", name: str, text: str) -> None:
        """Into a new file in the working directory; what is there stays."""
        stem, _, suffix = name.rpartition(".")
        for more in count(1):
            again = f"-{more}" if more > 1 else ""
            path = Path(f"bilevel-{self.feed.session}-{time.strftime('%H%M%S')}-{stem}{again}.{suffix}")
            try:
                path = path.absolute()  # which a working directory that was removed has not
                with path.open("x", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(text)
            except FileExistsError:
                continue
            except OSError as error:
                self.notify(f"{path} cannot be written: {error.strerror}", severity="error", markup=False)
            else:
                self.notify(f"written: {path}", markup=False)
            return

    def action_theme(self: "SessionScreen") -> None:
        """The next theme."""
        self.app.next_theme()
