"""The parameters: values, who holds them fixed and why, and what guides the search."""

from pathlib import Path

import pytest
import told_sessions as told
from screens import SIZES, again, moment_of, staged, text_of

from engine.record import events as ev
from tui.panes.parameters import ParametersPane


def rows_of(pane: ParametersPane) -> list[str]:
    """The lines inside the frame that show anything."""
    return [line[1:].rstrip("│").rstrip() for line in text_of(pane)[1:-1] if line.strip("│ ")]


async def test_rows_tell_value_baseline_tries_and_who_holds_it(tmp_path: Path) -> None:
    reason = ev.StrategyDecided(trial=7, strategy="focused", frozen=["RATE"], reason="three losses", acted=True)
    events = [*told.beginning(), *told.trials(), reason, ev.ParameterFrozen(name="BATCH")]
    with moment_of(tmp_path, events) as moment:
        async with staged(pane := ParametersPane(), moment, (90, 12)):
            assert text_of(pane)[0].startswith("╭─ 3 Parameters · 2 frozen, 1 locked ─")
            assert rows_of(pane) == [
                "strategy focused",
                "◆ BATCH  32   frozen after trial 7 by a person     4 tried  1 kept  was 64",
                "◇ RATE   0.1  frozen after trial 7 by level 1.5: three losses     2 tried  0 kept",
                "# DEPTH  2    locked by the target",
                "BATCH  32, at first 64; 1 to 1024",
                "frozen after trial 7 by a person",
                "tried 4 times, kept 1",
                "tokens a step",
            ]


async def test_a_released_parameter_is_free_again(tmp_path: Path) -> None:
    events = [*told.beginning(), *told.trials()]
    whole = [*events, ev.ParameterUnfrozen(name="RATE")]
    with moment_of(tmp_path, whole, position=len(events)) as moment:
        async with staged(pane := ParametersPane(), moment) as pilot:
            assert "◇ RATE" in rows_of(pane)[2]
            moment.feed.seek(len(whole))
            await again(pane, moment, pilot)
            assert rows_of(pane)[2].startswith("  RATE") and "frozen" not in rows_of(pane)[2]


async def test_before_the_baseline_the_targets_values_stand_there(tmp_path: Path) -> None:
    with moment_of(tmp_path, told.beginning()[:2]) as moment:
        async with staged(pane := ParametersPane(), moment):
            assert rows_of(pane)[1] == "  BATCH  64    0 tried  0 kept  tokens a step"


async def test_guidance_says_whose_it_is_wraps_and_leaves_the_list_two_thirds(tmp_path: Path) -> None:
    events = [*told.beginning(), *told.trials(), ev.GuidanceGiven(text="try small batches " * 40)]
    with moment_of(tmp_path, events) as moment:
        async with staged(pane := ParametersPane(), moment, (60, 14)):
            lines = rows_of(pane)
            assert lines[0].startswith("strategy explore  you: try small batches")
            assert lines[3].endswith("…") and lines[4].startswith("  BATCH")


async def test_a_session_without_level_15_has_no_strategy(tmp_path: Path) -> None:
    with moment_of(tmp_path, told.beginning(levels=["1"])) as moment:
        async with staged(pane := ParametersPane(), moment):
            assert rows_of(pane)[0].startswith("  BATCH")


async def test_the_cursor_selects_what_a_freeze_is_about(tmp_path: Path) -> None:
    with moment_of(tmp_path, told.whole()) as moment:
        async with staged(pane := ParametersPane(), moment) as pilot:
            pane.main().focus()
            await again(pane, moment, pilot)
            assert moment.selection.parameter == "BATCH"
            await pilot.press("down")
            assert moment.selection.parameter == "RATE"


@pytest.mark.parametrize("size", SIZES)
async def test_hostile_guidance_and_reasons_are_words_that_fit(tmp_path: Path, size: tuple[int, int]) -> None:
    text = "[red]\x1b[2J\n" * 60
    decided = ev.StrategyDecided(trial=7, strategy="explore", frozen=["RATE"], guidance=text, reason=text, acted=True)
    with moment_of(tmp_path, [*told.beginning(), *told.trials(), decided]) as moment:
        async with staged(pane := ParametersPane(), moment, size):
            lines = text_of(pane)
            assert all(line.isprintable() and len(line) <= size[0] for line in lines)
            assert any("[red] [2J" in line for line in lines)
