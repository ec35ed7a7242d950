"""The names of the panes in one line, where there is room for one pane only; a click chooses."""

from collections.abc import Sequence

from rich.text import Text
from textual import events
from textual.message import Message

from tui.widgets.block import Block

_SHORT = 3


class Tabs(Block):
    """`[4 Mechanisms]` is the chosen one. Where the names do not fit, all but that one are cut short."""

    DEFAULT_CSS = "Tabs { background: $panel; }"

    class Chosen(Message):
        """A pane was clicked at, by its number."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def __init__(self) -> None:
        super().__init__(id="tabs")
        self._panes: Sequence[tuple[int, str]] = ()
        self._current = 0
        self._ends: list[tuple[int, int]] = []
        """The column behind each name, and its number."""

    def show(self, panes: Sequence[tuple[int, str]], current: int) -> None:
        """Show these panes, by number and name."""
        self._panes, self._current = sorted(panes), current
        self._draw()

    def show_lines(self, lines: Sequence[Text]) -> None:
        super().show_lines(lines)
        self.styles.clear_rule("display")  # the screen says when it is there

    def _draw(self) -> None:
        width = self.size.width or self.app.size.width
        names = [_name(number, heading, self._current) for number, heading in self._panes]
        if sum(map(len, names)) > width:
            shorter = [
                (number, heading if number == self._current else heading[:_SHORT]) for number, heading in self._panes
            ]
            names = [_name(number, heading, self._current) for number, heading in shorter]
        line, self._ends = Text(), []
        for (number, _), name in zip(self._panes, names, strict=True):
            line.append(name, "strong" if number == self._current else "dim")
            self._ends.append((len(line), number))
        self.show_lines([line])

    def on_resize(self, event: events.Resize) -> None:
        if self._current:
            self.call_after_refresh(self._draw)

    def on_click(self, event: events.Click) -> None:
        chosen = next((number for end, number in self._ends if event.x < end), None)
        if chosen is not None:
            self.post_message(self.Chosen(chosen))


def _name(number: int, heading: str, current: int) -> str:
    return f"[{number} {heading}]" if number == current else f" {number} {heading} "
