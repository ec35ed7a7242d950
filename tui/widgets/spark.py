"""A curve in one line of blocks."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

_BLOCKS = "▁▂▃▄▅▆▇█"


def spark(values: Sequence[float | None], low: float, high: float) -> str:
    """A block a value, the lowest at `low`, clipped to the range; a space for none."""
    top = len(_BLOCKS) - 1
    scale = top / (high - low) if high > low else 0.0

    def block(value: float | None) -> str:
        if value is None or not math.isfinite(value):
            return " "
        return _BLOCKS[min(top, max(0, round((min(max(value, low), high) - low) * scale)))]

    return "".join(map(block, values))


def resampled(
    values: Sequence[float | None], width: int, better: Callable[[list[float]], float] = min
) -> list[float | None]:
    """At most `width` values: the best of each stretch, None for a stretch without any."""
    if len(values) <= width:
        return list(values)
    edges = [index * len(values) // width for index in range(width + 1)]
    parts = ([v for v in values[a:b] if v is not None] for a, b in pairwise(edges))
    return [better(part) if part else None for part in parts]
