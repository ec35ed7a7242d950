"""What the trials that a mechanism touched came to, against the others of the time in which it was active.

The others are no control group: they were run in the same search, by the same model, at other moments. What the credit
says is where the kept improvements came from, not what would have happened without the mechanism.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from engine.record.view import Mechanism, View
from engine.search.trials import Trial


@dataclass(frozen=True)
class Group:
    """Some trials. `improvement` sums how much each kept one bettered the incumbent's standing before it, replicates
    not counted; `mean` is over the valid metrics. Both in the metric's unit; an improvement > 0 is better.
    """

    trials: int
    kept: int
    improvement: float
    mean: float | None


@dataclass(frozen=True)
class Credit:
    """The trials in which a mechanism acted, and the others for which it was active."""

    touched: Group
    others: Group


def credit(view: View, mechanism: Mechanism) -> Credit | None:
    """What is to be credited to a mechanism; None if it was never active.

    A trial that an `accept` kept though it was worse takes away from the improvement of its group: else a search that
    steps back and forth would gain without end.
    """
    if not mechanism.periods:
        return None
    touched = set(mechanism.trials_touched)
    present = [trial for trial in view.history if mechanism.took_part(trial.number)]
    return Credit(
        touched=_group(trial for trial in present if trial.number in touched),
        others=_group(trial for trial in present if trial.number not in touched),
    )


def _group(trials: Iterable[Trial]) -> Group:
    found = list(trials)
    metrics = [trial.metric for trial in found if trial.metric is not None]
    return Group(
        trials=len(found),
        kept=sum(trial.kept for trial in found),
        improvement=sum(trial.improvement or 0.0 for trial in found if trial.kept and trial.replicate is None),
        mean=sum(metrics) / len(metrics) if metrics else None,
    )
