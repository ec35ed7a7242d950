"""Searching in the list of lines that a person looks at, by a regular expression."""

import re
from typing import Any

from textual import events, on
from textual.screen import Screen

from engine.record.wording import clean
from tui.screens.asking import Ask
from tui.widgets.contained import Contained
from tui.widgets.keybar import KeyBar
from tui.widgets.lines import LineView


class Searching(Contained, Screen[Any]):
    """For a screen with lists of lines: `/` asks for an expression, n and N go to the next and the previous match.

    Which of the matches it is stands at the end of the last line, until the person goes elsewhere or lines are added.
    """

    _found_in: LineView | None = None

    def lines_in_focus(self) -> LineView | None:
        """The list of lines that the person looks at."""
        if isinstance(self.focused, LineView):
            return self.focused
        return next((lines for lines in self.query(LineView) if lines.region), None)

    def action_search(self) -> None:
        """Mark what matches a regular expression, and go to the nearest match."""
        lines = self.lines_in_focus()
        if lines is None:
            self.notify("there are no lines to search here: choose another pane", severity="warning")
            return

        def given(text: str | None) -> None:
            if text is not None:
                self._search(lines, text)

        before = lines.pattern.pattern if lines.pattern else ""
        self.app.push_screen(Ask("Search", "A regular expression; empty takes the marks away.", before), given)

    def _search(self, lines: LineView, text: str) -> None:
        try:
            lines.search(re.compile(text, re.IGNORECASE) if text else None)
        except (re.error, ValueError, OverflowError, RecursionError) as error:
            said = f"{clean(text, 60)} is no regular expression: {error}"
            self.notify(said, severity="error", markup=False)
            return
        if not text:
            return
        first = -1 if lines.grows else 1  # in what grows, the newest is looked for
        found = lines.find(first, here=True) or lines.find(-first)
        if not found and lines.pattern is not None:
            self.notify(f"nothing matches {text}", markup=False)

    def action_find(self, step: int) -> None:
        """The next or the previous match."""
        lines = self.lines_in_focus()
        if lines is None or lines.pattern is None:
            self.notify("search for something first: /")
        elif not lines.find(step) and lines.pattern is not None:
            self.notify("no further match")

    @on(LineView.Found)
    def _tell_found(self, event: LineView.Found) -> None:
        self._found_in = event.lines
        self.query_one(KeyBar).say(event.words)

    @on(events.DescendantFocus)
    def _elsewhere(self, event: events.DescendantFocus) -> None:
        if self._found_in not in (None, event.widget):
            self._found_in = None
            self.query_one(KeyBar).say("")
