"""Configurations as points of a cube: each number on its own scale with its range as the unit, choices one-hot.

A number with `log` counts in factors, a tuple is a column an element, a locked parameter is none: it is the same for
every trial. Two choices that differ lie as far apart as the two ends of a range.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.search.parameters import Config, Parameter, Space, Value

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """The scale of one number: `unit` turns a value into 0 to 1 of its range, `value` turns it back."""

    low: float
    high: float
    log: bool

    def unit(self, value: Any) -> float:
        """Where a value lies in the range; beyond 0 to 1 for one that lies outside."""
        low, high, at = self._ends(float(value))
        return (at - low) / (high - low)

    def value(self, unit: float) -> float:
        """The value at a place of the range."""
        low, high, _ = self._ends(self.low)
        at = low + unit * (high - low)
        return math.exp(at) if self.log else at

    def _ends(self, value: float) -> tuple[float, float, float]:
        if not self.log:
            return self.low, self.high, value
        return math.log(self.low), math.log(self.high), math.log(max(value, 1e-300))


def scales(parameter: Parameter) -> list[Scale]:
    """The scale of a number, or of each element of a tuple; none for a choice.

    A range without an end ends as far from the initial value as that is from zero, and at least 1 from it.
    """
    if parameter.kind == "choice":
        return []
    values: list[Any] = parameter.value if isinstance(parameter.value, list) else [parameter.value]
    lows = parameter.low if isinstance(parameter.low, list) else [parameter.low] * len(values)
    highs = parameter.high if isinstance(parameter.high, list) else [parameter.high] * len(values)
    return [_scale(parameter, *ends) for ends in zip(values, lows, highs, strict=True)]


def _scale(parameter: Parameter, value: Any, low: float | None, high: float | None) -> Scale:
    reach = max(1.0, abs(float(value)))
    low = float(value) - reach if low is None else float(low)
    high = float(value) + reach if high is None else float(high)
    return Scale(low, high if high > low else low + 1.0, parameter.log and low > 0)


class Encoding:
    """The columns of one space."""

    def __init__(self, space: Space) -> None:
        self._parameters = [parameter for parameter in space.parameters.values() if not parameter.locked]
        self._scales = {parameter.name: scales(parameter) for parameter in self._parameters}

    @property
    def columns(self) -> int:
        """How many numbers a point has."""
        return sum(len(self._scales[known.name]) or len(known.choices) for known in self._parameters)

    def points(self, configs: Sequence[Config]) -> Points:
        """The configurations as points, shape (len(configs), columns)."""
        rows = [[x for known in self._parameters for x in self._place(known, config[known.name])] for config in configs]
        return np.array(rows, dtype=np.float64).reshape(len(configs), self.columns)

    def _place(self, parameter: Parameter, value: Value) -> list[float]:
        if parameter.kind == "choice":
            return [math.sqrt(0.5) * (value == choice) for choice in parameter.choices]
        values = value if isinstance(value, list) else [value]
        return [scale.unit(item) for scale, item in zip(self._scales[parameter.name], values, strict=True)]
