"""Small tables in plain characters, for whatever width there is."""

from collections.abc import Sequence
from textwrap import wrap

_INSET = 2
"""Columns by which rows are indented under their heading."""


def table(heading: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int], width: int) -> list[str]:
    """The heading and the rows below it: the first cell to the left, the others to the right.

    In columns of these `widths` where they fit into `width`, else of what their cells take, below the first cell of the
    heading if that is what is long; where even this is too wide, each row becomes a sentence that names its columns.
    A row may have fewer cells than the heading.
    """
    if sum(widths) <= width:
        return _laid_out(heading, rows, widths)
    lines = wrap(heading[0], width)
    for above, first in (([], heading), (lines, ["", *heading[1:]])):
        cells = [first, *([" " * _INSET + row[0], *row[1:]] for row in rows)]
        needed = [max(len(row[at]) for row in cells if at < len(row)) for at in range(len(heading))]
        for gap in (2, 1):
            narrow = [needed[0], *(each + gap for each in needed[1:])]
            if sum(narrow) <= width:
                return [*above, *_laid_out(first, rows, narrow)]
    for row in rows:
        told = [f"{name} {cell}" for name, cell in zip(heading[1:], row[1:], strict=False) if cell]
        sentence = f"{row[0]}: {', '.join(told)}" if told else row[0]
        lines += wrap(sentence, width, initial_indent=" " * _INSET, subsequent_indent=" " * 2 * _INSET)
    return lines


def _laid_out(heading: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
    lines = []
    for cells in [heading, *([" " * _INSET + row[0], *row[1:]] for row in rows)]:
        first, *others = zip(cells, widths, strict=False)
        line = f"{first[0]:<{first[1]}}" + "".join(f"{cell:>{room}}" for cell, room in others)
        lines.append(line.rstrip())
    return lines
