"""A replay on the screen: it plays and holds, steps and jumps, ends at the end, and what is newest is followed."""

from collections.abc import Callable
from pathlib import Path

import pytest
import told_sessions as told
from fast_sessions import until
from textual.pilot import Pilot
from viewers import again, press, said, screen_of, text, viewer, write_at, written

from engine.record import events as ev
from tui.panes.timeline import Timeline
from tui.panes.trials import TrialsPane


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """Seven trials, an event every seven seconds."""
    return write_at(tmp_path / "sessions.db", told.whole(), [told.SOURCE.encode()])


def position(pilot: Pilot[str]) -> int:
    return screen_of(pilot).feed.position


def clock_line(pilot: Pilot[str]) -> str:
    return screen_of(pilot).query_one(Timeline).lines[1].plain


async def pass_time(pilot: Pilot[str], seconds: float) -> None:
    """Let so many seconds of the person's pass, at one tick; what the test itself takes comes to it."""
    screen = screen_of(pilot)
    screen._looked -= seconds
    screen._tick()
    await pilot.pause()


async def test_space_plays_and_holds_and_gaps_are_skipped(db: Path) -> None:
    async with viewer(db, replay=True) as pilot:
        assert position(pilot) == 1 and "‖ held 1x" in clock_line(pilot)
        await press(pilot, "space")
        assert "▶ plays 1x" in clock_line(pilot)
        await pass_time(pilot, 11.0)  # a gap of seven seconds lasts five
        assert position(pilot) == 3
        await press(pilot, "space")
        await pass_time(pilot, 1000.0)
        assert position(pilot) == 3 and "‖ held" in clock_line(pilot)


async def test_it_ends_at_the_end_and_plays_from_the_beginning_again(db: Path) -> None:
    async with viewer(db, replay=True) as pilot:
        await press(pilot, "space", *[">"] * 20)
        assert "1000x" in clock_line(pilot)
        await pass_time(pilot, 10.0)
        head = screen_of(pilot).feed.head
        assert position(pilot) == head and "■ ended" in clock_line(pilot)
        await pass_time(pilot, 10.0)
        assert position(pilot) == head
        await press(pilot, *["<"] * 20, "space")
        assert position(pilot) < head and "▶ plays" in clock_line(pilot)


@pytest.mark.parametrize(
    ("key", "back", "happened"),
    [
        ("full_stop", "comma", lambda view: view.seq),
        ("right_square_bracket", "left_square_bracket", lambda view: len(view.finished_runs)),
    ],
)
async def test_steps_go_there_and_back(db: Path, key: str, back: str, happened: Callable[[object], int]) -> None:
    async with viewer(db, replay=True, at=1) as pilot:
        start = position(pilot)
        await press(pilot, key)
        there, known = position(pilot), happened(screen_of(pilot).feed.view)
        assert there > start and known
        await press(pilot, back)
        assert position(pilot) <= start
        await press(pilot, key)
        assert position(pilot) <= there


async def test_a_step_to_the_best_goes_from_one_to_the_next(db: Path) -> None:
    async with viewer(db, replay=True) as pilot:
        await press(pilot, "right_parenthesis")
        best = screen_of(pilot).feed.view.history.best
        assert best is not None and best.number == 3 == screen_of(pilot).feed.view.completed
        await press(pilot, "right_parenthesis")
        assert "there is no best after this" in said(pilot)


async def test_a_step_to_an_injection_shows_it_and_without_another_says_so(db: Path) -> None:
    async with viewer(db, replay=True) as pilot:
        await press(pilot, "4", "right_curly_bracket")
        assert screen_of(pilot).feed.view.active == [told.HASH] and "tabu_search" in text(pilot)
        here = position(pilot)
        await press(pilot, "right_curly_bracket")
        assert position(pilot) == here and "there is no injection after this" in said(pilot)


async def test_going_to_a_trial_follows_it_rather_than_staying_with_it(db: Path) -> None:
    async with viewer(db, replay=True) as pilot:
        await press(pilot, "colon", "3", "enter")
        screen = screen_of(pilot)
        assert screen.feed.view.completed == 3 and screen.selection.trial is None
        rows = screen.query_one(TrialsPane).rows
        assert rows.trial_at(rows.cursor) == 3
        await press(pilot, "right_square_bracket")
        assert rows.trial_at(rows.cursor) == 4
        await press(pilot, "colon", "9", "9", "enter")
        assert "there is no trial 99" in said(pilot) and screen.feed.view.completed == 4


async def test_a_selected_trial_stays_while_it_steps_by_events_and_playing_follows(db: Path) -> None:
    async with viewer(db, replay=True, at=5) as pilot:
        screen = screen_of(pilot)
        await press(pilot, "1", "up", "up", "full_stop", "full_stop")
        assert screen.selection.trial == 3
        await press(pilot, "space")
        assert screen.selection.trial is None
        await press(pilot, "space", "up")
        chosen = screen.selection.trial
        assert chosen is not None
        await press(pilot, "escape")
        assert screen.selection.trial is None


async def test_going_back_gives_up_a_selection_that_has_not_happened_there(db: Path) -> None:
    async with viewer(db, replay=True, at=6) as pilot:
        screen = screen_of(pilot)
        await press(pilot, "1", "up", "4", "g")
        screen.selection.mechanism = told.HASH
        assert screen.selection.trial == 5
        screen._at(screen.clock.seek(3))
        await pilot.pause()
        assert (screen.selection.trial, screen.selection.mechanism) == (None, None)


async def test_the_timeline_shows_the_marks_and_a_click_goes_there(db: Path) -> None:
    async with viewer(db, replay=True, size=(120, 40)) as pilot:
        line = screen_of(pilot).query_one(Timeline)
        assert [sign for sign in line.lines[0].plain if sign in "★✗◇◈■"] == ["★", "✗", "◇", "◈", "■"]
        await pilot.click(Timeline, offset=(line.region.width - 2, 0))
        assert position(pilot) == screen_of(pilot).feed.head
        await pilot.click(Timeline, offset=(1, 0))
        assert position(pilot) == 1


@pytest.mark.parametrize("width", [60, 80, 120, 200])
async def test_the_clock_fits_the_width_without_a_cut_word(db: Path, width: int) -> None:
    async with viewer(db, replay=True, at=3, size=(width, 24)) as pilot:
        told_there = clock_line(pilot)
        assert "held 1x" in told_there and "trial 3" in told_there and len(told_there) <= width - 2


async def test_commands_do_not_exist_in_a_replay(db: Path) -> None:
    async with viewer(db, replay=True, at=5) as pilot:
        for key in "iPKfmvaeRS":
            await press(pilot, key)
            assert pilot.app.screen is screen_of(pilot), key
        told = said(pilot).splitlines()
        assert len(told) == 10 and all(line.endswith(": a replay takes no commands") for line in told)


async def test_a_record_that_cannot_be_read_holds_the_replay(db: Path) -> None:
    async with viewer(db, replay=True) as pilot:
        await press(pilot, "space")
        screen = screen_of(pilot)
        screen.feed._reader.close()
        await pass_time(pilot, 60.0)
        assert not screen.clock.playing and "the replay holds" in said(pilot)
        assert pilot.app.is_running


async def test_a_session_that_was_interrupted_and_goes_on_meanwhile_grows_under_the_replay(tmp_path: Path) -> None:
    told_so_far = [*told.beginning(), *told.trials()[:6]]
    db = await written(tmp_path / "sessions.db", told_so_far)
    async with viewer(db, replay=True) as pilot:
        await press(pilot, "space", *[">"] * 20)
        await pass_time(pilot, 100.0)
        await until(lambda: screen_of(pilot).moment().engine.state == "gone")
        await again(pilot)
        assert position(pilot) == len(told_so_far) and "! interrupted" in text(pilot)
        more = [ev.EngineStarted(pid=2, boot_id="c", sandbox="C", resumed=True), *told.trials()[6:10]]
        await written(db, more)
        await again(pilot)
        assert position(pilot) == len(told_so_far) and f"event {len(told_so_far)} of {len(told_so_far) + 5}" in text(
            pilot
        )
        assert "interrupted" not in text(pilot), "it was not, as is known now"
        await press(pilot, "]")
        assert position(pilot) > len(told_so_far)
