"""What every pane has: a number to reach it by, a title, and `show`, which brings it to a moment."""

from typing import Any

from rich.text import Text
from textual import events
from textual.containers import Vertical
from textual.widget import Widget

from tui.moment import Moment
from tui.widgets.contained import Contained


class Pane(Contained, Vertical):
    """A framed side of the session. Subclasses set `number` and `heading`, compose their widgets, and define `show`."""

    number = 0
    heading = ""
    DEFAULT_CSS = """
    Pane { border: round $border-blurred; border-title-color: $text-muted;
        border-subtitle-color: $text-muted; padding: 0; height: 1fr; width: 1fr; }
    Pane:focus-within { border: round $border; border-title-color: $foreground; }
    Pane.-stale { border: dashed $warning; }
    Pane.-failed { border: heavy $error; border-title-color: $text-error; }
    """

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self._moment: Moment | None = None
        """What it shows, for a pane that does more with it than to show it once."""
        self._title_before: Any = None
        """What its title was before it failed."""

    def on_mount(self) -> None:
        self.border_title = self.titled()

    def titled(self, more: str = "") -> Text:
        """The title with its number, and what is said beside it; brackets in it are no markup."""
        return Text(f"{self.number} {self.heading}" + (f" · {more}" if more else ""))

    def show(self, moment: Moment) -> None:
        """Bring the pane to the moment: four times a second, and at once after a key. Draw only what changed."""
        raise NotImplementedError

    def fail(self, why: str) -> None:
        """Say in the title that it could not be drawn; what stands in it is from before."""
        if not self.has_class("-failed"):
            self.add_class("-failed")
            self._title_before, self.border_title = (
                self.border_title,
                self.titled(f"! cannot be drawn, what is shown is old: {why}"),
            )

    def recover(self) -> None:
        """It was drawn again."""
        if self.has_class("-failed"):
            self.remove_class("-failed")
            self.border_title = self._title_before

    def on_resize(self, event: events.Resize) -> None:
        if self._moment is not None:
            self.call_after_refresh(self.show, self._moment)

    def main(self) -> Widget:
        """The widget that takes the focus when the pane is chosen."""
        return next(widget for widget in self.query("*") if widget.focusable)
