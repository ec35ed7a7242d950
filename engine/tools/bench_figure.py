"""One figure of a benchmark, the middle and the tail of many measurements, and what a process has taken."""

import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

Say = Callable[[str], None]


@dataclass(frozen=True)
class Figure:
    """One measurement: `goal` is what the project asks of it, in the same unit (lower is better); None: nothing."""

    name: str
    value: float
    unit: str
    goal: float | None = None

    def line(self) -> str:
        """The figure as a line of text."""
        text = f"{self.name:<58} {self.value:>9.2f} {self.unit:<9}"
        if self.goal is None:
            return text.rstrip()
        return f"{text} {'within' if self.value <= self.goal else 'ABOVE'} {self.goal:g}"


def median_and_p95(name: str, values: Sequence[float], unit: str, goal: float | None = None) -> list[Figure]:
    """The median and the 95th percentile of at least two values."""
    return [
        Figure(f"{name}, median", statistics.median(values), unit, goal),
        Figure(f"{name}, 95th percentile", statistics.quantiles(values, n=20)[-1], unit, goal),
    ]


def cpu_seconds(pid: int) -> float:
    """Seconds of a core that a process has taken so far, to 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Megabytes (1e6 bytes) of memory that a process has now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
