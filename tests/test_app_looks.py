"""How the screen looks in the states that matter, kept as plain text, and that every cell of it can be read.

BILEVEL_LOOKS=write with this file's tests writes tests/looks/*.txt anew: look at the difference before it is kept.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import told_sessions as told
from rich.color import Color
from rich.segment import Segment
from test_app_injection import waiting
from test_app_mechanisms import GUARD, REVISED
from textual.pilot import Pilot
from viewers import BEGAN, again, lines, press, viewer, write_at

from engine.record import events as ev
from tui.engine_watch import EngineState

LOOKS = Path(__file__).with_name("looks")
SIZES = ((80, 24), (120, 40), (200, 60))
NOW = BEGAN + 400.0
GONE = f"the engine is gone: `bilevel resume {told.NAME}` takes the session up again"
STATES: dict[str, tuple[list[ev.Event], EngineState | None]] = {
    "no-trial-yet": (told.beginning()[:3], EngineState("answers", 7, "")),
    "crash": ([*told.beginning(), *told.trials()[:8]], EngineState("answers", 7, "")),
    "waiting": (waiting(), EngineState("answers", 7, "")),
    "deciding": (waiting(deadline=NOW + 83), EngineState("answers", 7, "")),
    "engine-gone": ([*told.beginning(), *told.trials()[:9]], EngineState("gone", None, GONE)),
    "replay": (told.whole(), None),
}
KEYS = {"deciding": ["i"], "replay": ["colon", "5", "enter"]}


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One time of day, in one zone, without a GPU, and nobody who looks for an engine."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr("tui.screens.session.wall_clock", lambda: NOW)
    monkeypatch.setattr("tui.gpu.Gpu.start", lambda self: None)
    monkeypatch.setattr("tui.engine_watch.EngineWatch._watch", lambda self: None)
    yield
    monkeypatch.undo()
    time.tzset()


async def shown(state: str, pilot: Pilot[str]) -> None:
    """Bring the screen to the state."""
    screen, engine = pilot.app.screen, STATES[state][1]
    if engine is not None:
        screen.engine_watch.state = engine  # type: ignore[attr-defined]
    await press(pilot, *KEYS.get(state, []))
    for _ in range(2):
        await again(pilot)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("state", STATES)
async def test_the_screen_is_as_it_was(tmp_path: Path, state: str, size: tuple[int, int]) -> None:
    events, engine = STATES[state]
    db = write_at(tmp_path / "sessions.db", events, [text.encode() for text in (told.SOURCE, GUARD, REVISED)])
    async with viewer(db, size=size, replay=engine is None) as pilot:
        await shown(state, pilot)
        found = "\n".join(lines(pilot)).replace(str(tmp_path), "/record") + "\n"
    kept = LOOKS / f"{state}-{size[0]}x{size[1]}.txt"
    if os.environ.get("BILEVEL_LOOKS") == "write":
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(found)
    assert found == kept.read_text(), f"{kept.name} looks otherwise now"


@pytest.mark.parametrize("theme", ["textual-dark", "textual-light"])
@pytest.mark.parametrize("state", STATES)
async def test_every_sign_stands_out_from_what_it_lies_on(tmp_path: Path, state: str, theme: str) -> None:
    events, engine = STATES[state]
    db = write_at(tmp_path / "sessions.db", events, [text.encode() for text in (told.SOURCE, GUARD, REVISED)])
    async with viewer(db, size=(120, 40), replay=engine is None, theme=theme) as pilot:
        await shown(state, pilot)
        strips = pilot.app.screen._compositor.render_strips()
        faint = {part.text.strip() for strip in strips for part in strip if part.text.strip() and contrast(part) < 2.5}
    assert not {text for text in faint if not set(text) <= set("─│╭╮╰╯┈╌┏┓┗┛━┃╍╏┌┐└┘ ")}


def contrast(part: Segment) -> float:
    """The contrast of a text with what it lies on, from 1 to 21 (WCAG 2.2); for the terminal's own colours 21."""
    style = part.style
    if style is None or style.color is None or style.bgcolor is None:
        return 21.0
    if any(color.is_default or color.triplet is None for color in (style.color, style.bgcolor)):
        return 21.0
    lighter, darker = sorted((luminance(style.color), luminance(style.bgcolor)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color: Color) -> float:
    assert color.triplet is not None
    parts = [value / 255 for value in color.triplet]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
