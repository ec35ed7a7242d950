"""How every screen looks in the states that matter, dark and light, and that every sign of it can be read.

BILEVEL_LOOKS=write with this file's tests writes tests/looks/*.txt anew (tests/looking.py tells how they read): look at
the difference before it is kept. BILEVEL_LOOKS=draw makes pictures of them, in tests/looks-drawn.
"""

import difflib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import told_sessions as told
from fast_sessions import until
from looking import Cell, cells, faint
from looking import told as look_of
from test_app_injection import waiting
from textual.command import CommandPalette
from textual.pilot import Pilot
from textual.widgets import Input
from told_night import BLOBS, night
from viewers import BEGAN, again, press, said, text, write_at

from engine.record import events as ev
from tui.app import BilevelApp
from tui.engine_watch import EngineState
from tui.screens.asking import Ask, Confirm
from tui.screens.help import HelpScreen
from tui.screens.session import SessionScreen

KEPT, DRAWN = (Path(__file__).with_name(name) for name in ("looks", "looks-drawn"))
SIZES = ((80, 24), (120, 40), (200, 60))
THEMES = ("textual-dark", "textual-light")
NOW = BEGAN + 400.0
ANSWERS = EngineState("answers", 7, "")
OTHER = "20261122-0000-late-owl"
READ = "! interrupted"
"""Of the session that the list reads last."""
GONE = f"the engine is gone: `bilevel resume {told.NAME}` takes the session up again"
SILENT = "its process 7 is stopped: `kill -CONT 7` lets it go on"


DIALOGUES = (Ask, Confirm, HelpScreen, CommandPalette)
"""What lies under these is dimmed."""


@dataclass(frozen=True)
class Look:
    """A state: the events, how the engine is (None: it is replayed), and the keys that lead there.

    `waits`: what stands there before the keys, and `shows`: once they were pressed. `listed`: it begins with the list
    of sessions, a second one beside it.
    """

    events: list[ev.Event]
    engine: EngineState | None = ANSWERS
    keys: tuple[str, ...] = ()
    waits: str = ""
    shows: str = ""
    listed: bool = False


LOOKS = {
    # the session
    "no-trial-yet": Look(told.beginning()[:3]),
    "crash": Look([*told.beginning(), *told.trials()[:8]]),
    "night": Look(night()),
    "paused": Look([*night(), ev.StateChanged(status="paused", by="person", reason="lunch")]),
    "held": Look(night(), keys=("space",), shows="HELD"),
    "engine-gone": Look([*told.beginning(), *told.trials()[:9]], EngineState("gone", None, GONE)),
    "engine-silent": Look([*told.beginning(), *told.trials()[:9]], EngineState("silent", 7, SILENT)),
    "replay": Look(told.whole(), None, ("colon", "5", "enter")),
    "replay-ended": Look(told.whole(), None, ("colon", "7", "enter", *["full_stop"] * 2)),
    # its panes, each on the whole screen
    "trials-zoomed": Look(night(), keys=("z",)),
    "output": Look(night(), keys=("2", "z")),
    "parameters": Look(night(), keys=("3", "z")),
    "mechanism-source": Look(night(), keys=("4", "z")),
    "mechanism-difference": Look(night(), keys=("4", "z", "d")),
    "mechanism-evidence": Look(night(), keys=("4", "z", "r")),
    "mechanism-acts": Look(night(), keys=("4", "z", "w")),
    "curve": Look(night(), keys=("5", "z")),
    "level-2": Look(night(), keys=("6", "z", "up", "up", "up")),
    "level-2-asked": Look(night(), keys=("6", "z", "up", "up", "up", "b")),
    "searched": Look(night(), keys=("2", "z", "slash", *"step", "enter")),
    # what lies over it
    "waiting": Look(waiting()),
    "deciding": Look(waiting(deadline=NOW + 83), keys=("i",)),
    "deciding-difference": Look(waiting(deadline=NOW + 83), keys=("i", "d")),
    "approving": Look(waiting(deadline=NOW + 83), keys=("i", "a")),
    "vetoing": Look(waiting(deadline=NOW + 83), keys=("i", "v", *"it repeats")),
    "guiding": Look(night(), keys=("m",)),
    "stopping": Look(night(), keys=("S",)),
    "help": Look(night(), keys=("question_mark",)),
    "help-replay": Look(told.whole(), None, ("question_mark",)),
    "palette": Look(night(), keys=("ctrl+p", *"freeze"), shows="Freeze or free"),
    # the list
    "no-session": Look([], listed=True, waits="bilevel run --quick"),
    "sessions": Look(night(), listed=True, waits=READ),
    "sessions-filtered": Look(night(), listed=True, waits=READ, keys=("slash", *"guard"), shows="1 of 2"),
    "sessions-help": Look(night(), listed=True, waits=READ, keys=("question_mark",)),
    "compared": Look(night(), listed=True, waits=READ, keys=("space", "down", "C"), shows="≠ trials"),
}


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One time of day, in one zone, without a GPU, a cursor that does not blink, and nobody who looks for an engine."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr("tui.screens.session.wall_clock", lambda: NOW)
    monkeypatch.setattr("tui.gpu.Gpu.start", lambda self: None)
    monkeypatch.setattr("tui.engine_watch.EngineWatch._watch", lambda self: None)
    monkeypatch.setattr(Input, "_toggle_cursor", lambda self: None)
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    "size", [*SIZES[:2], pytest.param(SIZES[2], marks=pytest.mark.long)], ids=lambda size: f"{size[0]}x{size[1]}"
)
@pytest.mark.parametrize("name", LOOKS)
async def test_it_looks_as_it_did_and_every_sign_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, size: tuple[int, int]
) -> None:
    monkeypatch.chdir(tmp_path)
    look, known = LOOKS[name], f"{name}-{size[0]}x{size[1]}"
    db = Path("sessions.db")  # as a relative path, which reads the same wherever the test runs
    write_at(db, look.events, BLOBS)
    if look.listed and look.events:
        write_at(db, [told.created(OTHER, model="m", seed=7), *told.whole()[1:]], name=OTHER, began=BEGAN + 9e4)
    dark, light = await seen(db, look, size, known)
    found, kept = look_of(dark, light), KEPT / f"{known}.txt"
    if os.environ.get("BILEVEL_LOOKS") == "write":
        KEPT.mkdir(exist_ok=True)
        kept.write_text(found)
    both = kept.read_text().splitlines(), found.splitlines()
    assert found == kept.read_text(), "\n".join(difflib.unified_diff(*both, kept.name, "as it looks now", n=0))


def test_no_look_is_kept_of_what_is_no_more() -> None:
    assert {kept.stem for kept in KEPT.glob("*.txt")} == {f"{name}-{w}x{h}" for name in LOOKS for w, h in SIZES}


async def seen(db: Path, look: Look, size: tuple[int, int], known: str) -> list[list[list[Cell]]]:
    """The state on a screen of this size, cell by cell, in each theme."""
    opened = {} if look.listed else {"session": told.NAME, "replay": look.engine is None}
    app = BilevelApp(db, opened.pop("session", None), **opened)
    found = []
    async with app.run_test(size=size) as pilot:
        if isinstance(app.screen, SessionScreen) and look.engine is not None:
            app.screen.engine_watch.state = look.engine  # type: ignore[union-attr]
        await until(lambda: look.waits in text(pilot))
        await settled(pilot)
        narrow = app.screen.has_class("-narrow")  # there a pane has the whole screen anyway, and z says so
        await press(pilot, *(key for key in look.keys if not (narrow and key == "z" and look.keys[0] != "z")))
        await until(lambda: look.shows in text(pilot))
        for theme in THEMES:
            app.theme = theme
            await settled(pilot)
            strips = app.screen._compositor.render_strips()
            over = app.screen.children[0].region if isinstance(app.screen, DIALOGUES) else app.screen.region
            assert not faint([strip.crop(over.x, over.right) for strip in strips[over.y : over.bottom]])
            found.append(cells(strips))
            if os.environ.get("BILEVEL_LOOKS") == "draw":
                DRAWN.mkdir(exist_ok=True)
                (DRAWN / f"{known}-{theme}.svg").write_text(app.export_screenshot(title=known))
        assert not app._failures and not said(pilot)
    return found


async def settled(pilot: Pilot[str]) -> None:
    """Until its clock has come round: what is shown may change the layout, and the layout what is shown."""
    if any(isinstance(screen, SessionScreen) for screen in pilot.app.screen_stack):
        await again(pilot)
    await pilot.pause()
