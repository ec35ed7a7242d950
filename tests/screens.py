"""Parts of the application on a terminal of a given size: what is shown at a moment of a recorded session."""

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import told_sessions as told
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widget import Widget

from engine.record import events as ev
from engine.tools.bench_record import SESSION, write_session
from tui.engine_watch import EngineState
from tui.feed import Feed
from tui.moment import Moment, Selection
from tui.widgets.contained import Contained

State = Literal["answers", "silent", "gone", "ended", "replay"]
SIZES = [(80, 24), (120, 40), (200, 60)]


class Stage(Screen[None]):
    """Holds one widget; `read_only`: as for a person who may not decide anything."""

    def __init__(self, widget: Widget, read_only: bool = False) -> None:
        super().__init__()
        self.widget, self.read_only = widget, read_only

    def compose(self) -> ComposeResult:
        yield self.widget

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return not (self.read_only and action == "approve")


class Staged(App[None]):
    """Shows the stage; counts the bells."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage, self.bells = stage, 0

    def on_mount(self) -> None:
        self.push_screen(self.stage)

    def on_contained_failed(self, event: Contained.Failed) -> None:
        raise event.error

    def bell(self) -> None:
        self.bells += 1


@contextlib.contextmanager
def moment_of(
    folder: Path,
    events: Sequence[ev.Event],
    *,
    state: State = "answers",
    says: str = "",
    after: float = 3.0,
    replay: bool = False,
    position: int | None = None,
) -> Iterator[Moment]:
    """The moment `after` seconds behind the newest of the events, as the record tells it; `position`: a replay's."""
    db = folder / "sessions.db"
    if not db.exists():
        with ThreadPoolExecutor(1) as other:  # the writer has an event loop of its own
            other.submit(told.write, db, events).result()
    with contextlib.closing(Feed(db, told.NAME)) as feed:
        if position is not None:
            feed.seek(position)
        engine = EngineState("replay" if replay else state, 7, says)
        yield Moment(feed, engine, feed.view.time + after, replay, Selection())


@contextlib.contextmanager
def long_moment(folder: Path, trials: int = 1600) -> Iterator[Moment]:
    """The end of a session of so many trials."""
    db = folder / "long.db"
    write_session(db, 20 * trials, trials)
    with contextlib.closing(Feed(db, SESSION)) as feed:
        yield Moment(feed, EngineState("answers", 7, ""), feed.view.time + 1, False, Selection())


@contextlib.asynccontextmanager
async def staged(
    widget: Any, moment: Moment, size: tuple[int, int] = (80, 24), *, read_only: bool = False, **shown: object
) -> AsyncIterator[Pilot[None]]:
    """The widget alone on a terminal, brought to the moment."""
    app = Staged(Stage(widget, read_only))
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        await again(widget, moment, pilot, **shown)
        yield pilot


async def again(widget: Any, moment: Moment, pilot: Pilot[None], **shown: object) -> None:
    """Bring the widget to the moment, as the clock of the screen does, until it rests."""
    for _ in range(2):  # what is shown may change the layout, and the layout what is shown
        widget.show(moment, **shown)
        await pilot.pause()


def text_of(widget: Widget) -> list[str]:
    """What a widget shows on the screen, line by line, without blanks at the ends."""
    region = widget.region
    strips = widget.screen._compositor.render_strips()
    lines = strips[region.y : region.bottom]
    return [strip.crop(region.x, region.right).text.rstrip() for strip in lines]
