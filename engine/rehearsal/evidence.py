"""The evidence of a rehearsal, as the record holds it under `expected` beside the other evidence of a mechanism.

It is for a person and for Level 2, and no ground for a refusal by itself: the surrogate may be wrong.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Says = Literal["better", "worse", "no clear effect", "too few data", "not simulated"]


@dataclass
class Expected:
    """What is to be expected of a mechanism, or why nothing can be said.

    `effect` and its 95 % `interval` are in the metric's unit: the best with the mechanism minus the best without it,
    at the end of a search. `replications` are pairs of searches of `horizon` trials; `data` the runs that the surrogate
    knows, `skill` its Q2; `acted` the mean number of acts in a search; `reason` a sentence for a person; `seconds` what
    it took.
    """

    says: Says
    reason: str
    effect: float | None = None
    interval: list[float] | None = None
    replications: int = 0
    horizon: int = 0
    data: int = 0
    skill: float | None = None
    acted: float = 0.0
    seconds: float = 0.0

    def told(self) -> dict[str, Any]:
        """The evidence as plain data."""
        return asdict(self)


def not_simulated(reason: str) -> dict[str, Any]:
    """The evidence that there is none."""
    return Expected("not simulated", reason).told()
