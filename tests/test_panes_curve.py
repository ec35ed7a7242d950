"""The curve: every trial, the running best, the baseline's noise, marks; what diverged flattens nothing."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import told_sessions as told
from screens import SIZES, again, long_moment, moment_of, staged, text_of

from engine.record import events as ev
from tui.panes import curve
from tui.panes.curve import CurvePane
from tui.panes.curve_drawing import drawing_of
from tui.widgets.plot import plotted


def searched(metrics: Sequence[float | None], direction: str = "minimize") -> list[ev.Event]:
    """A session whose trials came to these; None crashed."""
    first = told.created()
    fields = {name: getattr(first, name) for name in first.__struct_fields__}
    fields["target"] = {**first.target, "metric": {"name": "val_bpb", "direction": direction}}
    events: list[ev.Event] = [ev.SessionCreated(**fields), *told.beginning()[1:]]
    for number, metric in enumerate(metrics, 1):
        status: ev.TrialStatus = "crash" if metric is None else "discard"
        events += told.run(f"trial-{number}", number, metric, status=status, changes={"BATCH": number})
    return events


async def shown(folder: Path, events: Sequence[ev.Event], size: tuple[int, int]) -> list[str]:
    with moment_of(folder, events) as moment:
        async with staged(pane := CurvePane(), moment, size):
            return [line[1:].rstrip("│").rstrip() for line in text_of(pane)[1:-1]]


async def test_the_plot_has_points_staircase_noise_crashes_marks_and_axes(tmp_path: Path) -> None:
    lines = await shown(tmp_path, told.whole(), (50, 14))
    assert lines[0] == "val_bpb ▇█▇▁ ▂▁▂ 2.61"
    assert lines[1].startswith("4.17 ┤┈┈┈┈┈┈•┈┈") and lines[2].startswith("     │•⠒⠒⠒⠒")
    assert lines[8].startswith("2.64 ┤") and "•⠤⠤⠤⠤" in lines[8]
    assert lines[9:] == [
        "     │" + " " * 23 + "✗",
        "     └" + "─" * 29 + "◈" + "─" * 12,
        "      0                 3                     7",
    ]


async def test_a_low_pane_shows_one_line_and_none_says_so(tmp_path: Path) -> None:
    assert await shown(tmp_path, told.whole(), (50, 6)) == ["val_bpb ▇█▇▁ ▂▁▂ 2.61", "", "", ""]
    (tmp_path / "none").mkdir()
    assert (await shown(tmp_path / "none", told.beginning()[:3], (50, 14)))[0] == "no metric yet"


def test_what_diverged_lies_outside_and_the_baseline_never_does() -> None:
    drawing = drawing_of(told.view_of(searched([3.9, 50.0, 3.5, 3.6, 1e9, 4.1])), None)
    assert drawing is not None
    assert 3.4 < drawing.low < 3.5 and 4.1 < drawing.high < 4.5


def test_one_trial_that_diverged_at_once_does_not_hide_the_baseline() -> None:
    drawing = drawing_of(told.view_of(searched([50.0])), None)
    assert drawing is not None and drawing.low < 4.0 < drawing.high < 5.0


async def test_metrics_that_a_float_hardly_holds_lie_outside_and_are_told(tmp_path: Path) -> None:
    lines = await shown(tmp_path, searched([1e30, -1.7e308, 1.7e308, -1e30, 5e-324, None]), (60, 14))
    assert lines[0].endswith(" -1.7e+308"), "the best is what it is"
    assert "↑" in lines[1] and "↓" in lines[-4]
    assert lines[-3].count("✗") == 1, "only what has no value"


async def test_metrics_of_which_none_can_be_measured_against_another_are_told_all_the_same(tmp_path: Path) -> None:
    events = [told.created(), *told.run("trial-1", 1, 1.5e308), *told.run("trial-2", 2, -1.7e308)]
    lines = await shown(tmp_path, events, (60, 14))
    assert lines[0].endswith(" -1.7e+308") and "↑" in lines[1] and "↓" in lines[-3]


@pytest.mark.parametrize("metrics", [[3.52e-8, 3.5e-8], [123456789.0, 123456788.0], [1.0, 1.0 - 1e-9], [1e5, 99999.9]])
def test_the_labels_of_the_axis_tell_values_apart(metrics: list[float]) -> None:
    runs = [event for number, metric in enumerate(metrics, 1) for event in told.run(f"trial-{number}", number, metric)]
    drawing = drawing_of(told.view_of([told.created(), *runs]), None)
    assert drawing is not None
    labels = [line.plain.partition("┤")[0].strip() for line in plotted(drawing, 60, 12) if "┤" in line.plain]
    assert len(set(labels)) == len(labels) > 2
    assert [float(labels[0]), float(labels[-1])] == pytest.approx(metrics, abs=0.05 * (metrics[0] - metrics[1]), rel=0)


async def test_what_lies_outside_is_marked_at_the_edge(tmp_path: Path) -> None:
    lines = await shown(tmp_path, searched([3.9, 50.0, 3.5, 3.6, 3.7]), (50, 14))
    assert "↑" in lines[1]


async def test_a_maximised_metric_rises_and_its_diverged_trials_lie_below(tmp_path: Path) -> None:
    events = searched([4.2, -50.0, 4.6, 4.5, 4.8], "maximize")
    drawing = drawing_of(told.view_of(events), None)
    assert drawing is not None
    assert [y for _, y in drawing.stairs] == pytest.approx([3.9967, 4.2, 4.6, 4.8], abs=1e-4)
    assert 3.0 < drawing.low < 4.0 and 4.8 < drawing.high < 5.0
    lines = await shown(tmp_path, events, (50, 14))
    assert lines[0].endswith(" 4.800") and "↓" in lines[9]


async def test_freezes_and_the_selected_trial_stand_on_the_axis(tmp_path: Path) -> None:
    events = [*searched([4.1] * 5), ev.StrategyDecided(trial=5, strategy="explore", frozen=["RATE"])]
    events += [*told.run("trial-6", 6, 4.0), ev.ParameterFrozen(name="BATCH"), *told.run("trial-7", 7, 4.0)]
    with moment_of(tmp_path, events) as moment:
        moment.selection.trial = 2
        async with staged(pane := CurvePane(), moment, (50, 12)):
            axis = next(line for line in text_of(pane) if "└" in line)
            assert [sign for sign in axis if sign in "△◇◆"] == ["△", "◇", "◆"]


async def test_left_and_right_select_trials_and_behind_the_last_the_newest_is_followed(tmp_path: Path) -> None:
    with moment_of(tmp_path, told.whole()) as moment:
        async with staged(pane := CurvePane(), moment) as pilot:
            pane.main().focus()
            await pilot.press("left", "left")
            assert moment.selection.trial == 5
            await pilot.press("right", "right", "right")
            assert moment.selection.trial is None


async def test_it_is_drawn_anew_only_when_a_trial_has_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    make = curve.drawing_of
    monkeypatch.setattr(curve, "drawing_of", lambda view, chosen: drawn.append(view.completed) or make(view, chosen))
    events = told.whole()
    with moment_of(tmp_path, events, position=len(events) - 3) as moment:
        async with staged(pane := CurvePane(), moment) as pilot:
            await again(pane, moment, pilot)
            assert drawn == [6]
            moment.feed.seek(len(events) - 2)
            await again(pane, moment, pilot)
            assert drawn == [6, 7]


@pytest.mark.parametrize("size", SIZES)
async def test_1600_trials_fit_every_terminal(tmp_path: Path, size: tuple[int, int]) -> None:
    with long_moment(tmp_path) as moment:
        async with staged(pane := CurvePane(), moment, size):
            lines = text_of(pane)
            assert lines[1].startswith("│val_bpb ") and "1600" in lines[-2]
            assert all(len(line) <= size[0] for line in lines)
