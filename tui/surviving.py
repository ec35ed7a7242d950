"""A part of the screen that fails says so in its place, and the rest goes on.

What happened goes into `viewer.log` beside the session's other files, once for each place in the code where it did:
on the screen there is room for a sentence only.
"""

import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import events
from textual.app import App
from textual.css.query import NoMatches
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
        self._failures: dict[tuple[str, ...], float] = {}
        """When the person was told last of each."""

    def failed(self: "BilevelApp", part: DOMNode, error: Exception, *, drawing: bool = True) -> None:
        """A part of the screen failed: mark it, write down how the first time, tell the person as long as it does."""
        pane = pane_of(part)
        name = getattr(pane or part, "heading", "") or type(part).__name__.lower()
        if pane is not None and drawing:
            pane.fail(f"{type(error).__name__}: {clean(error, 80)}")
        where = map(str, traceback.extract_tb(error.__traceback__)[-1:])
        place = (self.session or "", name, type(error).__name__, *where)
        now, before = time.monotonic(), self._failures.get(place)
        if before is not None and now - before < SHOWN_SECONDS:
            return
        self._failures[place] = now
        path = run_directory(self.db) / (self.session or "") / LOG
        what = "cannot be drawn" if drawing else "failed"
        written = before is not None or _appended(path, f"{name} {what}", error)
        told = f"see {path}" if written else f"{path} cannot be written"
        says = f"{name} {what} ({type(error).__name__}: {clean(error, 120)}); the rest goes on; {told}"
        self.notify(says, title="A fault of bilevel", severity="error", markup=False, timeout=SHOWN_SECONDS)

    def on_contained_failed(self: "BilevelApp", event: Contained.Failed) -> None:
        self.failed(event.widget, event.error, drawing=event.drawing)

    def on_contained_recovered(self, event: Contained.Recovered) -> None:
        pane = pane_of(event.widget)
        if pane is not None:
            pane.recover()

    def push_screen(self, screen: Any, callback: Callable[..., Any] | None = None, *args: Any, **how: Any) -> Any:
        """As Textual has it; what is done with a dialogue's answer is contained."""
        if callback is not None:
            self.clear_notifications()  # what was said before lies over what is asked now
            callback = self.screen.contained(callback) if isinstance(self.screen, Contained) else callback
        return super().push_screen(screen, callback, *args, **how)

    def _handle_exception(self, error: Exception) -> None:
        """As Textual has it; but a screen that was still to be shown when the person left has no parts any more."""
        if not (self._exit and isinstance(error, NoMatches)):
            super()._handle_exception(error)

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
