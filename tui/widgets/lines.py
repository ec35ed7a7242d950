"""A scrolling list of lines, drawn on Textual's line API with an offset of its own.

Only the lines that are seen are made and drawn, and scrolling or growing makes no layout: over a slow link a pane costs
what its visible lines cost, however many there are behind them.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from tui.widgets.drawn import Drawn
from tui.widgets.matching import TooSlow, at_most, matching

MORE = ("‹", "›")
"""What a line ends with, at the left and the right, where more of it lies beyond the screen."""
FIND_SECONDS, COUNT_SECONDS, MARK_SECONDS = 1.0, 0.2, 0.05
"""For which an expression may look through all lines, to find one and to count them, and through one that is drawn."""


class LineView(Drawn, can_focus=True):
    """Lines of a text, or of whatever a subclass makes by `count` and `line`.

    `follow`: it stays at the end as lines come; scrolling up leaves the end, the end key goes back to it. `selectable`:
    one line is the cursor, and moving it, or coming back to the end, posts `Moved`. A search posts `Found`.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup,ctrl+u", "page(-1)", "Page up", show=False),
        Binding("pagedown,ctrl+d", "page(1)", "Page down", show=False),
        Binding("home,g", "first", "First", show=False),
        Binding("end,G", "last", "Last, and follow", show=False),
        Binding("left", "shift(-8)", "Left", show=False),
        Binding("right", "shift(8)", "Right", show=False),
    ]
    DEFAULT_CSS = "LineView { height: 1fr; }"

    class Moved(Message):
        """The cursor stands on another line."""

        def __init__(self, lines: "LineView", index: int) -> None:
            super().__init__()
            self.lines, self.index = lines, index

        @property
        def control(self) -> "LineView":
            return self.lines

    class Found(Message):
        """It stands on a match, the `words` say which; without words it does no longer."""

        def __init__(self, lines: "LineView", words: str) -> None:
            super().__init__()
            self.lines, self.words = lines, words

    def __init__(
        self, *, follow: bool = False, selectable: bool = False, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.follow = self.grows = follow
        """What grows is followed again once the person is back at its end."""
        self.selectable = selectable
        self.cursor = 0
        self.offset_y = self.offset_x = 0
        self.pattern: re.Pattern[str] | None = None
        self._found: int | None = None
        """The line of the last match, from which the next is looked for while it is seen."""
        self._matches: list[int] | None = None
        """The lines that match, once they were counted; None where that takes too long."""
        self._counted = False
        self._on_match: tuple[int, str] | None = None
        """How many lines there were, and how the one of the last match read, while it stands there."""
        self._lines: Sequence[Text | str] = ()

    # --- what it shows ------------------------------------------------------------------------------------------------
    def count(self) -> int:
        """How many lines there are."""
        return len(self._lines)

    def line(self, index: int) -> Text:
        """The line, made when it is seen."""
        found = self._lines[index]
        return found if isinstance(found, Text) else Text(found)

    def show_lines(self, lines: Sequence[Text | str]) -> None:
        """Show these lines from now on; where the person has scrolled, they stay."""
        self._lines = lines
        self.changed()

    def changed(self) -> None:
        """The lines are others, or more: draw what is seen."""
        if self.follow and self.count():
            self.cursor = self.count() - 1
        self._keep_in_view()
        self._counted = False
        elsewhere = self.selectable and self.cursor != self._found
        if self._on_match is not None and (elsewhere or self._on_match != self._reads(self._found)):
            self._leave_match()
        self.refresh()

    def changed_line(self, index: int) -> None:
        """One line reads otherwise: draw it, if it is seen."""
        self._counted = False
        y = index - self.offset_y
        if 0 <= y < self.size.height:
            self.refresh(Region(0, y, self.size.width, 1))

    # --- drawing ------------------------------------------------------------------------------------------------------
    def render_line(self, y: int) -> Strip:
        index, width = self.offset_y + y, self.size.width
        base = self.base
        if index >= self.count():
            return Strip.blank(width, base)
        text = self._marked(self.line(index))
        strip = self._seen(self.drawn(text), cell_len(text.plain.rstrip()), width)
        if self.selectable and index == self.cursor:
            cursor = self.style_of("cursor")
            painted = [Segment(part.text, (part.style or Style.null()) + cursor) for part in strip]
            return Strip(painted).extend_cell_length(width, base + cursor)
        return strip.extend_cell_length(width, base)

    def _seen(self, line: Strip, length: int, width: int) -> Strip:
        """The part of a line that is seen, with a mark at each end where more of it is; `length` is without blanks."""
        left, right = self.offset_x > 0 and length > 0, length > self.offset_x + width
        seen = line.crop(self.offset_x, self.offset_x + width)
        if not (left or right) or width < 2:
            return seen
        style = self.base + self.style_of("dim")
        parts = [seen.crop(int(left), width - int(right))]
        if left:
            parts.insert(0, Strip([Segment(MORE[0], style)]))
        if right:  # half of a wide character may be missing before it
            parts = [Strip.join(parts).adjust_cell_length(width - 1, self.base), Strip([Segment(MORE[1], style)])]
        return Strip.join(parts)

    def _marked(self, text: Text) -> Text:
        """The line with what matches marked."""
        if self.pattern is None:
            return text
        marked = text.copy()
        try:
            with at_most(MARK_SECONDS):
                marked.highlight_regex(self.pattern, "found")
        except TooSlow:
            self._give_up()
            return text
        return marked

    # --- moving -------------------------------------------------------------------------------------------------------
    def _bottom(self) -> int:
        return max(0, self.count() - max(1, self.size.height))

    def _keep_in_view(self) -> None:
        self.cursor = min(max(0, self.cursor), max(0, self.count() - 1))
        if self.follow:
            self.offset_y = self._bottom()
        elif self.selectable:
            height = max(1, self.size.height)
            self.offset_y = min(max(self.offset_y, self.cursor - height + 1), self.cursor)
        self.offset_y = min(max(0, self.offset_y), self._bottom())

    def go_to(self, index: int, *, follow: bool = False) -> None:
        """Show a line, and put the cursor on it; `follow` only where it is the last one."""
        index = min(max(0, index), max(0, self.count() - 1))
        moved = index != self.cursor or follow != self.follow
        self.follow, self.cursor = follow, index
        if self._on_match is not None and index != self._found:
            self._leave_match()
        if not self.selectable:
            self.offset_y = index
        self._keep_in_view()
        self.refresh()
        if self.selectable and moved:
            self.post_message(self.Moved(self, index))

    def action_move(self, by: int) -> None:
        here = self.cursor if self.selectable else self.offset_y
        self._go_by(here, by)

    def action_page(self, by: int) -> None:
        here = self.cursor if self.selectable else self.offset_y
        self._go_by(here, by * max(1, self.size.height - 1))

    def _go_by(self, here: int, by: int) -> None:
        end = self.count() - 1 if self.selectable else self._bottom()
        self.go_to(min(here + by, end), follow=self.grows and here + by >= end)

    def action_first(self) -> None:
        self.go_to(0)

    def action_last(self) -> None:
        self.go_to(self.count() - 1, follow=self.grows)

    def action_shift(self, by: int) -> None:
        self.offset_x = max(0, self.offset_x + by)
        self.refresh()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_move(-3)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_move(3)

    def on_click(self, event: events.Click) -> None:
        if self.selectable:
            self.go_to(self.offset_y + event.y)

    def on_resize(self) -> None:
        self._counted = False  # a line may be made for the width
        self._keep_in_view()
        self.refresh()

    # --- searching ----------------------------------------------------------------------------------------------------
    def search(self, pattern: re.Pattern[str] | None) -> None:
        """Mark what matches, None: nothing."""
        self.pattern, self._found, self._counted = pattern, None, False
        self._leave_match()
        self.refresh()

    def find(self, step: int, *, here: bool = False) -> bool:
        """Go to the next (1) or the previous (-1) line that matches; False where there is none.

        With `here` the line on which it stands counts too. An expression that takes too long is none afterwards.
        """
        if self.pattern is None:
            return False
        start = self._stands_at(step) + (0 if here else step)
        found = None
        try:
            with at_most(FIND_SECONDS):
                for index in range(start, self.count()) if step > 0 else range(start, -1, -1):
                    if self.pattern.search(self.line(index).plain):
                        found = index
                        break
        except TooSlow:
            self._give_up()
        if found is None:
            return False
        self._found = found
        self.go_to(found)
        self._on_match = self._reads(found)
        self.post_message(self.Found(self, self._place(found)))
        return True

    def _place(self, index: int) -> str:
        """Which of the matches a line is; of too many to be counted, that it is one."""
        if not self._counted and self.pattern is not None:
            lines = (self.line(each).plain for each in range(self.count()))
            self._matches, self._counted = matching(self.pattern, lines, COUNT_SECONDS), True
        if self._matches is None:
            return "match"
        return f"match {bisect_left(self._matches, index) + 1:,} of {len(self._matches):,}"

    def _reads(self, index: int | None) -> tuple[int, str] | None:
        """How many lines there are, and how one reads; None for one that is not there."""
        return (self.count(), self.line(index).plain) if index is not None and index < self.count() else None

    def _leave_match(self) -> None:
        """It stands on a match no longer."""
        if self._on_match is not None:
            self._on_match = None
            self.post_message(self.Found(self, ""))

    def _give_up(self) -> None:
        """Mark nothing any more, and say why."""
        self.search(None)
        self.notify("the expression takes too long to match: it is given up", severity="warning")

    def _stands_at(self, step: int) -> int:
        """The cursor, or the last match while it is seen, or the first or last line that is seen."""
        if self.selectable:
            return self.cursor
        seen = range(self.offset_y, min(self.count(), self.offset_y + max(1, self.size.height)))
        if self._found is not None and self._found in seen:
            return self._found
        return self.offset_y if step > 0 or not self.follow else max(0, self.count() - 1)

    def text(self) -> str:
        """All of it as plain text, for the clipboard or a file."""
        return "\n".join(self.line(index).plain.rstrip() for index in range(self.count())) + "\n"
