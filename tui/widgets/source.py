"""Python source and differences as styled lines. Colours are the terminal's own sixteen, so that every theme fits."""

import difflib
from collections.abc import Sequence

from rich.text import Text


def source_lines(source: str, *, dark: bool | None = True) -> list[Text]:
    """The source with line numbers and highlighting for a dark background or a light one; None: without."""
    source = printable(source)
    text = Text(source) if dark is None else _highlighted(source, dark=dark)
    lines = text.split("\n", allow_blank=True)
    width = len(str(len(lines)))
    return [Text(f"{number:>{width}} ", "dim") + line for number, line in enumerate(lines, 1)]


def _highlighted(source: str, *, dark: bool) -> Text:
    from rich.syntax import Syntax  # here, since it takes a tenth of the time that the application needs to start

    theme = "ansi_dark" if dark else "ansi_light"
    return Syntax(source, "python", theme=theme, background_color="default").highlight(source)


def difference_lines(before: str, after: str, names: tuple[str, str]) -> list[Text]:
    """A unified difference; "+" and "-" say what the colours say."""
    found = difflib.unified_diff(
        printable(before).splitlines(), printable(after).splitlines(), *names, lineterm="", n=3
    )
    return [Text(line, _STYLES.get(line[:1], "")) for line in found] or [Text("no difference", "dim")]


_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def counted(lines: Sequence[Text]) -> tuple[int, int]:
    """How many lines a difference adds and takes away."""
    plain = [line.plain for line in lines]
    return (
        sum(line.startswith("+") and not line.startswith("+++") for line in plain),
        sum(line.startswith("-") and not line.startswith("---") for line in plain),
    )


def printable(source: str) -> str:
    """The source without what a terminal would act on, or what reorders a line before a reader's eyes."""
    return "".join(c if c == "\n" or c.isprintable() else " " if c == "\t" else "\ufffd" for c in source.expandtabs(4))
