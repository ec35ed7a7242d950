"""Proposals as the model has made them so far: which parameters, how many at once, which way and how far.

The steps that the model took are drawn again (the bootstrap of Efron 1979), each on its parameter's own scale and from
the configuration that is changed now; a parameter with few steps of its own borrows those of others. What the model has
never touched keeps a small chance. That the model learns from what it is told, and what a mechanism's advice does to
it, cannot be drawn from a record: the habits stay as they are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from engine.model.answers import ProposedChange
from engine.record.view import View
from engine.rehearsal.encoding import Scale, scales
from engine.search.parameters import Config, Parameter, Scalar, Space, Value
from engine.search.proposals import Proposal, Steering

OWN_STEPS = 3
"""With fewer steps of its own a parameter borrows those of all."""
SMOOTHING = 0.5
"""Added to how often each parameter was changed."""
JITTER = 0.15
"""A step of a real number is drawn this much longer or shorter (the deviation of its logarithm)."""
TRIES = 100
"""Draws for one proposal, after which the model is taken to ask for a second run of the incumbent."""
_Item = TypeVar("_Item")


@dataclass
class Habits:
    """What the model's recorded proposals have in common. Steps are in units of their parameter's range."""

    ranked: list[int] = field(default_factory=list)
    """How many proposals each answer held."""
    sizes: list[int] = field(default_factory=list)
    """How many parameters each changed; 0 for a replicate."""
    changed: dict[str, int] = field(default_factory=dict)
    steps: dict[str, list[list[float]]] = field(default_factory=dict)
    """By parameter: the step of each element (one, where it is no tuple)."""
    choices: dict[str, list[Value]] = field(default_factory=dict)
    """By parameter: what was chosen."""

    @property
    def proposals(self) -> int:
        """How many proposals they were taken from."""
        return len(self.sizes)


def habits_of(view: View) -> Habits:
    """The habits of the session's model: every ranked proposal of its answers, those that ran as it made them."""
    habits = Habits()
    for trial in view.history:
        if trial.proposed_by != "model":
            continue
        told = view.proposals.get(trial.number)
        if not told:
            told = [{"base": trial.base, "changes": trial.changes, "replicate": trial.replicate}]
        habits.ranked.append(len(told))
        for proposal in told:
            base = view.history.trials.get(proposal["base"])
            if base is not None:
                _take_in(habits, view.space, proposal["changes"], base.config)
    return habits


def _take_in(habits: Habits, space: Space, changes: Config, base: Config) -> None:
    known = {name: value for name, value in changes.items() if name in space.parameters and name in base}
    habits.sizes.append(len(known))
    for name, value in known.items():
        parameter = space.parameters[name]
        habits.changed[name] = habits.changed.get(name, 0) + 1
        if parameter.kind == "choice":
            habits.choices.setdefault(name, []).append(value)
        else:
            pairs = zip(scales(parameter), _elements(value), _elements(base[name]), strict=True)
            habits.steps.setdefault(name, []).append([scale.unit(new) - scale.unit(old) for scale, new, old in pairs])


class Proposer:
    """Draws what the model would propose next. `rng` decides everything."""

    def __init__(self, habits: Habits, view: View, rng: np.random.Generator) -> None:
        self._habits, self._view, self._rng = habits, view, rng
        self._borrowed = [step for steps in habits.steps.values() for elements in steps for step in elements if step]

    def draw(self, steering: Steering, validated: Callable[[ProposedChange, Steering], Proposal]) -> list[Proposal]:
        """Ranked proposals that `validated` lets through, at least one."""
        count = self._one_of(self._habits.ranked or [1])
        return [self._one(steering, validated) for _ in range(count)]

    def _one(self, steering: Steering, validated: Callable[[ProposedChange, Steering], Proposal]) -> Proposal:
        history = self._view.history
        start = history.incumbent if steering.base is None else steering.base
        for _ in range(TRIES):
            size = self._one_of(self._habits.sizes)
            proposed = ProposedChange("drawn from the record", replicate=start)
            if size:
                changes = self._changes(size, history.trials[start].config, steering)
                proposed = ProposedChange("drawn from the record", changes=changes)
            try:
                return validated(proposed, steering)
            except ValueError:
                continue
        return validated(ProposedChange("drawn from the record", replicate=history.incumbent), steering)

    def _changes(self, size: int, base: Config, steering: Steering) -> Config:
        view = self._view
        frozen = steering.frozen(view.frozen_by_person, view.frozen_by_level)
        free = [known for known in view.space.parameters.values() if not known.locked and known.name not in frozen]
        weights = np.array([self._habits.changed.get(known.name, 0) + SMOOTHING for known in free])
        size = min(size, len(free))
        taken = self._rng.choice(len(free), size=size, replace=False, p=weights / weights.sum())
        return {free[index].name: self._moved(free[index], base[free[index].name], steering) for index in taken}

    def _moved(self, parameter: Parameter, old: Value, steering: Steering) -> Value:
        """The parameter's next value: a step that the model took, from where the parameter stands now."""
        if parameter.kind == "choice":
            others = [choice for choice in parameter.choices if choice != old]
            chosen = [choice for choice in self._habits.choices.get(parameter.name, []) if choice != old]
            return self._one_of([*chosen, *others]) if others else old
        own = self._habits.steps.get(parameter.name, [])
        measures = scales(parameter)
        if len(own) < OWN_STEPS:
            own = [*own, *([self._one_of(self._borrowed or [-0.1, 0.1])] * len(measures) for _ in range(OWN_STEPS))]
        step = self._one_of(own)
        items = zip(measures, _elements(old), step, strict=True)
        moved = [self._element(scale, item, by, steering.ranges.get(parameter.name)) for scale, item, by in items]
        return moved if isinstance(old, list) else moved[0]

    def _element(self, scale: Scale, old: Scalar, step: float, held: tuple[float, float] | None) -> Scalar:
        if not step:
            return old
        low, high = held or (scale.low, scale.high)
        whole = isinstance(old, int)
        step = step if whole else step * float(np.exp(JITTER * self._rng.standard_normal()))
        value = min(max(scale.value(scale.unit(old) + step), low), high)
        if value == old:  # it stands at this end already
            value = low + (high - low) * self._rng.random() if held else value
        return round(value) if whole else float(f"{value:.4g}")

    def _one_of(self, items: Sequence[_Item]) -> _Item:
        return items[int(self._rng.integers(len(items)))]


def _elements(value: Value) -> list[Scalar]:
    return value if isinstance(value, list) else [value]
