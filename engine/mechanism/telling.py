"""What a mechanism is told: the view's trials and state as the plain data of `contract.ViewState` and `observe`."""

from typing import Any

from engine.mechanism.contract import ViewState
from engine.record.view import View
from engine.search.trials import Trial

REFUSALS = 5
"""A mechanism sees its last so many refused suggestions."""


def trial_told(view: View, trial: Trial) -> dict[str, Any]:
    """A completed trial as hooks see it; `runs` holds the metrics that its configuration's own runs gave."""
    runs = view.baseline_runs if trial.number == 0 else [trial.metric] if trial.metric is not None else []
    return {
        "number": trial.number,
        "base": trial.base,
        "changes": trial.changes,
        "config": trial.config,
        "metric": trial.metric,
        "runs": runs,
        "status": trial.status,
        "verdict": trial.verdict,
        "hypothesis": trial.hypothesis,
        "replicate": trial.replicate,
        "proposed_by": trial.proposed_by,
        "edited_by": list(trial.edited_by),
        "prediction": trial.prediction,
        "seconds": trial.seconds,
        "steps": trial.steps,
        "tokens_per_second": trial.tokens_per_second,
        "peak_memory_mb": trial.peak_memory_mb,
        "curve": [list(point) for point in trial.curve],
    }


def incumbent_after(view: View, number: int) -> int:
    """The incumbent that a trial left."""
    finished = view.finished_runs.get(f"trial-{number}")
    return finished.incumbent if finished else 0


def state_told(view: View, name: str, incumbent: int | None = None, trials_left: int | None = None) -> ViewState:
    """What a call tells beside the trials, for the mechanism `name`; a rehearsal states another moment's incumbent."""
    noise = view.history.noise
    frozen = dict.fromkeys(view.frozen_by_level, "level 1.5") | dict.fromkeys(view.frozen_by_person, "person")
    others = [view.mechanisms[digest] for digest in view.active if view.mechanisms[digest].name != name]
    return ViewState(
        incumbent=view.history.incumbent if incumbent is None else incumbent,
        frozen=frozen,
        noise=noise.deviation if noise else None,
        trials_left=view.trials_left() if trials_left is None else trials_left,
        strategy=view.strategy,
        guidance=view.guidance,
        refused=[
            {"what": refused.proposal, "reason": refused.reason}
            for refused in view.refused_proposals
            if refused.by == name
        ][-REFUSALS:],
        others=[
            {"name": other.name, "purpose": other.purpose, "called": sum(other.called.values()), "acted": other.acted}
            for other in others
        ],
    )
