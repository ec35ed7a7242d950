"""The keys, from the table of actions: one page, whatever the size of the screen; below them what the signs mean."""

from collections.abc import Iterable, Sequence
from itertools import groupby, zip_longest
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from tui.actions import ACTIONS, Action, exists
from tui.panes.glyphs import MEANINGS
from tui.widgets.columns import padded
from tui.widgets.contained import Contained
from tui.widgets.fitting import wrapped
from tui.widgets.lines import LineView

MOVING = (
    ("↑↓ jk", "A line."),
    ("^u ^d", "A page; also pgup, pgdn."),
    ("←→", "Sideways."),
    ("home g", "The first line."),
    ("end G", "The last line."),
)
"""The keys of every list, which are not of the table."""
_MORE = {"←→": "Sideways; a trial (curve).", "end G": "The last; follow it."}
IN_SESSION = tuple((keys, _MORE.get(keys, help)) for keys, help in MOVING)
"""The same where some of them do more."""
_KEY, _LABEL, _COLUMN, _PAGE = 7, 16, 38, 96
Moving = Sequence[tuple[str, str]]
Line = tuple[str, str, str]
"""Keys, label and help; of a heading the keys alone, after a blank."""


class HelpScreen(Contained, ModalScreen[None]):
    """Every action that exists here, with its keys."""

    DEFAULT_CSS = """
    HelpScreen { align: center middle; background: $background; }
    HelpScreen > Vertical { width: auto; height: auto; border: round $accent; border-title-color: $foreground; }
    HelpScreen LineView { width: auto; height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [("escape,q,question_mark", "dismiss(None)", "Close")]

    def __init__(self, actions: Sequence[Action] = ACTIONS, *, replay: bool = False, read_only: bool = False) -> None:
        super().__init__()
        self._signs = actions is ACTIONS
        self._actions = [action for action in actions if exists(action, replay=replay, read_only=read_only)]

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = Text("Keys · Esc closes")
            yield LineView()

    def on_mount(self) -> None:
        self._lay_out()
        self.query_one(LineView).focus()

    def on_resize(self, event: events.Resize) -> None:
        self._lay_out()

    def _lay_out(self) -> None:
        width, height = self.app.size.width - 2, self.app.size.height - 2
        moving = IN_SESSION if self._signs else MOVING
        page, lines = help_page(self._actions, width, height, moving), self.query_one(LineView)
        if self._signs:
            page = [*page, *signs_page(max(line.cell_len for line in page))]
            below = "↓ signs" if len(page) > height else "signs"
            self.query_one(Vertical).border_title = Text(f"Keys · Esc closes · {below}")
        lines.styles.width = min(width, max(line.cell_len for line in page))
        lines.styles.height = min(height, len(page))
        lines.show_lines(page)


def help_page(actions: Sequence[Action], width: int, height: int, moving: Moving = MOVING) -> list[Text]:
    """The page in one column where its lines fit the screen, else in two; `moving`: the keys of its lists."""
    told = told_lines(actions, moving)
    wide = [line for each in told for line in _full(each, min(width, _PAGE))]
    if len(wide) <= height:
        return wide
    column = max(_KEY + 12, min(_COLUMN, (width - 2) // 2))
    short = [line for each in told for line in _brief(each, column)]
    middle = (len(short) + 1) // 2
    left, right = short[:middle], short[middle:]
    if left and not left[-1].plain.startswith(" ") and right:  # a heading stands above what it heads
        right.insert(0, left.pop())
    return [_beside(before, after, column) for before, after in zip_longest(left, right, fillvalue=Text())]


def signs_page(width: int) -> list[Text]:
    """What the signs mean, as many on a line as this width has room for."""
    lines: list[Text] = []
    for heading, signs in MEANINGS:
        lines += [Text(heading, "accent"), Text()]
        for sign, style, meaning in signs:
            told = Text.assemble(("   " if lines[-1] else " "), (sign, style), f" {meaning}")
            if lines[-1] and lines[-1].cell_len + told.cell_len > width:
                lines.append(Text.assemble(" ", told[3:]))
            else:
                lines[-1].append_text(told)
    return lines


def told_lines(actions: Iterable[Action], moving: Moving = MOVING) -> list[Line]:
    """A line for each action, those that are told alike on one, under the headings of their groups."""
    lines: list[Line] = []
    for group, found in groupby(actions, key=lambda action: action.group):
        lines.append((group, "", ""))
        for help, alike in groupby(found, key=lambda action: action.help):
            several = list(alike)
            lines.append((_keys(several), several[0].label if len(several) == 1 else "", help))
    return [*lines, ("Every list", "", ""), *((keys, "", help) for keys, help in moving)]


def _keys(actions: Sequence[Action]) -> str:
    keys = [action.keys for action in actions]
    return f"{keys[0]}–{keys[-1]}" if len(keys) > 2 else " ".join(keys)


def _full(line: Line, width: int) -> list[Text]:
    keys, label, help = line
    if not help:
        return [Text(keys, "accent")]
    inset = 2 + _KEY + _LABEL
    first, *more = wrapped(help, max(10, width - inset))
    lines = [Text.assemble("  ", (padded(keys, _KEY), "strong"), padded(label, _LABEL), first)]
    return lines + [Text(" " * inset + rest) for rest in more]


def _brief(line: Line, width: int) -> list[Text]:
    keys, _, help = line
    if not help:
        return [Text(keys, "accent")]
    first, *more = wrapped(help, width - _KEY - 1)
    lines = [Text.assemble(" ", (padded(keys, _KEY), "strong"), first)]
    return lines + [Text(" " * (_KEY + 1) + rest) for rest in more]


def _beside(left: Text, right: Text, column: int) -> Text:
    return Text.assemble(left, " " * max(2, column + 2 - left.cell_len), right)
