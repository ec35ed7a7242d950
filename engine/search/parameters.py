"""Parameters and their space: which values a proposal may take, and why one is refused.

A value is JSON-pure: bool, int, float, str, or a list of these (a tuple of the script is a list here). A configuration
holds a value for every parameter. Standard library alone: the mechanism host imports this module too, so that
`view.check` inside the host and the engine's own check are the same code.
"""

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeVar

from engine.search.constraints import Constraint

Scalar = bool | int | float | str
Value = Scalar | list[Scalar]
Config = dict[str, Value]
Kind = Literal["int", "float", "choice", "tuple"]
LARGEST_INTEGER = 2**62
CLOSE = 1e-6
"""How far apart two numbers may lie and still be one value: relative to the larger one, or to the parameter's range
where its steps are no factors. Else the same configuration could be drawn again and again as another one, for luck."""
_Number = TypeVar("_Number", int, float)
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class Parameter:
    """One constant that the search may change.

    `value` is the one in the baseline; `low` and `high` are inclusive (for a tuple: one bound an element); `log` says
    that steps are factors; `meaning` is the comment beside the constant. A locked parameter is fixed for everybody.
    """

    name: str
    kind: Kind
    value: Value
    low: float | list[float] | None = None
    high: float | list[float] | None = None
    choices: tuple[Value, ...] = ()
    log: bool = False
    locked: bool = False
    meaning: str = ""

    def clean(self, raw: object) -> Value:
        """`raw` as a value of this parameter. Raises ValueError with the reason (kind, range, choice)."""
        match self.kind:
            case "int":
                return _in_range(self.name, _integer(self.name, raw), self.low, self.high)
            case "float":
                return _in_range(self.name, _real(self.name, raw), self.low, self.high)
            case "choice":
                for choice in self.choices:
                    if type(raw) is type(choice) and raw == choice:
                        return choice
                raise ValueError(f"{self.name} is one of {_shown(list(self.choices))}, not {_shown(raw)}")
            case "tuple":
                return self._clean_tuple(raw)

    def alike(self, one: Value, other: Value) -> bool:
        """Whether two values are one but for a difference that no training tells apart."""
        if not isinstance(one, list) or not isinstance(other, list):
            return _close(one, other, self.low, self.high, self.log)
        lows = self.low if isinstance(self.low, list) else [self.low] * len(one)
        highs = self.high if isinstance(self.high, list) else [self.high] * len(one)
        pairs = zip(one, other, lows, highs, strict=False)
        return len(one) == len(other) and all(_close(*pair, self.log) for pair in pairs)

    def _clean_tuple(self, raw: object) -> list[Scalar]:
        size = len(self.value) if isinstance(self.value, list) else 0
        if not isinstance(raw, list | tuple) or len(raw) != size:
            raise ValueError(f"{self.name} is a list of {size} numbers, not {_shown(raw)}")
        lows = self.low if isinstance(self.low, list) else [self.low] * size
        highs = self.high if isinstance(self.high, list) else [self.high] * size
        pattern = self.value if isinstance(self.value, list) else []
        cleaned: list[Scalar] = []
        for index, (item, low, high, like) in enumerate(zip(raw, lows, highs, pattern, strict=True)):
            name = f"{self.name}[{index}]"
            if isinstance(like, int) and not isinstance(like, bool):
                cleaned.append(_in_range(name, _integer(name, item), low, high))
            else:
                cleaned.append(_in_range(name, _real(name, item), low, high))
        return cleaned


@dataclass(frozen=True)
class Space:
    """All parameters of a target with their relations. `constants` are further names that constraints use."""

    parameters: dict[str, Parameter]
    constraints: tuple[Constraint, ...] = ()
    constants: dict[str, Value] = field(default_factory=dict)

    @property
    def initial(self) -> Config:
        """The baseline's configuration."""
        return {name: parameter.value for name, parameter in self.parameters.items()}

    def clean(self, changes: Mapping[str, object], base: Mapping[str, Value], frozen: Collection[str] = ()) -> Config:
        """The changes as typed values, fit to be rendered. Raises ValueError with one sentence why not.

        `frozen` names the parameters that this proposer may not touch; locked ones are refused for everybody.
        """
        if not changes:
            raise ValueError("it changes nothing")
        cleaned: Config = {}
        for name, raw in changes.items():
            parameter = self.parameters.get(name)
            if parameter is None:
                known = ", ".join(sorted(self.parameters))
                raise ValueError(f"there is no parameter {_shown(name)}; there are {known}")
            if parameter.locked:
                raise ValueError(f"{name} is locked by the target")
            if name in frozen:
                raise ValueError(f"{name} is frozen")
            cleaned[name] = parameter.clean(raw)
        changed = {
            name: value
            for name, value in cleaned.items()
            if name not in base or not self.parameters[name].alike(base[name], value)
        }
        if not changed:
            raise ValueError("it changes nothing: " + ", ".join(f"{n} is already {_shown(base[n])}" for n in cleaned))
        broken = self.broken({**base, **changed})
        if broken:
            raise ValueError(broken)
        return changed

    def alike(self, one: Mapping[str, Value], other: Mapping[str, Value]) -> bool:
        """Whether two whole configurations are one but for differences that no training tells apart."""
        return all(parameter.alike(one[name], other[name]) for name, parameter in self.parameters.items())

    def check(
        self, changes: Mapping[str, object], base: Mapping[str, Value] | None = None, frozen: Collection[str] = ()
    ) -> str | None:
        """None when the changes may be tried on `base` (default: the baseline), else the reason why not."""
        try:
            self.clean(changes, self.initial if base is None else base, frozen)
        except ValueError as error:
            return str(error)
        return None

    def broken(self, config: Mapping[str, Value]) -> str | None:
        """The first constraint that a whole configuration breaks, as a sentence, or None."""
        values = {**self.constants, **config}
        for constraint in self.constraints:
            reason = constraint.broken_by(values)
            if reason:
                return reason
        return None


def config_key(config: Mapping[str, Value]) -> str:
    """A canonical text of a configuration: equal for equal configurations, for use as a key."""
    return _canonical.encode(config)


def space_to_json(space: Space) -> dict[str, Any]:
    """A JSON-pure form of the space; `space_from_json` is its inverse."""
    return asdict(space)


def space_from_json(data: Mapping[str, Any]) -> Space:
    """The space that `space_to_json` described."""
    parameters = {
        name: Parameter(**{**fields, "choices": tuple(fields["choices"])})
        for name, fields in data["parameters"].items()
    }
    return Space(parameters, tuple(Constraint(**fields) for fields in data["constraints"]), dict(data["constants"]))


def _integer(name: str, raw: object) -> int:
    if isinstance(raw, float) and raw.is_integer() and abs(raw) < LARGEST_INTEGER:
        raw = int(raw)
    if isinstance(raw, bool) or not isinstance(raw, int):
        raise ValueError(f"{name} is an integer, not {_shown(raw)}")
    if abs(raw) > LARGEST_INTEGER:
        raise ValueError(f"{name} is too large an integer")
    return raw


def _real(name: str, raw: object) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise ValueError(f"{name} is a number, not {_shown(raw)}")
    if abs(raw) > LARGEST_INTEGER if isinstance(raw, int) else not math.isfinite(raw):
        raise ValueError(f"{name} is a finite number, not {_shown(raw)}")
    return float(raw)


def _close(one: Value, other: Value, low: Any, high: Any, log: bool) -> bool:
    if not isinstance(one, float) or not isinstance(other, float):
        return one == other
    span = 0.0 if log or low is None or high is None else high - low
    return math.isclose(one, other, rel_tol=CLOSE, abs_tol=CLOSE * span)


def _in_range(name: str, number: _Number, low: Any, high: Any) -> _Number:
    if (low is not None and number < low) or (high is not None and number > high):
        raise ValueError(f"{name} lies between {_shown(low)} and {_shown(high)}, not at {_shown(number)}")
    return number


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, lists in lists in lists
        text = f"what cannot be shown (a {type(value).__name__})"
    return text if len(text) <= 80 else text[:77] + "..."
