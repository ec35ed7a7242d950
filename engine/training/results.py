"""results.tsv: one line a trial for people and spreadsheets. Derived from the record, written anew when in doubt."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from engine.training.output import clean

LONGEST_DESCRIPTION = 500
_SHORT_COMMIT = 7


class Result(NamedTuple):
    """A line: `metric` and `memory_gb` are None where a trial gave none, and stand as empty fields."""

    commit: str
    metric: float | None
    memory_gb: float | None
    status: str
    description: str


def append_result(path: Path, metric_name: str, result: Result) -> None:
    """Add a line; the first one brings the header."""
    new = not path.exists()
    with path.open("a", encoding="utf-8") as file:
        file.write((_header(metric_name) if new else "") + _line(result))


def write_results(path: Path, metric_name: str, results: Iterable[Result]) -> None:
    """Replace the file by these lines, in one step."""
    staged = path.with_name(path.name + ".new")
    staged.write_text(_header(metric_name) + "".join(map(_line, results)), encoding="utf-8")
    staged.replace(path)


def _header(metric_name: str) -> str:
    return "\t".join(("commit", metric_name, "memory_gb", "status", "description")) + "\n"


def _line(result: Result) -> str:
    metric = "" if result.metric is None else f"{result.metric:.6f}"
    memory = "" if result.memory_gb is None else f"{result.memory_gb:.1f}"
    description = clean(result.description, LONGEST_DESCRIPTION)
    return "\t".join((result.commit[:_SHORT_COMMIT], metric, memory, result.status, description)) + "\n"
