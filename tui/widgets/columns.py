"""Columns of a list: which of them fit, and a line laid out in them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.text import Text

T = TypeVar("T")


@dataclass(frozen=True)
class Column(Generic[T]):
    """`cell` gives a text and its style. `rank`: where it is narrow, the highest go first and those of 0 never. A
    negative width aligns to the right."""

    heading: str
    width: int
    rank: int
    cell: Callable[[T], tuple[str, str]]


def fitting(columns: Sequence[Column[T]], width: int) -> list[Column[T]]:
    """The columns that there is room for, with a blank behind each."""
    left = list(columns)
    while sum(abs(column.width) + 1 for column in left) > width and any(column.rank for column in left):
        left.remove(max(left, key=lambda column: column.rank))
    return left


def laid_out(columns: Sequence[Column[T]], cell: Callable[[Column[T]], tuple[str, str]]) -> Text:
    """One line: the cell of each column, cut and padded to its width."""
    line = Text()
    for column in columns:
        text, style = cell(column)
        line.append(padded(text, column.width), style).append(" ")
    return line


def padded(text: str, width: int) -> str:
    """The text in so many cells, with an ellipsis where it is cut, at the right for a negative width."""
    room = abs(width)
    if cell_len(text) > room:
        text = set_cell_size(text, room - 1) + "…"
    return " " * (room - cell_len(text)) + text if width < 0 else set_cell_size(text, room)
