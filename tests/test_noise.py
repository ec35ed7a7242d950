"""How much of a difference is noise: against published quantiles, closed forms and simulated runs."""

import math
import random
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.search.noise import Noise, difference, pooled, t_quantile

FINITE = st.floats(allow_nan=False, allow_infinity=False)
GROUPS = st.lists(FINITE, min_size=2, max_size=5)


@pytest.mark.parametrize(
    ("probability", "freedom", "quantile"),
    [  # from printed tables of Student's t
        (0.975, 1, 12.7062047),
        (0.975, 2, 4.3026527),
        (0.975, 4, 2.7764451),
        (0.975, 10, 2.2281389),
        (0.975, 30, 2.0422725),
        (0.95, 5, 2.0150484),
        (0.995, 20, 2.8453397),
        (0.975, 1e6, 1.9599662),
        (0.5, 3, 0.0),
    ],
)
def test_quantiles_of_students_t(probability: float, freedom: float, quantile: float) -> None:
    assert t_quantile(probability, freedom) == pytest.approx(quantile, abs=2e-7)


@given(st.floats(0.5, 0.9999))
def test_quantiles_with_one_and_two_degrees_have_closed_forms(probability: float) -> None:
    assert t_quantile(probability, 1) == pytest.approx(math.tan(math.pi * (probability - 0.5)), rel=1e-6, abs=1e-7)
    alpha = 4 * probability * (1 - probability)
    assert t_quantile(probability, 2) == pytest.approx(
        2 * (probability - 0.5) * math.sqrt(2 / alpha), rel=1e-6, abs=1e-7
    )


def test_the_deviation_is_pooled_over_groups_that_ran_twice() -> None:
    noise = pooled([[1.0, 3.0], [5.0], [10.0, 10.0, 13.0], []])
    assert noise is not None
    assert noise.freedom == 3
    assert noise.deviation == pytest.approx(math.sqrt((2 + 6) / 3))
    assert pooled([[1.0], [2.0]]) is None


def test_the_interval_narrows_with_the_runs_of_the_incumbent() -> None:
    noise = Noise(0.01, 2)
    assert noise.half_width(1) == pytest.approx(4.3026527 * 0.01 * math.sqrt(2))
    assert noise.half_width(4) == pytest.approx(4.3026527 * 0.01 * math.sqrt(1.25))
    assert noise.half_width(0) == noise.half_width(1)


def test_about_one_run_in_twenty_falls_outside_its_prediction_interval() -> None:
    rng = random.Random(1)
    outside = 0
    for _ in range(2000):
        first = [rng.gauss(4.0, 0.02) for _ in range(3)]
        noise = pooled([first])
        assert noise is not None
        outside += abs(rng.gauss(4.0, 0.02) - sum(first) / 3) > noise.half_width(3)
    assert 70 <= outside <= 130  # 100 expected, standard deviation about 10


def test_a_difference_with_its_interval() -> None:
    # Welch's example by hand: variances 1 and 4, three runs each, so t = 2.93 at 2.94 degrees of freedom.
    found = difference([1.0, 2.0, 3.0], [4.0, 6.0, 8.0])
    assert found is not None
    gap, low, high = found
    assert gap == pytest.approx(4.0)
    freedom = (1 / 3 + 4 / 3) ** 2 / ((1 / 3) ** 2 / 2 + (4 / 3) ** 2 / 2)
    half = t_quantile(0.975, freedom) * math.sqrt(5 / 3)
    assert (low, high) == pytest.approx((4 - half, 4 + half))
    assert difference([1.0, 1.0], [2.0, 2.0]) == (1.0, 1.0, 1.0)
    assert difference([1.0], [2.0, 3.0]) is None


@given(GROUPS, GROUPS)
@example([0.0, 0.0], [sys.float_info.max] * 3)
def test_any_finite_runs_give_an_interval_around_their_difference(first: list[float], second: list[float]) -> None:
    found = difference(first, second)
    assert found is not None
    gap, low, high = found
    assert low <= gap <= high


@given(st.lists(GROUPS, min_size=1, max_size=4))
def test_any_finite_runs_give_a_deviation(groups: list[list[float]]) -> None:
    noise = pooled(groups)
    assert noise is not None
    assert noise.deviation >= 0
    assert noise.freedom == sum(len(group) - 1 for group in groups)
