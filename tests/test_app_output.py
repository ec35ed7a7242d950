"""The pane of the trainer's output: it follows the file, stands where the person holds or reads, shows any trial's."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import told_sessions as told
from textual.pilot import Pilot
from viewers import again, press, screen_of, text, viewer, written

from engine.record import events as ev
from engine.record.head import run_directory
from tui.panes.output import LINES, OutputPane
from tui.widgets.lines import LineView


def log_of(db: Path, run: str) -> Path:
    path = run_directory(db) / told.NAME / "runs" / f"{run}.1" / "trainer.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def pane_of(pilot: Pilot[str]) -> OutputPane:
    return screen_of(pilot).query_one(OutputPane)


def title(pilot: Pilot[str]) -> str:
    return str(pane_of(pilot).border_title)


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Path]:
    """A session whose third trial trains; the logs of all three are there."""
    db = tmp_path / "sessions.db"
    await written(db, [*told.beginning(), *told.trials()[:5]])
    for run in ("baseline-3", "trial-1", "trial-2"):
        log_of(db, run).write_text(f"this is {run}\n")
    log_of(db, "trial-3").write_text("step 1\n")
    yield db


async def test_it_follows_the_file_at_a_thousand_lines_a_second(db: Path) -> None:
    async with viewer(db, size=(80, 24)) as pilot:
        await press(pilot, "2")
        assert "step 1" in text(pilot) and "trial-3" in title(pilot)
        with log_of(db, "trial-3").open("a") as log:
            for second in range(5):
                log.writelines(f"second {second} line {line:04}\n" for line in range(1000))
                log.flush()
                await again(pilot)
                assert f"second {second} line 0999" in text(pilot)
        assert pane_of(pilot).lines.count() == LINES


async def test_where_the_person_reads_the_lines_stand_and_end_follows_again(db: Path) -> None:
    path = log_of(db, "trial-3")
    path.write_text("".join(f"line {line:05}\n" for line in range(3000)))
    async with viewer(db, size=(80, 24)) as pilot:
        await press(pilot, "2", "pageup", "pageup")
        before = pane_of(pilot).lines.offset_y
        [first] = [line for line in text(pilot).splitlines() if "line 029" in line][:1]
        with path.open("a") as log:
            log.writelines(f"line {line:05}\n" for line in range(3000, 4000))
        await again(pilot)
        assert first in text(pilot) and "line 03999" not in text(pilot)
        assert pane_of(pilot).lines.offset_y == before and "End follows" in title(pilot)
        await press(pilot, "end")
        await again(pilot)
        assert "line 03999" in text(pilot) and "End follows" not in title(pilot)


async def test_held_it_stands_and_goes_on_afterwards(db: Path) -> None:
    async with viewer(db, size=(80, 24)) as pilot:
        await press(pilot, "2", "space")
        with log_of(db, "trial-3").open("a") as log:
            log.write("step 2\n")
        await again(pilot)
        assert "step 1" in text(pilot) and "step 2" not in text(pilot) and "held" in title(pilot)
        await press(pilot, "space")
        await again(pilot)
        assert "step 2" in text(pilot) and "held" not in title(pilot)


async def test_a_selected_trial_shows_its_log_and_esc_what_trains(db: Path) -> None:
    async with viewer(db, size=(120, 40)) as pilot:
        await press(pilot, "1", "up", "up")
        await again(pilot)
        assert "this is trial-1" in text(pilot) and "trial-1" in title(pilot)
        await press(pilot, "g")
        await again(pilot)
        assert "this is baseline-3" in text(pilot)
        await press(pilot, "escape")
        await again(pilot)
        assert "step 1" in text(pilot) and "trial-3" in title(pilot)


async def test_a_new_run_takes_the_place_of_the_last(db: Path) -> None:
    async with viewer(db, size=(80, 24)) as pilot:
        await press(pilot, "2")
        await written(db, told.trials()[5:7])
        log_of(db, "trial-4").write_text("the fourth\n")
        await again(pilot)
        assert "the fourth" in text(pilot) and "trial-4" in title(pilot)


async def test_what_a_script_prints_does_nothing_to_the_terminal(db: Path) -> None:
    hostile = "\x1b[2J\x1b]0;title\x07[bold]no markup[/bold] \u202ereversed \x9bH\x00 end\n"
    log_of(db, "trial-3").write_text(hostile)
    async with viewer(db, size=(80, 24)) as pilot:
        await press(pilot, "2")
        shown = text(pilot)
        assert "[bold]no markup[/bold]" in shown and "end" in shown
        assert all(character.isprintable() for character in shown.replace("\n", ""))


async def test_searching_finds_the_newest_match_first_and_n_and_shift_n_go_on(db: Path) -> None:
    log_of(db, "trial-3").write_text(
        "".join(f"line {line} {'LOSS' if line % 50 == 0 else ''}\n" for line in range(220))
    )
    async with viewer(db, size=(80, 24)) as pilot:
        await press(pilot, "2", "slash", *"loss$", "enter")
        lines = pane_of(pilot).lines
        assert lines.line(lines._found).plain.startswith("line 200")  # type: ignore[arg-type]
        await press(pilot, "N")
        assert "line 150" in text(pilot)
        await press(pilot, "n", "n")
        assert "line 200" in text(pilot)
        assert "no further match" in "".join(note.message for note in pilot.app._notifications)


async def test_nothing_is_read_or_drawn_where_the_file_has_not_grown(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with viewer(db, size=(80, 24)) as pilot:
        await press(pilot, "2")
        await again(pilot)
        monkeypatch.setattr("tui.trainer_log.tail", None)
        monkeypatch.setattr(LineView, "show_lines", None)
        await again(pilot)
        assert "step 1" in text(pilot) and not pane_of(pilot).has_class("-failed")


async def test_a_replay_shows_as_much_as_had_been_printed(tmp_path: Path) -> None:
    progress = ev.TrialProgress(run="trial-1", attempt=1, step=1, fraction=0.5, loss=3.0, offset=len("step 1\n"))
    started, finished = told.trials()[:2]
    db = await written(tmp_path / "sessions.db", [*told.beginning(), started, progress, finished])
    log_of(db, "trial-1").write_text("step 1\nstep 2\n")
    async with viewer(db, replay=True, size=(80, 24)) as pilot:
        await press(pilot, "2")
        screen = screen_of(pilot)
        screen._at(screen.clock.seek(screen.feed.head - 1))
        await again(pilot)
        assert "step 1" in text(pilot) and "step 2" not in text(pilot)
        await press(pilot, "full_stop")
        await again(pilot)
        assert "step 2" in text(pilot)
