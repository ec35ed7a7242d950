"""What stands on a screen, as text that can be kept and read: its characters, and the style of each in two themes.

deciding-80x24.txt:   the characters, line by line
                      === styles
                      24a 3b 53a                        of a line: 24 cells of style a, then 3 of style b ...
                      === a
                      dark   #e0e0e0 on #121212 bold    what style a is in each theme
                      light  #1f1f1f on #e0e0e0 bold
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from string import ascii_letters

from rich.cells import cell_len
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

ATTRIBUTES = ("bold", "dim", "italic", "underline", "reverse", "strike")
FRAMES = set("─│╭╮╰╯┈╌┏┓┗┛━┃╍╏┌┐└┘┬┴├┤▔▁▊▎ ")
"""Signs that may be faint: nothing is said by them alone."""


@dataclass(frozen=True)
class Cell:
    """A character, and what it looks like."""

    sign: str
    style: str


def cells(strips: Sequence[Strip]) -> list[list[Cell]]:
    """The screen, line by line."""
    return [[cell for part in strip for cell in _cells(part)] for strip in strips]


def _cells(part: Segment) -> Iterator[Cell]:
    style = part.style or Style.null()
    for sign in part.text:
        yield Cell(sign, _described(style))


@lru_cache
def _described(style: Style) -> str:
    front, ground = (_colour(color) for color in (style.color, style.bgcolor))
    return " ".join([front, "on", ground, *(name for name in ATTRIBUTES if getattr(style, name))])


def _colour(color: Color | None) -> str:
    if color is None or color.is_default:
        return "default"
    return color.triplet.hex if color.triplet is not None else color.name


def told(dark: list[list[Cell]], light: list[list[Cell]]) -> str:
    """The text that is kept. In both themes the same characters have to stand there."""
    signs = ["".join(cell.sign for cell in line).rstrip() for line in dark]
    others = ["".join(cell.sign for cell in line).rstrip() for line in light]
    assert signs == others, "other characters in the light theme than in the dark one"
    both = [[(a.style, b.style) for a, b in zip(*line, strict=True)] for line in zip(dark, light, strict=True)]
    letters: dict[tuple[str, str], str] = {}
    runs = []
    for line, there in zip(both, dark, strict=True):
        widths = zip(line, (cell_len(cell.sign) for cell in there), strict=True)
        parts = [(style, sum(width for _, width in same)) for style, same in groupby(widths, key=lambda pair: pair[0])]
        named = [(letters.setdefault(style, ascii_letters[len(letters)]), width) for style, width in parts]
        runs.append(" ".join(f"{width}{letter}" for letter, width in named))
    legend = [f"=== {letter}\ndark   {a}\nlight  {b}" for (a, b), letter in letters.items()]
    return "\n".join([*signs, "=== styles", *runs, *legend]) + "\n"


# --- contrast ---------------------------------------------------------------------------------------------------------
def faint(strips: Sequence[Strip]) -> set[str]:
    """The texts that hardly stand out from what they lie on."""
    parts = [part for strip in strips for part in strip if contrast(part.style or Style.null()) < 2.5]
    return {part.text.strip() for part in parts if not set(part.text) <= FRAMES}


def contrast(style: Style) -> float:
    """The contrast of a text with what it lies on, from 1 to 21 (WCAG 2.2); for the terminal's own colours 21."""
    if style.color is None or style.bgcolor is None:
        return 21.0
    if any(color.is_default or color.triplet is None for color in (style.color, style.bgcolor)):
        return 21.0
    lighter, darker = sorted((luminance(style.color), luminance(style.bgcolor)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color: Color) -> float:
    """Relative luminance, from 0 to 1 (WCAG 2.2)."""
    assert color.triplet is not None
    parts = [value / 255 for value in color.triplet]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
