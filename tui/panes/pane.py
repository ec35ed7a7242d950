"""What every pane has: a number to reach it by, a title, and `show`, which brings it to a moment."""

from rich.text import Text
from textual.containers import Vertical
from textual.widget import Widget

from tui.moment import Moment


class Pane(Vertical):
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
            self.border_title = self.titled(f"! cannot be drawn, what is shown is old: {why}")

    def recover(self) -> None:
        """It was drawn again."""
        if self.has_class("-failed"):
            self.remove_class("-failed")
            self.border_title = self.titled()

    def main(self) -> Widget:
        """The widget that takes the focus when the pane is chosen."""
        return next(widget for widget in self.query("*") if widget.focusable)
