"""What the curve of a session shows: every trial's metric, the running best, the baseline with its noise, marks.

The range holds everything between the best and the baseline, and what lies not much further off: a trial that diverged
is marked at the edge instead of flattening all others.
"""

import math
import statistics
from collections.abc import Iterator
from typing import TypeGuard

from engine.record.view import View
from engine.record.wording import clean, metric_name
from engine.search.trials import History
from tui.panes.glyphs import FROZEN_BY_LEVEL, FROZEN_BY_PERSON, INJECTION
from tui.widgets.plot import Drawing, Mark, Point

_FEWEST = 5
"""Trials that the x axis has room for from the start."""
_REACH = 4.0
"""How far from the median, in its distances to the best, a metric still lies inside the range."""
_NEAR = 0.02
"""The same distance at least, as a share of the best: the first trials tell little of how far others lie."""
_MARGIN = 0.05
_LARGEST = 1e300
"""A metric beyond this lies outside of every range: the distance between two such is no number any more."""


def drawing_of(view: View, selected: int | None) -> Drawing | None:
    """The drawing of a session's trials; None while none has a metric."""
    history = view.history
    points = [(trial.number, trial.metric) for trial in history if _finite(trial.metric)]
    if not points:
        return None
    band = _band(view)
    near = [y for _, y in points if _measurable(y)]
    low, high = _range(history, near, band) if near else (-_LARGEST, _LARGEST)
    return Drawing(
        name=clean(metric_name(view), 16),
        first=0,
        last=max(_FEWEST, *history.trials),
        low=low,
        high=high,
        points=points,
        stairs=list(running_best(history)),
        band=band,
        failed=[trial.number for trial in history if not _finite(trial.metric)],
        marks=[*_marks(view), *([] if selected is None else [Mark(selected, "△", "strong")])],
        lower_is_better=history.direction == "minimize",
    )


def _finite(metric: float | None) -> TypeGuard[float]:
    return metric is not None and math.isfinite(metric)


def _measurable(metric: float | None) -> TypeGuard[float]:
    return metric is not None and abs(metric) < _LARGEST


def running_best(history: History) -> Iterator[Point]:
    """Each trial that was better than all before it, with its metric."""
    best: float | None = None
    for trial in history:
        if _finite(trial.metric) and history.loss(trial.metric) < history.loss(best):
            best = trial.metric
            yield trial.number, trial.metric


def _band(view: View) -> tuple[float, float] | None:
    """Where 95 % of single runs of the baseline lie, as far as the noise was measured; a line without it."""
    baseline, noise = view.baseline, view.history.noise
    if baseline is None or not _measurable(baseline.metric):
        return None
    width = noise.half_width(view.history.standing(baseline.config)[1]) if noise else 0.0
    return baseline.metric - width, baseline.metric + width


def _range(history: History, metrics: list[float], band: tuple[float, float] | None) -> tuple[float, float]:
    """The lowest and the highest y, from the best metric to the worst that lies within reach, with a margin."""
    losses = sorted(map(history.loss, metrics))
    best, median = losses[0], statistics.median_low(losses)
    baseline = history.trials.get(0)
    ends = [history.loss(baseline.metric)] if baseline is not None and _measurable(baseline.metric) else []
    width = (band[1] - band[0]) / 2 if band else 0.0
    # As far behind the baseline as the best is before it, and further where most trials are.
    near = max(median - best, width, _NEAR * abs(best))
    reach = max([median + _REACH * near, *(2 * end - best for end in ends)])
    worst = max(loss for loss in [*losses, *ends] if loss <= reach)
    margin = _MARGIN * (worst - best) or max(width, 0.01 * abs(best)) or 1.0
    low, high = best - margin, worst + margin
    return (low, high) if history.direction == "minimize" else (-high, -low)


def _marks(view: View) -> Iterator[Mark]:
    """Freezes that Level 1.5 made, those of a person that hold, and injections: these are seen before the others."""
    yield from (Mark(told.trial, FROZEN_BY_LEVEL, "accent") for told in view.strategies if told.frozen)
    yield from (Mark(after, FROZEN_BY_PERSON, "warn") for after in view.frozen_by_person.values())
    for mechanism in view.mechanisms.values():
        yield from (Mark(period.after, INJECTION, "good") for period in mechanism.periods)
