"""A part of the screen that cannot be drawn says so in its place, and the rest goes on.

What happened goes into `viewer.log` beside the session's other files, once for each place in the code where it did:
on the screen there is room for a sentence only.
"""

import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import App
from textual.widget import Widget

from engine.record.head import run_directory
from engine.record.wording import clean
from tui.panes.pane import Pane
from tui.widgets.drawn import Drawn

if TYPE_CHECKING:
    from tui.app import BilevelApp

LOG = "viewer.log"
SHOWN_SECONDS = 20.0


class Surviving(App[str]):
    """For an application that knows its `db` and its `session`, if there is one."""

    def __init__(self) -> None:
        super().__init__()
        self._failures: set[tuple[str, ...]] = set()

    def failed(self: "BilevelApp", part: Widget, error: Exception) -> None:
        """A part of the screen failed: mark it, write down how, and tell the person the first time."""
        pane = next((node for node in part.ancestors_with_self if isinstance(node, Pane)), None)
        name = (pane or part).heading if isinstance(pane or part, Pane) else type(part).__name__.lower()
        if pane is not None:
            pane.fail(f"{type(error).__name__}: {clean(error, 80)}")
        place = (name, type(error).__name__, *map(str, traceback.extract_tb(error.__traceback__)[-1:]))
        if place in self._failures:
            return
        self._failures.add(place)
        path = run_directory(self.db) / (self.session or "") / LOG
        told = f"see {path}" if _appended(path, name, error) else f"{path} cannot be written"
        says = f"{name} cannot be drawn ({type(error).__name__}: {clean(error, 120)}); the rest goes on; {told}"
        self.notify(says, title="A fault of bilevel", severity="error", markup=False, timeout=SHOWN_SECONDS)

    def on_drawn_failed(self: "BilevelApp", event: Drawn.Failed) -> None:
        self.failed(event.widget, event.error)


def _appended(path: Path, name: str, error: Exception) -> bool:
    """Whether the failure was written down."""
    text = "".join(traceback.format_exception(error))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", errors="backslashreplace") as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {name} could not be drawn\n{text}\n")
    except OSError:
        return False
    return True
