"""A proposal: typed changes to a base configuration, checked against the space before it may train.

A model's or a mechanism's values become a proposal only here, by `proposal_from`; what does not fit is refused with a
sentence that goes back to whoever proposed it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.search.parameters import Config, Space, Value
from engine.search.trials import History


@dataclass(frozen=True)
class Proposal:
    """What to train next. `config` is the base's configuration with the changes applied.

    `replicate` names the trial whose configuration this one repeats with a fresh seed; `edited_by` the mechanisms whose
    `review` replaced something; `prediction` holds the stated gain and sd, if any; `overridden` says that it runs
    although it was blocked.
    """

    base: int
    config: Config
    changes: Config
    hypothesis: str
    proposed_by: str
    replicate: int | None = None
    edited_by: tuple[str, ...] = ()
    prediction: dict[str, float] | None = None
    overridden: bool = False

    def told(self) -> dict[str, Any]:
        """What a mechanism or a record is told of it."""
        return {
            "base": self.base,
            "changes": self.changes,
            "replicate": self.replicate,
            "hypothesis": self.hypothesis,
            "proposed_by": self.proposed_by,
        }


@dataclass(frozen=True)
class Steering:
    """What mechanisms ask of the model's next proposal: another base, further freezes, releases, narrower ranges."""

    base: int | None = None
    freeze: frozenset[str] = frozenset()
    unfreeze: frozenset[str] = frozenset()
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()

    def frozen(self, by_person: Collection[str], by_level: Collection[str]) -> set[str]:
        """What the model may not touch now. A person's freeze binds everybody; Level 1.5's may be lifted here."""
        return set(by_person) | ((set(by_level) | self.freeze) - self.unfreeze)


@dataclass(frozen=True)
class Reviewed:
    """What the reviews made of a proposal; `blocked` is the reason when one turned it away."""

    proposal: Proposal
    blocked: str | None = None


def proposal_from(
    space: Space,
    history: History,
    *,
    by: str,
    hypothesis: str,
    changes: Mapping[str, object] | None = None,
    replicate: int | None = None,
    base: int | None = None,
    frozen: Collection[str] = (),
    ranges: Mapping[str, tuple[float, float]] | None = None,
    prediction: dict[str, float] | None = None,
) -> Proposal:
    """A proposal that may run. Raises ValueError with one sentence on anything that may not.

    A configuration that a trial with a valid metric has tried already, to within what a training tells apart, counts as
    a replicate of it: it runs with a fresh seed, and its value is the mean.
    """
    if (changes is None) == (replicate is None):
        raise ValueError("it states either changes or a replicate")
    if replicate is not None:
        config = _config_of(history, replicate)
        return Proposal(replicate, config, {}, hypothesis, by, replicate=replicate, prediction=prediction)
    number = history.incumbent if base is None else base
    start = _config_of(history, number)
    cleaned = space.clean(changes or {}, start, frozen)
    for name, (low, high) in (ranges or {}).items():
        value = cleaned.get(name)
        if isinstance(value, int | float) and not low <= value <= high:
            raise ValueError(f"{name} is held between {low:g} and {high:g} for this proposal")
    config = {**start, **cleaned}
    again = _tried(space, history, config)
    if again is not None:
        config = history.trials[again].config
        cleaned = {name: config[name] for name in cleaned}
    return Proposal(number, config, cleaned, hypothesis, by, replicate=again, prediction=prediction)


def _config_of(history: History, number: int) -> dict[str, Value]:
    trial = history.trials.get(number)
    if trial is None:
        raise ValueError(f"there is no trial {number}")
    return trial.config


def _tried(space: Space, history: History, config: Config) -> int | None:
    same = (trial.number for trial in history if trial.metric is not None and space.alike(trial.config, config))
    return next(same, None)
