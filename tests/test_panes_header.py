"""The header: what a person sees of a session at a glance, and what gives way where the terminal is narrow."""

from pathlib import Path

import pytest
import told_sessions as told
from screens import moment_of, staged, text_of
from textual.widget import Widget

from engine.record import events as ev
from tui.gpu import Reading
from tui.panes.header import Header


def running(**progress: float) -> list[ev.Event]:
    """The eighth trial trains."""
    started = told.run("trial-8", 8, 3.0, proposed_by="model", changes={"BATCH": 16}, base=3)[0]
    told_of = ev.TrialProgress(run="trial-8", attempt=1, step=5, offset=0, **progress)
    return [*told.beginning(trials=30), *told.trials(), started, told_of]


async def shown(folder: Path, events: list[ev.Event], width: int, held: bool = False, **how: object) -> list[str]:
    header = Header()
    with moment_of(folder, events, **how) as moment:  # type: ignore[arg-type]
        async with staged(header, moment, (width, 24), held=held):
            return text_of(header)


async def test_header_of_a_running_trial_on_a_wide_terminal(tmp_path: Path) -> None:
    lines = await shown(tmp_path, running(fraction=0.62, remaining=4.2), 160)
    what = " ▸ running  20261121-0310-quiet-otter   STAND-IN offline   toy/cpu  approval grace 2 min  sandbox B"
    alive = "engine alive · last event 3 s ago"
    assert lines == [
        f"{what}{alive:>{159 - len(what)}}",
        " L1 training trial 8  ━━━━━━━╌╌╌╌╌  62 %, 4 s left  7/30 trials  best val_bpb 2.6100 (trial 3)"
        "  -1.3867 to the baseline  no cost: stand-in",
    ]


async def test_header_takes_three_lines_below_100_columns_and_keeps_what_matters(tmp_path: Path) -> None:
    lines = await shown(tmp_path, running(fraction=0.62, remaining=4.2), 80)
    assert lines == [
        " ▸ running   STAND-IN offline                 engine alive · last event 3 s ago",
        " L1 training trial 8  62 %, 4 s left  7/30 trials     20261121-0310-quiet-otter",
        " ▇█▇▁ ▂▁▂  best val_bpb 2.6100 (trial 3)  -1.3867 to the baseline       toy/cpu",
    ]


async def test_a_trial_without_a_fraction_tells_its_step(tmp_path: Path) -> None:
    lines = await shown(tmp_path, running(), 80)
    assert "step 5, 3 s" in lines[1]


async def test_a_stand_in_is_said_at_every_width_and_a_model_by_its_name(tmp_path: Path) -> None:
    for width in (60, 80, 120, 200):
        assert "STAND-IN offline" in (await shown(tmp_path, told.whole(), width))[0]
    (tmp_path / "real").mkdir()
    lines = await shown(tmp_path / "real", told.beginning(model="gpt-large", price_in=1.0, price_out=2.0), 120)
    assert "gpt-large" in lines[0] and "STAND-IN" not in lines[0]
    assert "cost 0.0000" in lines[1]


async def test_a_finished_session_tells_what_was_confirmed_and_no_engine(tmp_path: Path) -> None:
    lines = await shown(tmp_path, told.whole(), 120, state="ended")
    assert lines[0].startswith(" ✓ finished  all 7 trials are done")
    assert lines[0].endswith("ended 3 s ago") and "engine" not in lines[0]
    assert "confirmed -1.3800 [-1.4200, -1.3400]" in lines[1]


@pytest.mark.parametrize(("state", "says"), [("silent", "engine silent"), ("gone", "engine gone")])
async def test_a_lost_engine_is_told_with_the_age_of_the_newest_event(tmp_path: Path, state: str, says: str) -> None:
    lines = await shown(tmp_path, running(), 120, state=state, after=240.0)
    assert lines[0].endswith(f"{says} · last event 4 min ago")
    assert ("! interrupted" in lines[0]) == (state == "gone")
    assert ("training" in lines[1]) == (state == "silent"), "what nobody does is not told as being done"


async def test_a_paused_session_tells_why(tmp_path: Path) -> None:
    paused = ev.StateChanged(status="paused", reason="a person paused it", by="person")
    lines = await shown(tmp_path, [*told.beginning(), paused], 120)
    assert lines[0].startswith(" ‖ paused  by a person")


async def test_a_session_that_was_stopped_says_that_it_ends_after_this_trial(tmp_path: Path) -> None:
    stop = ev.CommandApplied(command="stop", detail="it ends after trial-8")
    for width in (60, 120):
        lines = await shown(tmp_path, [*running(fraction=0.5), stop], width)
        assert lines[1].startswith(" L1 training trial 8, ending after it")
    (tmp_path / "between").mkdir()
    lines = await shown(tmp_path / "between", [*told.beginning(), *told.trials()[:2], stop], 120)
    assert lines[1].startswith(" L1 ending  1/7 trials")


async def test_each_level_tells_what_it_does_and_one_that_waits_for_its_model_says_so(tmp_path: Path) -> None:
    events = [
        *running(fraction=0.5),
        ev.LevelActivity(level="2", activity="rehearsing tabu_search"),
        ev.ModelRetried(level="1.5", purpose="strategy", error="timeout", attempt=2, wait=4.0),
    ]
    lines = await shown(tmp_path, events, 200)
    assert "L1 training trial 8" in lines[1]
    assert "L1.5 waits for its model, which failed: timeout" in lines[1]
    assert "L2 rehearsing tabu_search" in lines[1]


async def test_the_baseline_and_the_confirmation_say_which_of_their_runs_goes_on(tmp_path: Path) -> None:
    lines = await shown(tmp_path, told.beginning()[:6], 120)
    assert "L1 baseline run 2 of 3" in lines[1]
    (tmp_path / "end").mkdir()
    begun = told.run("confirm-best-1", 3, 2.6, role="confirm_best")[:1]
    lines = await shown(tmp_path / "end", [*told.beginning(), *told.trials(), *begun], 120)
    assert "L1 confirming trial 3, run 1 of 2" in lines[1]


async def test_held_and_replay_are_marked(tmp_path: Path) -> None:
    assert " HELD 0 behind " in (await shown(tmp_path, told.whole()[:-1], 120, held=True))[0]
    lines = await shown(tmp_path, [], 120, replay=True, position=10)  # of the same record
    assert lines[0].endswith(" REPLAY")  # where it stands, the timeline tells
    assert "engine" not in lines[0]


async def test_names_too_long_and_hostile_words_still_fit(tmp_path: Path) -> None:
    events = told.beginning(model="m" * 300)
    lines = await shown(tmp_path, [*events, ev.LevelActivity(level="2", activity="x\x1b[31m" * 200)], 80)
    assert all(len(line) <= 80 and "\x1b" not in line for line in lines)


async def test_a_gpu_is_shown_where_there_is_one(tmp_path: Path) -> None:
    header = Header()
    with moment_of(tmp_path, running()) as moment:
        async with staged(header, moment, (160, 24)) as pilot:
            assert "GPU" not in "".join(text_of(header))
            header.gpu.reading = Reading(1, 8, 87, 41.7, 139.8, 61)
            header.show(moment)
            await pilot.pause()
            assert text_of(header)[1].endswith("GPU 1 87 % 42/140 GiB 61 °C")


async def test_only_lines_that_differ_are_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = Header()
    with moment_of(tmp_path, running()) as moment:
        async with staged(header, moment):
            drawn: list[object] = []
            monkeypatch.setattr(Widget, "refresh", lambda self, *regions, **how: drawn.append(regions))
            header.show(moment)
            assert drawn == []
            header.show(moment, held=True)
            assert [[region.y for region in regions] for regions in drawn] == [[0]]
