"""Texts brought to the width that there is: prose wrapped, tables narrowed between their columns."""

import re
import textwrap
from collections.abc import Sequence

from rich.cells import cell_len, chop_cells

LABEL = 11
"""Columns that labels take in the lines of engine.record.wording.labelled."""
_GAP = re.compile(r"(?<=\S) {3,}(?=\S)")
_PLACE = re.compile(r" *(?:[-*•] |\d+[.)] )?")


def wrapped(text: str, width: int) -> list[str]:
    """The lines of a text, each in so many cells at most; what is indented goes on as far in."""
    lines: list[str] = []
    for line in text.splitlines():
        lines += _wrapped(line.rstrip(), width)
    return lines


def refitted(lines: Sequence[str], width: int) -> list[str]:
    """Labelled lines and tables, as they are made for 80 columns, brought to a width: facts wrapped, gaps narrowed.

    A fact that is one long word, such as a path, is left as it is: a person copies it.
    """
    fitted: list[str] = []
    for line in _joined(lines):
        if cell_len(line) <= width:
            fitted.append(line)
            continue
        gap = _GAP.search(line)
        too_long = cell_len(line) - width
        if gap is not None and gap.start() >= LABEL and gap.end() - gap.start() > too_long + 1:
            fitted.append(line[: gap.start()] + line[gap.start() + too_long :])
        elif _is_labelled(line):
            fitted += _wrapped(line, width, LABEL) if " " in line[LABEL:].strip() else [line]
        else:
            fitted += _wrapped(line, width)
    return fitted


def _joined(lines: Sequence[str]) -> list[str]:
    """Each labelled fact on one line again."""
    whole: list[str] = []
    for line in lines:
        goes_on = line.startswith(" " * LABEL) and line[LABEL : LABEL + 1].strip()
        if goes_on and whole and _is_labelled(whole[-1]):
            whole[-1] += " " + line.strip()
        else:
            whole.append(line)
    return whole


def _is_labelled(line: str) -> bool:
    return bool(line[:1].strip()) and line[LABEL - 1 : LABEL] == " " and "  " not in line[LABEL:].strip()


def _wrapped(line: str, width: int, hang: int | None = None) -> list[str]:
    if cell_len(line) <= width:
        return [line]
    place = _PLACE.match(line)
    inset = hang if hang is not None else place.end() if place else 0
    if inset > width // 2:
        inset = 0
    if len(line) == cell_len(line):
        return textwrap.wrap(
            line, width, subsequent_indent=" " * inset, break_on_hyphens=False, drop_whitespace=True
        ) or [""]
    return [" " * inset * bool(index) + part for index, part in enumerate(chop_cells(line, max(2, width - inset)))]
