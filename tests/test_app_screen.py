"""The screen of a session: resizing, zoom, tabs, holding it, a pane that fails, and the end of what watches."""

import threading
from pathlib import Path

import pytest
import told_sessions as told
from fast_sessions import until
from textual import events
from textual.geometry import Size
from textual.pilot import Pilot
from viewers import again, lines, press, quiet, said, screen_of, text, viewer, write_at, written

from engine.control import Answer
from engine.record import events as ev
from engine.record.head import run_directory
from engine.record.lock import Holder
from tui.app import THEMES
from tui.engine_watch import EngineState
from tui.feed import Feed
from tui.panes.curve import CurvePane
from tui.panes.header import Header
from tui.panes.mechanisms import MechanismsPane
from tui.panes.parameters import ParametersPane
from tui.panes.trials import TrialsPane
from tui.screens.help import HelpScreen
from tui.screens.session import SessionScreen
from tui.screens.tabs import Tabs
from tui.widgets.keybar import KeyBar
from tui.widgets.lines import LineView


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return write_at(tmp_path / "sessions.db", told.whole(), [told.SOURCE.encode()])


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A session of which two trials are done; an engine is taken to run it."""
    monkeypatch.setattr("tui.engine_watch.EngineWatch._watch", lambda self: None)
    return write_at(tmp_path / "sessions.db", [*told.beginning(), *told.trials()[:4]])


async def resize(pilot: Pilot[str], width: int, height: int) -> None:
    await pilot.resize_terminal(width, height)
    await again(pilot)


# --- sizes ------------------------------------------------------------------------------------------------------------
async def test_every_size_keeps_the_focus_and_what_is_selected(db: Path) -> None:
    async with viewer(db, size=(120, 40)) as pilot:
        await press(pilot, "1", "up", "up", "4")
        screen = screen_of(pilot)
        focused, chosen = screen.focused, screen.selection.trial
        assert chosen == 5
        for width, height in ((80, 24), (200, 60), (50, 10), (60, 16), (120, 40)):
            await resize(pilot, width, height)
            assert (screen.current, screen.selection.trial) == (4, chosen), (width, height)
            if width >= 60:
                assert screen.query_one(MechanismsPane).region and screen.focused is focused, (width, height)
        await press(pilot, "1")
        rows = screen.query_one(TrialsPane).rows
        assert rows.trial_at(rows.cursor) == 5


@pytest.mark.parametrize(("size", "shown"), [((80, 24), 1), ((99, 24), 1), ((100, 30), 6), ((200, 60), 6)])
async def test_narrow_screens_show_one_pane_and_others_all(db: Path, size: tuple[int, int], shown: int) -> None:
    async with viewer(db, size=size) as pilot:
        screen = screen_of(pilot)
        assert sum(bool(pane.region) for pane in screen.panes) == shown
        assert bool(screen.query_one(Tabs).region) is (shown == 1)


@pytest.mark.parametrize("size", [(59, 40), (120, 15)])
async def test_a_terminal_that_is_too_small_is_told_so_and_q_still_leaves(db: Path, size: tuple[int, int]) -> None:
    async with viewer(db, size=size) as pilot:
        assert "at least 60 x 16" in text(pilot) and "Trials" not in text(pilot)
        await press(pilot, "q")
        assert not pilot.app.is_running


@pytest.mark.parametrize("width", [60, 70, 80, 99])
async def test_every_tab_has_its_number_and_a_click_chooses_it(db: Path, width: int) -> None:
    async with viewer(db, size=(width, 24)) as pilot:
        screen = screen_of(pilot)
        for number in range(1, 7):
            row = next(line for line in lines(pilot) if "[" in line and " 6 " in f"{line} ")
            await pilot.click(Tabs, offset=(row.index(str(number)), 0))
            assert screen.current == number
            assert f"[{number} {screen.focused_pane().heading}]" in text(pilot)


async def test_zoom_gives_the_pane_the_whole_screen_and_takes_it_back(db: Path) -> None:
    async with viewer(db, size=(120, 40)) as pilot:
        screen = screen_of(pilot)
        await press(pilot, "5", "z")
        assert [type(pane) for pane in screen.panes if pane.region] == [CurvePane]
        await press(pilot, "3")
        assert [type(pane) for pane in screen.panes if pane.region] == [ParametersPane]
        await press(pilot, "z")
        assert all(pane.region for pane in screen.panes)


async def test_on_a_narrow_screen_zoom_tells_all_about_a_trial_and_is_offered_there_alone(tmp_path: Path) -> None:
    last = told.run("trial-8", 8, 2.7, base=3, changes={"BATCH": 24}, hypothesis="fewer tokens a step " * 40)
    db = write_at(tmp_path / "sessions.db", [*told.beginning(), *told.trials(), *last])
    async with viewer(db, size=(80, 30)) as pilot:
        assert "z Zoom" in lines(pilot)[-1] and "(z: all of it)" in text(pilot)
        before = text(pilot).count("fewer tokens")
        await press(pilot, "z")
        assert text(pilot).count("fewer tokens") > before and "z Unzoom" in lines(pilot)[-1]
        await press(pilot, "z", "3")
        assert "z Zoom" not in lines(pilot)[-1]
        await press(pilot, "z")
        assert "has the whole screen already" in said(pilot)


# --- holding ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("key", ["space", "end", "escape", "G"])
async def test_held_it_stands_says_so_and_comes_back_to_now(running: Path, key: str) -> None:
    async with viewer(running) as pilot:
        await press(pilot, "space")
        await written(running, told.trials()[4:6])
        await again(pilot)
        assert "HELD 2 behind" in text(pilot) and "2/7 trials" in text(pilot) and "1 Trials · 2 done" in text(pilot)
        await press(pilot, key)
        await again(pilot)
        assert "HELD" not in text(pilot) and "3/7 trials" in text(pilot)
        await written(running, told.trials()[6:8])
        await again(pilot)
        assert "4/7 trials" in text(pilot)


async def test_what_waits_is_told_even_while_it_is_held(running: Path) -> None:
    async with viewer(running) as pilot:
        await press(pilot, "space")
        waits = ev.InjectionWaiting(hash=told.HASH, name="tabu_search", approval="ask", trusted=True)
        await written(running, [*told.mechanism()[:2], waits])
        await again(pilot)
        assert "INJECTION" in text(pilot) and "no mechanism was written yet" in text(pilot).lower()
        await press(pilot, "i")
        assert "tabu_search waits for a decision" in text(pilot)


async def test_a_command_is_about_now_also_while_it_is_held(running: Path) -> None:
    async with viewer(running) as pilot:
        await press(pilot, "space")
        await written(running, [*told.trials()[4:5], ev.StateChanged(status="paused")])
        await again(pilot)
        await press(pilot, "K")
        assert f"Stop {told.trials()[4].run}?" in text(pilot)
        await press(pilot, "n", "P")
        assert "resume: refused" in said(pilot)  # no engine runs it; what was asked for is the point


# --- commands ---------------------------------------------------------------------------------------------------------
async def test_a_command_is_said_to_be_sent_until_its_answer_is_there_in_one_note(
    running: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {word: threading.Event() for word in ("pause", "guide")}

    def send(socket: str, command: str, *args: object, **how: object) -> Answer:
        assert answers[command].wait(60)
        return Answer(True, f"{command} is done")

    monkeypatch.setattr("tui.screens.commanding.holder", lambda db: Holder(1, told.NAME, "", 0.0))
    monkeypatch.setattr("tui.screens.commanding.send", send)
    async with viewer(running) as pilot:
        await pilot.press("P")
        await until(lambda: said(pilot) == ": pause: sent, no answer yet")
        await pilot.press("P", "m", *"x", "enter")
        await until(lambda: said(pilot) == ": pause, guide: sent, no answer yet")
        answers["pause"].set()
        await until(lambda: said(pilot).count("✓ pause: pause is done") == 2)
        assert said(pilot).count("\n") == 2 and ": guide: sent, no answer yet" in said(pilot)
        answers["guide"].set()
        await until(lambda: "✓ guide: guide is done" in said(pilot))
        assert "no answer yet" not in said(pilot)
        quiet(pilot)
        await press(pilot, "P")  # answered at once
        assert said(pilot) == "✓ pause: pause is done"


# --- faults -----------------------------------------------------------------------------------------------------------
async def test_a_pane_that_fails_says_so_the_others_go_on_and_it_is_written_down(
    running: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with viewer(running, fails=True) as pilot:
        show = MechanismsPane.show

        def broken(self: MechanismsPane, moment: object) -> None:
            raise KeyError("nothing [bold]of the kind")

        monkeypatch.setattr(MechanismsPane, "show", broken)
        await written(running, told.trials()[4:6])
        for _ in range(3):
            await again(pilot)
        assert "3/7 trials" in text(pilot) and "1 Trials · 3 done" in text(pilot)
        pane = screen_of(pilot).query_one(MechanismsPane)
        assert "cannot be drawn" in str(pane.border_title) and "KeyError" in str(pane.border_title)
        log = run_directory(running) / told.NAME / "viewer.log"
        assert log.read_text().count("Traceback") == 1 and "broken" in log.read_text()
        assert said(pilot).count("the rest goes on") == 1
        monkeypatch.setattr(MechanismsPane, "show", show)
        await again(pilot)
        assert str(pane.border_title) == "4 Mechanisms" and not pane.has_class("-failed")


async def test_a_line_that_cannot_be_drawn_takes_nothing_else_down(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with viewer(db, fails=True) as pilot:
        line = LineView.line

        def broken(self: LineView, index: int) -> object:
            if self.id == "known":
                raise ValueError("no such line")
            return line(self, index)

        monkeypatch.setattr(LineView, "line", broken)
        pane = screen_of(pilot).query_one(MechanismsPane)
        pane.query_one("#known").refresh()
        # Drawn by the screen, not for this test's looking at it.
        await until(lambda: "Mechanisms cannot be drawn (ValueError: no such line)" in said(pilot))
        await until(lambda: pane.has_class("-failed") and "cannot be drawn" in str(pane.border_title))
        pane.entitle("2 active")  # what happens meanwhile is said once it is drawn again
        monkeypatch.setattr(LineView, "line", line)
        pane.query_one("#known").refresh()
        await until(lambda: str(pane.border_title) == "4 Mechanisms · 2 active" and not pane.has_class("-failed"))
        assert pilot.app.is_running and "1 Trials" in text(pilot)


@pytest.mark.parametrize(
    ("cls", "name", "keys"),
    [
        (TrialsPane, "on_line_view_moved", ["up"]),
        (TrialsPane, "on_resize", []),
        (Feed, "poll", []),
        (SessionScreen, "_resized", []),
        (SessionScreen, "action_zoom", ["z"]),
        (LineView, "action_move", ["up"]),
        (SessionScreen, "go_to_trial", ["colon", "1", "enter"]),
        (HelpScreen, "on_key", ["question_mark", "x"]),
    ],
)
async def test_what_fails_in_a_handler_a_timer_or_an_action_ends_nothing(
    db: Path, monkeypatch: pytest.MonkeyPatch, cls: type, name: str, keys: list[str]
) -> None:
    async with viewer(db, fails=True) as pilot:

        def broken(self: object, *args: object) -> None:
            raise KeyError("nothing of the kind")

        monkeypatch.setattr(cls, name, broken, raising=name != "on_key")
        await pilot.resize_terminal(110, 38)
        await press(pilot, *keys)
        await until(lambda: "failed (KeyError" in said(pilot))
        monkeypatch.undo()
        await press(pilot, "escape", "3")
        await again(pilot)
        assert pilot.app.is_running and screen_of(pilot).current == 3


async def test_a_failure_that_cannot_be_written_down_is_still_told(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with viewer(db, fails=True) as pilot:
        monkeypatch.setattr(Header, "show", None)
        (run_directory(db) / told.NAME).parent.mkdir(exist_ok=True)
        (run_directory(db) / told.NAME).write_text("a file is in the way")
        await again(pilot)
        assert "header cannot be drawn" in said(pilot) and "cannot be written" in said(pilot)


async def test_leaving_the_screen_closes_the_record_and_what_watches_the_engine(running: Path) -> None:
    async with viewer(running) as pilot:
        screen = screen_of(pilot)
        assert screen.engine_watch is not None
        await press(pilot, "q")
    assert screen.engine_watch._closed.is_set()


# --- what is offered --------------------------------------------------------------------------------------------------
async def test_commands_are_offered_while_a_session_may_go_on_and_to_who_may_command(running: Path) -> None:
    async with viewer(running) as pilot:
        assert "Pause" in lines(pilot)[-1]
        await written(running, told.ending()[1:])
        await again(pilot)
        assert "Pause" not in lines(pilot)[-1] and "Leave" in lines(pilot)[-1]
        assert "Hold" not in lines(pilot)[-1]
        await press(pilot, "space")
        assert "nothing goes on that could be held" in said(pilot) and "HELD" not in text(pilot)
    async with viewer(running, read_only=True) as pilot:
        assert "Pause" not in lines(pilot)[-1]


async def test_the_last_line_offers_what_there_is_something_to_do_with(running: Path) -> None:
    async with viewer(running) as pilot:
        assert "Decide" not in lines(pilot)[-1] and "Freeze" not in lines(pilot)[-1]
        await press(pilot, "3")
        assert "f Freeze" in lines(pilot)[-1]
        await press(pilot, "4")
        assert "Revert" not in lines(pilot)[-1] and "Freeze" not in lines(pilot)[-1]
        await written(running, told.mechanism())
        await again(pilot)
        assert "R Revert" in lines(pilot)[-1]
        await press(pilot, "space")
        assert "space Go on" in lines(pilot)[-1]
    async with viewer(running, replay=True) as pilot:
        assert "[ ] Trial" in lines(pilot)[-1] and "Kill" not in lines(pilot)[-1]


async def test_the_last_line_asks_nothing_of_an_engine_that_is_gone(running: Path) -> None:
    async with viewer(running) as pilot:
        for state, offered in (("answers", True), ("silent", True), ("gone", False)):
            screen_of(pilot).engine_watch.state = EngineState(state, None, "")  # type: ignore[arg-type]
            await again(pilot)
            assert ("P Pause" in lines(pilot)[-1]) is offered and "q Leave" in lines(pilot)[-1]


async def test_a_click_on_the_last_line_does_what_its_key_does(running: Path) -> None:
    async with viewer(running, replay=True) as pilot:
        bar = screen_of(pilot).query_one(KeyBar)
        line = lines(pilot)[-1]
        feed, places = screen_of(pilot).feed, []
        for key in ("] Trial", "] Trial", "[ ]"):
            await pilot.click(bar, offset=(line.index(key), 0))
            places.append(feed.position)
        assert places[0] < places[1] and places[2] == places[0]
        await pilot.click(bar, offset=(line.index("? Help") + 4, 0))
        assert isinstance(pilot.app.screen, HelpScreen)


@pytest.mark.parametrize("replay", [False, True])
async def test_the_footer_fits_the_narrowest_screen(running: Path, replay: bool) -> None:
    async with viewer(running, size=(60, 16), replay=replay) as pilot:
        assert ("Play" if replay else "Hold") in lines(pilot)[-1] and "Leave" in lines(pilot)[-1]


@pytest.mark.parametrize("theme", THEMES)
async def test_every_theme_shows_the_same_text(db: Path, theme: str) -> None:
    async with viewer(db, size=(120, 40)) as pilot:
        before = [line for line in lines(pilot) if "ended" not in line]
    async with viewer(db, size=(120, 40), theme=theme) as pilot:
        assert [line for line in lines(pilot) if "ended" not in line] == before


async def test_without_colour_it_is_the_same_text(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with viewer(db, size=(80, 24)) as pilot:
        before = lines(pilot)[3:]
    monkeypatch.setenv("NO_COLOR", "1")
    async with viewer(db, size=(80, 24)) as pilot:
        assert lines(pilot)[3:] == before


async def test_a_size_that_is_past_lays_nothing_out(db: Path) -> None:
    """Two sizes under way at once would bring each other about for ever."""
    async with viewer(db) as pilot:
        screen = screen_of(pilot)
        screen.post_message(events.Resize(Size(70, 20), Size(70, 20)))
        await pilot.pause()
        assert screen.size == Size(120, 40) and screen.has_class("-mid")


async def test_keys_that_come_together_act_on_the_row_that_they_lead_to(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(SessionScreen, "order", lambda screen, command, arguments=None: asked.append(arguments))
    monkeypatch.setattr(SessionScreen, "read_only", False)
    async with viewer(db) as pilot:
        await press(pilot, "3")
        pane = screen_of(pilot).query_one(ParametersPane)
        pane.rows.action_move(1)
        screen_of(pilot).action_freeze()  # before the message that the cursor has moved
        assert asked == [{"name": pane.rows.parameters[1].name}]


async def test_help_in_a_narrow_terminal_is_narrow(db: Path) -> None:
    async with viewer(db, size=(25, 20)) as pilot:
        await press(pilot, "question_mark")
        assert "Keys" in text(pilot)
