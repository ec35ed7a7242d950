"""The trials: a row each, the newest followed, one selected for all panes, its details where there is room."""

from pathlib import Path

import msgspec
import pytest
import told_sessions as told
from screens import SIZES, again, long_moment, moment_of, staged, text_of
from textual.widget import Widget

from engine.record import events as ev
from tui.panes.trial_rows import TrialRows
from tui.panes.trials import TrialsPane


def rows_of(pane: TrialsPane) -> list[str]:
    """The lines inside the frame that show anything."""
    return [line[1:].rstrip("│").rstrip() for line in text_of(pane)[1:-1] if line.strip("│ ")]


def eighth(*, metric: float | None = 2.5, **how: object) -> list[ev.Event]:
    return told.run("trial-8", 8, metric, base=3, changes={"BATCH": 24}, **how)  # type: ignore[arg-type]


async def test_rows_on_a_terminal_of_80_columns_tell_all_but_the_status_in_words(tmp_path: Path) -> None:
    with moment_of(tmp_path, told.whole()) as moment:
        async with staged(pane := TrialsPane(), moment, (80, 12)):
            assert text_of(pane)[0].startswith("╭─ 1 Trials · 7 done, 1 kept ─")
            assert rows_of(pane) == [
                "   #    metric  to best     time by           change",
                "   0 ✓  3.9967            10.4 s engine       the baseline, 3 runs",
                "   1 ·  4.2000  +0.2033   10.4 s model        BATCH 64→128",
                "   2 ·  4.1000  +0.1033 ▼ 10.4 s model        RATE 0.1→0.2",
                "   3 ✓  2.6100  -1.3867 ▲ 10.4 s model        BATCH 64→32",
                "   4 ✗       -            10.4 s engine       RATE 0.1→1  exit code 1",
                "   5 ·  2.7000  +0.0900   10.4 s tabu_search  trial 3 again",
                "   6 ·  2.6500  +0.0400   10.4 s model+tabu_… BATCH 32→16",
                "   7 ·  2.9000  +0.2900   10.4 s model        BATCH 32→8",
            ]


async def test_a_column_is_as_wide_as_the_trials_so_far_need_whatever_came_later(tmp_path: Path) -> None:
    events = [*told.beginning(), *told.run("trial-1", 1, 4.2, changes={"BATCH": 128}, base=0)]
    large = told.run("trial-2", 2, 1234567.0, changes={"BATCH": 32}, base=0, edited_by=("guard",), proposed_by="model")
    with moment_of(tmp_path, [*events, *large]) as moment:
        async with staged(pane := TrialsPane(), moment, (80, 12)) as pilot:
            assert rows_of(pane)[2].startswith("   1 ·    4.2000")
            moment.feed.seek(len(events))
            await again(pane, moment, pilot)
            narrow = rows_of(pane)[2]
            assert narrow.startswith("   1 · discard   4.2000")
    (tmp_path / "alone").mkdir()
    with moment_of(tmp_path / "alone", events) as moment:
        async with staged(pane := TrialsPane(), moment, (80, 12)):
            assert rows_of(pane)[2] == narrow


async def test_the_mean_of_the_baseline_is_not_cut_where_it_grows_longer_than_its_first_run(tmp_path: Path) -> None:
    events = [*told.beginning()[:3], *told.run("baseline-1", 0, 99.0, role="baseline", status="keep")]
    second = told.run("baseline-2", 0, 101.5, role="baseline", status="keep")
    with moment_of(tmp_path, [*events, *second]) as moment:
        moment.feed.seek(len(events))
        async with staged(pane := TrialsPane(), moment, (80, 12)) as pilot:
            assert "99.0000" in rows_of(pane)[1]
            moment.feed.seek(len(events) + len(second))
            await again(pane, moment, pilot)
            assert " 100.2500 " in rows_of(pane)[1]


async def test_a_replay_that_goes_back_to_the_baseline_shows_what_it_showed(tmp_path: Path) -> None:
    begun = [*told.beginning()[:3], *told.run("baseline-1", 0, 99.0, role="baseline", status="keep")]
    second = told.run("baseline-2", 0, 101.5, role="baseline", status="keep")
    events = [*begun, *second, *told.run("trial-1", 1, 100.5, base=0, changes={"BATCH": 24})]
    with moment_of(tmp_path, events) as moment:
        moment.feed.seek(len(begun))
        async with staged(pane := TrialsPane(), moment, (80, 12)) as pilot:
            before = rows_of(pane)
            for place in (len(events), len(begun)):
                moment.feed.seek(place)
                await again(pane, moment, pilot)
            assert rows_of(pane) == before


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(6400, "1 h 47"), (35940, "9 h 59"), (50000, "13.9 h"), (359900, "4.2 d"), (2592000, "30.0 d")],
)
async def test_hours_and_days_fit_the_column_of_the_time(tmp_path: Path, seconds: int, said: str) -> None:
    started, finished = eighth()
    finished = msgspec.structs.replace(finished, seconds=float(seconds))
    ninth = told.run("trial-9", 9, None, base=3, changes={"BATCH": 12})[0]
    events = [*told.beginning(), *told.trials(), started, finished, ninth]
    with moment_of(tmp_path, events, after=float(seconds)) as moment:
        async with staged(pane := TrialsPane(), moment, (80, 14)):
            assert all(f" {said} " in row for row in rows_of(pane)[-2:])


async def test_the_author_of_the_trial_that_trains_is_not_cut(tmp_path: Path) -> None:
    running = told.run("trial-8", 8, None, base=0, proposed_by="orthogonal", changes={"BATCH": 24})[0]
    with moment_of(tmp_path, [*told.beginning(), *told.trials()[:2], running]) as moment:
        async with staged(pane := TrialsPane(), moment, (80, 12)):
            assert rows_of(pane)[-1].endswith("orthogonal BATCH 64→24")


async def test_a_wide_pane_tells_status_and_time_in_words_and_the_signs_below(tmp_path: Path) -> None:
    with moment_of(tmp_path, told.whole()) as moment:
        async with staged(pane := TrialsPane(), moment, (120, 12)):
            assert rows_of(pane)[4] == "   3 ✓ keep      2.6100  -1.3867 ▲ 10.4 s model        BATCH 64→32"
            assert "✓ keep  · discard  ✗ crash  ! invalid  ■ stopped  ▸ running" in text_of(pane)[-1]


async def test_a_narrow_pane_keeps_number_signs_metric_and_change(tmp_path: Path) -> None:
    with moment_of(tmp_path, told.whole()) as moment:
        async with staged(pane := TrialsPane(), moment, (50, 12)):
            assert rows_of(pane)[4] == "   3 ✓  2.6100 ▲ BATCH 64→32"


@pytest.mark.parametrize(
    ("status", "sign"), [("crash", "✗"), ("invalid", "!"), ("stopped", "■"), ("keep", "✓"), ("discard", "·")]
)
async def test_every_status_has_a_sign_of_its_own(tmp_path: Path, status: ev.TrialStatus, sign: str) -> None:
    with moment_of(tmp_path, [*told.beginning(), *told.run("trial-1", 1, None, status=status)]) as moment:
        async with staged(pane := TrialsPane(), moment):
            assert rows_of(pane)[2].startswith(f"   1 {sign} ")


async def test_the_trial_that_trains_is_the_last_row(tmp_path: Path) -> None:
    told_of = ev.TrialProgress(run="trial-8", attempt=1, step=5, offset=0, fraction=0.62)
    with moment_of(tmp_path, [*told.beginning(), *told.trials(), eighth()[0], told_of]) as moment:
        async with staged(pane := TrialsPane(), moment, (120, 14)):
            assert rows_of(pane)[-1] == "   8 ▸ running     62 %               3 s engine       BATCH 32→24"


async def test_only_the_row_that_trains_is_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = [*told.beginning(), *told.trials(), eighth()[0]]
    progress = [ev.TrialProgress(run="trial-8", attempt=1, step=n, offset=0, fraction=n / 10) for n in (1, 2)]
    with moment_of(tmp_path, [*events, *progress], position=len(events) + 1) as moment:
        async with staged(pane := TrialsPane(), moment, (120, 12)):
            drawn: list[tuple[object, ...]] = []
            monkeypatch.setattr(Widget, "refresh", lambda self, *regions, **how: drawn.append((self, *regions)))
            pane.show(moment)
            assert drawn == []
            moment.feed.seek(len(events) + 2)
            pane.show(moment)
            ((widget, region),) = drawn
            assert widget is pane.rows and region.height == 1


async def test_without_a_trial_it_says_what_goes_on(tmp_path: Path) -> None:
    with moment_of(tmp_path, told.beginning()[:3]) as moment:
        async with staged(pane := TrialsPane(), moment):
            assert rows_of(pane) == ["no trial yet: level 1: baseline: the first run begins"]
    (tmp_path / "second").mkdir()
    with moment_of(tmp_path / "second", told.beginning()[:6]) as moment:
        async with staged(pane := TrialsPane(), moment):
            assert rows_of(pane)[-1].endswith("baseline run 2 of 3")


async def test_for_a_maximised_metric_the_highest_is_the_best(tmp_path: Path) -> None:
    target = {**told.created().target, "metric": {"name": "accuracy", "direction": "maximize"}}
    first = told.created()
    fields = {name: getattr(first, name) for name in first.__struct_fields__}
    events: list[ev.Event] = [ev.SessionCreated(**{**fields, "target": target}), *told.beginning()[1:]]
    events += told.run("trial-1", 1, 5.0, status="keep", incumbent=1, changes={"BATCH": 32}, base=0)
    events += told.run("trial-2", 2, 4.5, incumbent=1, changes={"BATCH": 16}, base=1)
    with moment_of(tmp_path, events) as moment:
        async with staged(pane := TrialsPane(), moment):
            assert "5.0000  +1.0033" in rows_of(pane)[2] and "4.5000  -0.5000" in rows_of(pane)[3]


# --- selecting --------------------------------------------------------------------------------------------------------
async def test_moving_selects_a_trial_and_the_end_follows_the_newest_again(tmp_path: Path) -> None:
    with moment_of(tmp_path, told.whole()) as moment:
        async with staged(pane := TrialsPane(), moment) as pilot:
            pane.main().focus()
            assert moment.selection.trial is None
            await pilot.press("up", "up")
            assert moment.selection.trial == 5
            await pilot.press("home")
            assert moment.selection.trial == 0
            await pilot.press("end")
            assert moment.selection.trial is None and pane.rows.cursor == 7


async def test_a_new_trial_leaves_the_cursor_where_the_person_put_it(tmp_path: Path) -> None:
    events = [*told.beginning(), *told.trials(), *eighth()]
    with moment_of(tmp_path, events, position=len(events) - 2) as moment:
        async with staged(pane := TrialsPane(), moment) as pilot:
            pane.main().focus()
            await pilot.press("up")
            moment.feed.seek(len(events))
            await again(pane, moment, pilot)
            assert (moment.selection.trial, pane.rows.cursor) == (6, 6)
            await pilot.press("end")
            assert pane.rows.cursor == 8


async def test_a_selection_made_elsewhere_moves_the_cursor(tmp_path: Path) -> None:
    with moment_of(tmp_path, told.whole()) as moment:
        async with staged(pane := TrialsPane(), moment) as pilot:
            for number in (2, 999, 4):  # one that there is not changes nothing
                moment.selection.trial = number
                await again(pane, moment, pilot)
                assert pane.rows.cursor == (2 if number == 999 else number)
            moment.selection.trial = None
            await again(pane, moment, pilot)
            assert pane.rows.cursor == 7 and pane.rows.follow


# --- details ----------------------------------------------------------------------------------------------------------
async def test_details_of_the_selected_trial_where_the_pane_is_tall(tmp_path: Path) -> None:
    long = eighth(
        hypothesis="fewer tokens a step mean more steps " * 5,
        proposed_by="model",
        edited_by=["tabu_search"],
        status="keep",
        verdict="better",
        difference=-0.11,
        decided_by="tabu_search",
        curve=[(0.1, 5.0), (0.5, 4.0), (1.0, 3.0)],
    )
    act = ev.MechanismActed(hash=told.HASH, name="tabu_search", trial=8, hook="accept", why="it was [bold]time")
    with moment_of(tmp_path, [*told.beginning(), *told.trials(), *long, act]) as moment:
        async with staged(pane := TrialsPane(), moment, (100, 30)):
            assert rows_of(pane)[10:] == [
                "trial 8     ✓ keep  2.5000  -0.1100 to its base, better than it beyond the noise  10.4 s, 12",
                "            steps, 512 MB",
                "changes     BATCH 32 → 24  (on trial 3)",
                "proposed    by model, edited by tabu_search",
                "because     fewer tokens a step mean more steps fewer tokens a step mean more steps fewer tokens a",
                "            step mean more steps fewer tokens a step mean more steps fewer tokens a step mean more",
                "            steps",
                "decided     by tabu_search, against the rule",
                "loss        █▅▁  5.0000 to 3.0000",
                "acted       tabu_search in accept: it was [bold]time",
            ]


async def test_a_low_pane_has_no_details(tmp_path: Path) -> None:
    with moment_of(tmp_path, told.whole()) as moment:
        async with staged(pane := TrialsPane(), moment, (100, 14)):
            assert not any("proposed" in line for line in text_of(pane))


# --- much, and hostile ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", SIZES)
async def test_hostile_texts_are_words_that_fit(tmp_path: Path, size: tuple[int, int]) -> None:
    text = "[red]\x1b[2J\x07\n" * 50
    events = [*told.beginning(), *eighth(metric=None, status="crash", hypothesis=text, proposed_by=text, reason=text)]
    with moment_of(tmp_path, events) as moment:
        async with staged(pane := TrialsPane(), moment, size):
            lines = text_of(pane)
            assert all(line.isprintable() and len(line) <= size[0] for line in lines)
            assert any("[red] [2J" in line for line in lines)


@pytest.mark.parametrize("size", SIZES)
async def test_1600_trials_show_their_end_and_any_of_them_on_demand(tmp_path: Path, size: tuple[int, int]) -> None:
    with long_moment(tmp_path) as moment:
        async with staged(pane := TrialsPane(), moment, size) as pilot:
            assert any(line.startswith("1600 ") for line in rows_of(pane))
            moment.selection.trial = 800
            await again(pane, moment, pilot)
            assert any(line.startswith(" 800 ") for line in rows_of(pane))


async def test_a_row_is_made_only_when_it_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    with long_moment(tmp_path, 300) as moment:
        whole = TrialRows.line
        monkeypatch.setattr(TrialRows, "line", lambda self, index: made.append(index) or whole(self, index))
        async with staged(TrialsPane(), moment, (80, 24)):
            assert made and set(made) <= set(range(270, 301))
