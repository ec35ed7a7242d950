"""The list of sessions and two of them compared, on the screen: what they say of a session that changes meanwhile."""

from pathlib import Path

import pytest
import told_sessions as told
from fast_sessions import until
from textual.pilot import Pilot
from viewers import press, said, text, viewer, written

from engine.record import events as ev
from engine.record.lock import Holder
from tui.app import BilevelApp
from tui.screens.compare import CompareScreen
from tui.screens.session import SessionScreen
from tui.screens.sessions import SessionsScreen

OTHER = "20261122-0000-late-owl"


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A session that has finished, and a later one that has not."""
    told.write(tmp_path / "sessions.db", told.whole())
    return told.write(tmp_path / "sessions.db", [told.created(OTHER), *told.beginning()[1:]], OTHER)


def holds(monkeypatch: pytest.MonkeyPatch, session: str | None) -> None:
    """An engine runs the session, as far as the lock tells."""
    found = None if session is None else Holder(pid=1, session=session, socket="", started=0.0)
    for module in ("tui.listing", "tui.engine_watch"):
        monkeypatch.setattr(f"{module}.holder", lambda db: found)


async def shown(pilot: Pilot[str], *texts: str) -> None:
    try:
        await until(lambda: all(part in text(pilot) + said(pilot) for part in texts))
    except AssertionError:
        raise AssertionError(f"not all of {texts} in\n{text(pilot)}\n{said(pilot)}") from None


async def test_the_list_says_how_each_session_stands_and_follows_it(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holds(monkeypatch, OTHER)
    async with viewer(db, None) as pilot:
        await shown(pilot, "▸ running", "✓ finished", "0/7", "7/7")
        holds(monkeypatch, None)
        await shown(pilot, "! interrupted")
        await written(db, told.trials()[:2], OTHER)
        await shown(pilot, "1/7")


async def test_a_session_is_opened_at_its_end_and_the_list_rests_meanwhile(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.listing.LOOK_SECONDS", 0.01)  # a list that does not rest is sure to have looked
    async with viewer(db, None) as pilot:
        await shown(pilot, "! interrupted")
        listing = pilot.app.screen.listing
        await press(pilot, "enter")
        await shown(pilot, "REPLAY")
        screen = pilot.app.screen
        assert isinstance(screen, SessionScreen) and screen.feed.position == screen.feed.head
        before = listing.version
        await written(db, told.trials()[:2], OTHER)
        await shown(pilot, "event 10 of 12")  # a replay stays where it is
        assert listing.version == before
        await press(pilot, "l")
        assert isinstance(pilot.app.screen, SessionsScreen)
        await shown(pilot, "1/7")


async def test_the_end_of_a_session_that_was_interrupted_says_so(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with viewer(db, OTHER, replay=True) as pilot:
        await shown(pilot, "▸ running", "REPLAY")
        await press(pilot, *["full_stop"] * 12)
        await shown(pilot, "! interrupted", "■ ended")
        holds(monkeypatch, OTHER)
        await shown(pilot, "▸ running")


async def test_words_leave_only_the_sessions_that_have_them(db: Path) -> None:
    async with viewer(db, None) as pilot:
        await shown(pilot, "! interrupted")
        await press(pilot, "slash", *"finished", "enter")
        await shown(pilot, "1 of 2 sessions")
        assert OTHER not in text(pilot)
        await press(pilot, "escape")
        await shown(pilot, OTHER)


async def test_two_sessions_beside_each_other_follow_both_and_their_engine(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holds(monkeypatch, OTHER)
    async with viewer(db, None) as pilot:
        await shown(pilot, "▸ running")
        await press(pilot, "space", "down", "C")
        assert isinstance(pilot.app.screen, CompareScreen)
        await shown(pilot, "≠ state", "running", "finished", "0 of 7")
        await written(db, told.trials()[:2], OTHER)
        await shown(pilot, "1 of 7: 1 discard")
        holds(monkeypatch, None)
        await shown(pilot, "interrupted")
        await press(pilot, "q")
        await shown(pilot, "compare: C")


async def test_a_comparison_takes_any_size(db: Path) -> None:
    async with viewer(db, None) as pilot:
        await shown(pilot, "! interrupted")
        await press(pilot, "space", "down", "C")
        await shown(pilot, "≠ state", "interrupted")
        before = text(pilot)
        for width in (16, 10, 3, 120):
            await pilot.resize_terminal(width, 40 if width == 120 else 12)
            await pilot.pause()
        assert text(pilot) == before


async def test_a_comparison_waits_for_two(db: Path) -> None:
    async with viewer(db, None) as pilot:
        await shown(pilot, "! interrupted")
        assert "C Compare" not in text(pilot)
        await press(pilot, "C")
        await shown(pilot, "mark two sessions with space")
        await press(pilot, "space")
        await shown(pilot, "C Compare")


async def test_a_record_that_holds_none_says_how_to_begin(tmp_path: Path) -> None:
    async with viewer(tmp_path / "sessions.db", None) as pilot:
        await shown(pilot, "bilevel run --quick")
        await written(tmp_path / "other.db", [told.created(), ev.PhaseStarted(phase="baseline")])
        (tmp_path / "other.db").rename(tmp_path / "sessions.db")
        await shown(pilot, told.NAME)


async def test_a_comparison_with_a_session_that_is_gone_says_so(db: Path) -> None:
    async with viewer(db, None) as pilot:
        await shown(pilot, "! interrupted")
        pilot.app.push_screen(CompareScreen(db, OTHER, "20251122-0000-no-such"))
        await shown(pilot, "no session begins with", "Sessions")


async def test_why_a_session_could_not_be_opened_stays_over_the_list(db: Path) -> None:
    async with BilevelApp(db, "20251122-0000-no-such").run_test() as pilot:
        await shown(pilot, "no session begins with", "Sessions")


@pytest.mark.parametrize("width", [60, 80])
async def test_the_trials_of_a_long_session_are_not_cut(tmp_path: Path, width: int) -> None:
    events = [told.created(OTHER, trials=100_000), *told.beginning()[1:]]
    await written(tmp_path / "sessions.db", events, OTHER)
    async with viewer(tmp_path / "sessions.db", None, size=(width, 24)) as pilot:
        await shown(pilot, "! interrupted", "0/100000 ")
