"""How much of a difference is noise: deviation over replicates, prediction interval, a confirmed difference.

The deviation is pooled over every configuration that ran more than once. The quantiles of Student's t come from the
regularised incomplete beta function by its continued fraction (Press et al., Numerical Recipes, 6.4), to about 1e-10.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Noise:
    """The standard deviation of the metric between runs of one configuration, with its degrees of freedom (>= 1)."""

    deviation: float
    freedom: int

    def half_width(self, incumbent_runs: int) -> float:
        """Half the 95 % prediction interval of one new run around the mean of `incumbent_runs` >= 1 runs."""
        spread = self.deviation * math.sqrt(1 + 1 / max(incumbent_runs, 1))
        return t_quantile(0.5 + CONFIDENCE / 2, self.freedom) * spread


def pooled(groups: Iterable[Sequence[float]]) -> Noise | None:
    """The pooled deviation over groups of replicates; None while no group has two runs."""
    squares, freedom = 0.0, 0
    for group in groups:
        if len(group) > 1:
            squares += _spread(group)
            freedom += len(group) - 1
    return Noise(math.sqrt(squares / freedom), freedom) if freedom else None


def difference(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float] | None:
    """mean(second) - mean(first) and its 95 % interval (Welch 1947) as (difference, low, high); None under two runs."""
    if len(first) < 2 or len(second) < 2:
        return None
    gap = _mean(second) - _mean(first)
    errors = [_spread(group) / (len(group) - 1) / len(group) for group in (first, second)]
    total = sum(errors)
    if total == 0:
        return gap, gap, gap
    if math.isinf(total):
        return gap, -math.inf, math.inf
    shares = zip(errors, (first, second), strict=True)
    freedom = 1 / sum((error / total) ** 2 / (len(group) - 1) for error, group in shares)
    half = t_quantile(0.5 + CONFIDENCE / 2, freedom) * math.sqrt(total)
    return gap, gap - half, gap + half


def _mean(group: Sequence[float]) -> float:
    try:
        return math.fsum(x / len(group) for x in group)
    except OverflowError:  # at the end of a float's range the rounded parts may exceed what their mean does not
        half = math.fsum(x / len(group) / 2 for x in group)
        return min(max(group), max(min(group), 2 * half))


def _spread(group: Sequence[float]) -> float:
    """The sum of squared deviations from the mean; infinity where it exceeds what a float holds."""
    mean = _mean(group)
    try:
        return math.fsum((x - mean) * (x - mean) for x in group)
    except OverflowError:
        return math.inf


@lru_cache(maxsize=256)
def t_quantile(probability: float, freedom: float) -> float:
    """The quantile of Student's t, 0.5 <= probability < 1, freedom > 0, by bisection of its distribution function."""
    low, high = 0.0, 1.0
    while _t_cdf(high, freedom) < probability:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if _t_cdf(middle, freedom) < probability:
            low = middle
        else:
            high = middle
        if high - low <= 1e-12 * high:
            break
    return (low + high) / 2


def _t_cdf(t: float, freedom: float) -> float:
    return 1 - 0.5 * _beta(freedom / (freedom + t * t), freedom / 2, 0.5)


def _beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _beta_fraction(x, a, b) / a
    return 1 - front * _beta_fraction(1 - x, b, a) / b


def _beta_fraction(x: float, a: float, b: float) -> float:
    tiny = 1e-300
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > tiny else tiny)
    result = d
    for m in range(1, 300):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for step in (even, odd):
            d = 1 + step * d
            d = 1 / (d if abs(d) > tiny else tiny)
            c = 1 + step / c
            c = c if abs(c) > tiny else tiny
            result *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return result
