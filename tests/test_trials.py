"""The history of a search: standings, the incumbent, the best, and what a new metric is worth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.search.parameters import Config
from engine.search.trials import Direction, History, Trial

BASE: Config = {"A": 1}


def history(direction: Direction = "minimize", runs: tuple[float, ...] = (4.0, 4.02, 3.98)) -> History:
    """A history after its baseline."""
    found = History(direction)
    for run in runs:
        found.add_run(BASE, run)
    found.add_trial(Trial(0, BASE, "keep", metric=sum(runs) / len(runs)), 0)
    return found


def add(found: History, number: int, config: Config, metric: float | None, *, keep: bool) -> None:
    """Add a trial with one run."""
    if metric is not None:
        found.add_run(config, metric)
    status = "crash" if metric is None else "keep" if keep else "discard"
    found.add_trial(Trial(number, config, status, metric=metric), number if keep else found.incumbent)


def test_before_anything_ran_there_is_no_best_and_no_noise() -> None:
    empty = History("minimize")
    assert empty.best is None
    assert empty.noise is None
    assert (len(empty), empty.completed) == (0, 0)
    assert empty.standing(BASE) == (None, 0)
    with pytest.raises(KeyError):
        empty.incumbent_config()


def test_a_standing_is_the_mean_over_runs_of_equal_configurations() -> None:
    found = history()
    assert found.standing({"A": 1}) == (pytest.approx(4.0), 3)
    assert found.runs({"A": 1}) == [4.0, 4.02, 3.98]
    assert found.standing({"A": 2}) == (None, 0)


def test_the_baseline_does_not_count_as_a_trial() -> None:
    found = history()
    add(found, 1, {"A": 2}, 4.5, keep=False)
    add(found, 2, {"A": 3}, None, keep=False)
    assert found.completed == 2
    assert [trial.number for trial in found] == [0, 1, 2]


def test_best_and_incumbent_part_when_a_worse_trial_is_kept() -> None:
    found = history()
    add(found, 1, {"A": 2}, 3.5, keep=True)
    add(found, 2, {"A": 3}, 3.9, keep=True)
    assert found.incumbent_config() == {"A": 3}
    assert found.best is not None
    assert found.best.number == 1


def test_crashes_are_never_the_best() -> None:
    found = history()
    add(found, 1, {"A": 2}, None, keep=False)
    assert found.best is not None
    assert found.best.number == 0


def test_the_earliest_of_equals_is_the_best() -> None:
    found = history()
    add(found, 1, {"A": 2}, 3.5, keep=True)
    add(found, 2, {"A": 3}, 3.5, keep=False)
    assert found.best is not None
    assert found.best.number == 1


@pytest.mark.parametrize(
    ("metric", "verdict", "better", "beyond"),
    [(3.5, "better", True, True), (3.97, "tie", True, False), (4.0, "tie", False, False), (4.5, "worse", False, False)],
)
def test_a_metric_is_judged_in_the_light_of_the_noise(metric: float, verdict: str, better: bool, beyond: bool) -> None:
    judgement = history().judge(metric, 0)
    assert (judgement.verdict, judgement.keep, judgement.beyond_noise) == (verdict, better, beyond)


def test_a_metric_to_be_maximised_is_judged_the_other_way_round() -> None:
    found = history("maximize")
    assert found.judge(4.5, 0).verdict == "better"
    assert found.judge(3.5, 0).verdict == "worse"
    assert not found.judge(3.97, 0).keep
    add(found, 1, {"A": 2}, 5.0, keep=True)
    assert found.best is not None
    assert found.best.number == 1


def test_without_measured_noise_nothing_is_beyond_it() -> None:
    judgement = history(runs=(4.0,)).judge(1.0, 0)
    assert judgement.keep
    assert not judgement.beyond_noise


def test_runs_that_repeat_exactly_leave_no_noise_to_hide_in() -> None:
    found = history(runs=(4.0, 4.0))
    assert found.judge(3.999999, 0).verdict == "better"
    assert found.judge(4.000001, 0).verdict == "worse"


def test_verdict_is_against_the_base_and_acceptance_against_the_incumbent() -> None:
    found = history()
    add(found, 1, {"A": 2}, 3.0, keep=True)
    judgement = found.judge(3.5, 0)
    assert (judgement.verdict, judgement.keep) == ("better", False)


def test_a_lucky_draw_does_not_stay_after_its_replicates() -> None:
    found = history()
    add(found, 1, {"A": 2}, 3.90, keep=True)
    judgement = found.judge(4.30, 1, replicate=1)
    assert (judgement.keep, judgement.leader) == (False, 0)
    found.add_run({"A": 2}, 4.30)
    assert found.standing({"A": 2}) == (pytest.approx(4.1), 2)
    assert found.judge(4.05, 1).keep, "the incumbent is compared by its mean, not by its lucky draw"


def test_an_incumbent_that_is_confirmed_stays() -> None:
    found = history()
    add(found, 1, {"A": 2}, 3.90, keep=True)
    judgement = found.judge(3.92, 1, replicate=1)
    assert (judgement.keep, judgement.leader, judgement.beyond_noise) == (True, 1, False)


def test_another_trial_takes_over_once_its_mean_beats_the_incumbent() -> None:
    found = history()
    add(found, 1, {"A": 2}, 3.90, keep=True)
    add(found, 2, {"A": 3}, 3.95, keep=False)
    assert found.judge(3.80, 2, replicate=2).leader == 2
    assert found.judge(3.90, 2, replicate=2).leader == 1


def test_a_replicate_does_not_undo_what_a_mechanism_accepted() -> None:
    found = history()
    add(found, 1, {"A": 2}, 3.90, keep=True)
    add(found, 2, {"A": 3}, 4.50, keep=True)
    assert found.judge(4.60, 2, replicate=2).leader == 2


METRICS = st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), max_size=12)


@given(METRICS, st.sampled_from(["minimize", "maximize"]))
def test_the_default_rule_never_loses_the_best(metrics: list[float | None], direction: Direction) -> None:
    found = history(direction, runs=(0.0,))
    for number, metric in enumerate(metrics, start=1):
        keep = metric is not None and found.judge(metric, found.incumbent).keep
        add(found, number, {"A": number + 1}, metric, keep=keep)
    valid = [0.0, *(metric for metric in metrics if metric is not None)]
    assert found.best is not None
    assert found.best.metric == (min(valid) if direction == "minimize" else max(valid))
    assert found.incumbent == found.best.number
    assert found.completed == len(metrics)
