"""A part of the screen that fails says so in its place, and the rest goes on.

What happened goes into `viewer.log` beside the session's other files, once for each place in the code where it did:
on the screen there is room for a sentence only.
"""

import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from textual import events
from textual.app import App
from textual.dom import DOMNode
from textual.message import Message

from engine.record.head import run_directory
from engine.record.wording import clean
from tui.panes.pane import Pane
from tui.widgets.contained import Contained

if TYPE_CHECKING:
    from tui.app import BilevelApp

LOG = "viewer.log"
SHOWN_SECONDS = 20.0


class Surviving(App[str]):
    """For an application that knows its `db` and its `session`, if there is one."""

    def __init__(self) -> None:
        super().__init__()
        self._failures: set[tuple[str, ...]] = set()

    def failed(self: "BilevelApp", part: DOMNode, error: Exception, *, drawing: bool = True) -> None:
        """A part of the screen failed: mark it, write down how, and tell the person the first time."""
        pane = pane_of(part)
        name = pane.heading if pane is not None else type(part).__name__.lower()
        if pane is not None and drawing:
            pane.fail(f"{type(error).__name__}: {clean(error, 80)}")
        place = (name, type(error).__name__, *map(str, traceback.extract_tb(error.__traceback__)[-1:]))
        if place in self._failures:
            return
        self._failures.add(place)
        path = run_directory(self.db) / (self.session or "") / LOG
        what = "cannot be drawn" if drawing else "failed"
        told = f"see {path}" if _appended(path, f"{name} {what}", error) else f"{path} cannot be written"
        says = f"{name} {what} ({type(error).__name__}: {clean(error, 120)}); the rest goes on; {told}"
        self.notify(says, title="A fault of bilevel", severity="error", markup=False, timeout=SHOWN_SECONDS)

    def on_contained_failed(self: "BilevelApp", event: Contained.Failed) -> None:
        self.failed(event.widget, event.error, drawing=event.drawing)

    def on_contained_recovered(self, event: Contained.Recovered) -> None:
        pane = pane_of(event.widget)
        if pane is not None:
            pane.recover()

    async def _dispatch_message(self, message: Message) -> None:
        """Keys that the application itself acts on are contained as well."""
        try:
            await super()._dispatch_message(message)
        except Exception as error:
            if not isinstance(message, events.Key):
                raise
            self.failed(self.screen, error, drawing=False)  # type: ignore[misc]


def pane_of(part: DOMNode) -> Pane | None:
    """The pane that a part of the screen belongs to, if it is one's."""
    return next((node for node in part.ancestors_with_self if isinstance(node, Pane)), None)


def _appended(path: Path, what: str, error: Exception) -> bool:
    """Whether the failure was written down."""
    text = "".join(traceback.format_exception(error))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", errors="backslashreplace") as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {what}\n{text}\n")
    except OSError:
        return False
    return True
