"""What a session will take, told before it starts."""

import pytest

from engine.record.settings import Settings
from engine.tools.estimate import CPU_OVERHEAD, GPU_OVERHEAD, duration, estimate
from engine.tools.launch import check_target
from tui.settings import packaged_target


def settings(**values: object) -> Settings:
    return Settings(**{"target": str(packaged_target()), "profile": "cpu", **values})  # type: ignore[arg-type]


def found(**values: object):  # type: ignore[no-untyped-def]
    chosen = settings(**values)
    return estimate(chosen, check_target(chosen))


def test_every_run_counts_with_its_overhead() -> None:
    told = found(trials=20)
    assert told.runs == 20 + 3 + 2 * 2
    assert told.seconds == told.runs * (8 + CPU_OVERHEAD)
    assert found(trials=20, confirm=False, baseline_runs=1).runs == 21
    cuda = found(profile="cuda", trials=1, confirm=False, baseline_runs=1)
    assert cuda.seconds == 2 * (300 + GPU_OVERHEAD)


def test_a_limit_in_hours_bounds_the_time_and_a_budget_in_flops_has_none() -> None:
    assert found(trials=1000, hours=0.5).seconds == 1800
    told = found(flops=1e12)
    assert told.seconds is None
    assert "as long as they take" in told.sentence()


def test_the_stand_in_costs_nothing_and_says_so() -> None:
    told = found()
    assert (told.tokens_in, told.tokens_out, told.cost) == (0, 0, 0.0)
    assert "the stand-in answers" in told.sentence()


def test_recorded_answers_are_not_called_a_stand_in() -> None:
    told = found(model="replay:last")
    assert (told.tokens_in, told.cost, told.stand_in) == (0, 0.0, False)
    assert "recorded answers are given again" in told.sentence()


def test_no_budget_is_too_large_to_be_told() -> None:
    assert "more than a century" in found(seconds=1e308).sentence()


def test_a_model_costs_by_its_price_and_is_unknown_without_one() -> None:
    assert found(model="m").cost is None
    assert "cost unknown" in found(model="m").sentence()
    told = found(model="m", price_in=1.0, price_out=10.0)
    assert told.cost == pytest.approx((told.tokens_in + 10 * told.tokens_out) / 1e6)


def test_more_levels_take_more_tokens() -> None:
    one, two, three = (found(model="m", levels=levels).tokens_in for levels in (["1"], ["1", "1.5"], ["1", "1.5", "2"]))
    assert 0 < one < two < three


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (45, "45 s"),
        (300, "5 min"),
        (7200, "2 h"),
        (7800, "2 h 10 min"),
        (5399, "1 h 30 min"),
        (40 * 86400, "40 days"),
    ],
)
def test_a_time_is_said_as_a_person_would(seconds: float, text: str) -> None:
    assert duration(seconds) == text
