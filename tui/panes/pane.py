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
        self._beside = self._trouble = ""
        """What is said in the title beside the heading, and instead of it while the pane cannot be drawn."""

    def on_mount(self) -> None:
        self.entitle(self._beside)

    def entitle(self, beside: str = "") -> None:
        """Say something beside the heading; brackets in it are no markup."""
        self._beside = beside
        said = self._trouble or beside
        self.border_title = Text(f"{self.number} {self.heading}" + (f" · {said}" if said else ""))

    def show(self, moment: Moment) -> None:
        """Bring the pane to the moment: four times a second, and at once after a key. Draw only what changed."""
        raise NotImplementedError

    def fail(self, why: str) -> None:
        """Say in the title that it could not be drawn; what stands in it is from before."""
        if not self._trouble:
            self._trouble = f"! cannot be drawn, what is shown is old: {why}"
            self.add_class("-failed")
            self.entitle(self._beside)

    def recover(self) -> None:
        """It was drawn again."""
        if self._trouble:
            self._trouble = ""
            self.remove_class("-failed")
            self.entitle(self._beside)

    def on_resize(self, event: events.Resize) -> None:
        if self._moment is not None:
            self.call_after_refresh(self.show, self._moment)

    def main(self) -> Widget:
        """The widget that takes the focus when the pane is chosen."""
        return next(widget for widget in self.query("*") if widget.focusable)
