"""What a mechanism's `steer` asks of the model's next proposal, held against the space and the history.

Used by the chain and by the rehearsal, so that both count the same answers as acts.
"""

from typing import Any

from engine.record.view import View
from engine.search.parameters import Parameter
from engine.search.proposals import Steering


def steered(view: View, merged: Steering, answer: dict[str, Any]) -> Steering:
    """The steering with one more answer added; where two contradict each other, the later one holds.

    Raises ValueError where the answer names what is not there, or leaves the model nothing to change.
    """
    base = answer.get("base", merged.base)
    if base is not None and base not in view.history.trials:
        raise ValueError(f"there is no trial {base}")
    named = [*answer.get("freeze", ()), *answer.get("unfreeze", ()), *answer.get("ranges", {})]
    for name in named:
        if name not in view.space.parameters:
            raise ValueError(f"there is no parameter {name!r}")
    freeze, unfreeze = frozenset(answer.get("freeze", ())), frozenset(answer.get("unfreeze", ()))
    held = {name: _held(view.space.parameters[name], *pair) for name, pair in answer.get("ranges", {}).items()}
    more = Steering(
        base=base,
        freeze=(merged.freeze - unfreeze) | freeze,
        unfreeze=(merged.unfreeze - freeze) | unfreeze,
        ranges={**merged.ranges, **{name: pair for name, pair in held.items() if pair is not None}},
        reasons=(*merged.reasons, answer["why"]),
    )
    frozen = more.frozen(view.frozen_by_person, view.frozen_by_level)
    if all(parameter.locked or name in frozen for name, parameter in view.space.parameters.items()):
        raise ValueError("it would leave the model no parameter to change")
    return more


def asks_differ(view: View, before: Steering, after: Steering, incumbent: int) -> bool:
    """Whether the model is asked something else with `after` than with `before`."""

    def asked(steering: Steering) -> tuple[Any, ...]:
        base = incumbent if steering.base is None else steering.base
        frozen = steering.frozen(view.frozen_by_person, view.frozen_by_level)
        free = [name for name, known in view.space.parameters.items() if not known.locked and name not in frozen]
        return base, free, [(name, pair) for name, pair in sorted(steering.ranges.items()) if name in free]

    return asked(before) != asked(after)


def plain(steering: Steering) -> dict[str, Any]:
    """The steering for the record."""
    return {
        "base": steering.base,
        "freeze": sorted(steering.freeze),
        "unfreeze": sorted(steering.unfreeze),
        "ranges": {name: list(pair) for name, pair in steering.ranges.items()},
    }


def _held(parameter: Parameter, low: float, high: float) -> tuple[float, float] | None:
    """The part of a parameter's range between two bounds, None for all of it. Raises ValueError where none is left."""
    own_low, own_high = parameter.low, parameter.high
    if parameter.kind not in ("int", "float") or isinstance(own_low, list) or isinstance(own_high, list):
        raise ValueError(f"{parameter.name} is no single number: it cannot be held in a range")
    pair = low if own_low is None else max(low, own_low), high if own_high is None else min(high, own_high)
    if pair[0] > pair[1]:
        raise ValueError(f"{parameter.name} has no value between {low:g} and {high:g}")
    return None if pair == (own_low, own_high) else pair
