"""Small dialogues: a question whose default answer is no, and a line to fill in."""

from collections.abc import Mapping
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from tui.widgets.contained import Contained

DIALOGUE = """
%s { align: center middle; background: $background 60%%; }
%s > Vertical { width: 76; max-width: 96%%; height: auto; max-height: 90%%; border: round $warning; padding: 0 1;
    border-title-color: $foreground; border-subtitle-color: $text-muted; }
%s VerticalScroll { height: auto; max-height: 16; }
"""
YES = {"y": "yes"}


class Words(Input):
    """A line of text, into which every line of a paste goes, one behind the other, without control characters.

    Textual's takes the first line alone, and none of what is longer than there is room for.
    """

    def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        lines = event.text.strip("\r\n").splitlines()
        text = " ".join(filter(None, map(str.strip, lines))) if len(lines) > 1 else "".join(lines)
        line = "".join(each for each in text.replace("\t", " ") if each.isprintable())
        room = self.max_length - len(self.value) + len(self.selected_text) if self.max_length else len(line)
        self.replace(line[: max(0, room)], *self.selection)
        if len(line) > room:
            self.notify(f"cut: there is room for {self.max_length:,} characters", severity="warning")


class Confirm(Contained, ModalScreen[str]):
    """A question with the keys that answer it; its result is the key, empty for no, which every other answer means."""

    DEFAULT_CSS = DIALOGUE % (("Confirm",) * 3)
    BINDINGS: ClassVar[list[BindingType]] = [Binding("n,escape,enter,q", "dismiss('')", "No")]

    def __init__(self, title: str, body: str, answers: Mapping[str, str] = YES) -> None:
        super().__init__()
        self._title, self._body, self._answers = title, body, answers

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = Text(self._title)
            yield VerticalScroll(Static(self._body, markup=False), can_focus=False)
            keys = [f"{key}  {words}" for key, words in self._answers.items()]
            yield Static("\n" + "      ".join([*keys, "n  no (as Enter and Esc)"]), markup=False)

    def on_key(self, event: events.Key) -> None:
        if event.key in self._answers and self.is_current:  # the same key again may be here already
            event.stop()
            self.dismiss(event.key)


class Ask(Contained, ModalScreen[str | None]):
    """A line of text; None when the person thinks better of it."""

    DEFAULT_CSS = DIALOGUE % (("Ask",) * 3)
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Cancel")]

    def __init__(self, title: str, hint: str = "", value: str = "", longest: int = 2000) -> None:
        super().__init__()
        self._title, self._hint, self._value, self._longest = title, hint, value, longest

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = Text(self._title)
            box.border_subtitle = Text("Enter  done    Esc  cancel")
            if self._hint:
                yield Static(self._hint, markup=False)
            yield Words(self._value, max_length=self._longest)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if self.is_current:  # Enter may have been pressed twice
            self.dismiss(event.value)
