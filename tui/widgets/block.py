"""A few lines that are exchanged as a whole, and drawn again only where they differ."""

from collections.abc import Sequence

from rich.text import Text
from textual.geometry import Region
from textual.strip import Strip

from tui.widgets.drawn import Drawn


class Block(Drawn):
    """As high as its lines; without any it is not there. A layout happens only when their number changes."""

    DEFAULT_CSS = "Block { height: 0; width: 1fr; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.lines: list[Text] = []
        self.display = False

    def show_lines(self, lines: Sequence[Text]) -> None:
        """Show these lines, each cut at the width, with an ellipsis."""
        before, self.lines = self.lines, list(lines)
        if len(before) != len(lines):
            self.styles.height = len(lines)
            self.display = bool(lines)
            self.refresh()
            return
        changed = [y for y, (old, new) in enumerate(zip(before, lines, strict=True)) if old != new]
        if changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def render_line(self, y: int) -> Strip:
        width, line = self.size.width, self.lines[y] if y < len(self.lines) else Text()
        if line.cell_len > width:
            line = line.copy()
            line.truncate(width, overflow="ellipsis")
        return self.drawn(line).crop(0, width).extend_cell_length(width, self.base)
