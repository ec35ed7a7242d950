"""What every widget of lines shares: styles by name, and a line of text made into a strip.

A text names its styles ("good", "dim"); they become colours when it is drawn, so that a text may be kept and compared
whatever the theme. Nothing that these say is said by colour alone. No character that a terminal acts on is drawn.
"""

from typing import Self

from rich.segment import Segment
from rich.style import Style
from rich.text import Span, Text
from textual.color import Color
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui.widgets.contained import Contained

_PLAIN = Style()
STYLES = ("good", "bad", "warn", "dim", "accent", "other", "strong", "alert", "found", "cursor", "key")
_COLOURS = {
    "good": "text-success",
    "bad": "text-error",
    "warn": "text-warning",
    "dim": "text-muted",
    "accent": "text-accent",
    "other": "text-primary",
    "alert": "text-warning",
    "found": "text-warning",
    "key": "footer-key-foreground",
}
"""The theme's variable for the colour of each style that has one of its own."""
_MARKED = {
    "strong": Style(bold=True),
    "alert": Style(bold=True, reverse=True),
    "found": Style(reverse=True),
    "cursor": Style(bold=True),
    "key": Style(bold=True),
}
"""What a style is beside its colour."""


class Drawn(Contained, Widget):
    """A widget that draws texts whose styles are of `STYLES`. Lines that cannot be drawn are blank."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._named: dict[str, Style] = {}
        self._blank = False
        """Lines could not be drawn, and not all of them have been since."""

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda theme: self.refresh())

    def render_lines(self, crop: Region) -> list[Strip]:
        try:
            strips = super().render_lines(crop)
        except Exception as error:  # a fault in one line would take the whole application down
            self._blank = True
            self.post_message(self.Failed(self, error, drawing=True))
            return [Strip.blank(crop.width)] * crop.height
        if self._blank and crop.size == self.outer_size:
            self._blank = False
            self.post_message(self.Recovered(self))
        return strips

    def refresh(self, *regions: Region, **how: bool) -> Self:
        self._named.clear()  # whatever changes a style draws the widget again
        return super().refresh(*regions, **how)

    def style_of(self, name: str) -> Style:
        """The style of a name in `STYLES`; one without a colour of its own leaves that which it lies on."""
        if name not in self._named:
            self._named[name] = self._cursor() if name == "cursor" else self._looked_up(name)
        return self._named[name]

    # From the theme rather than by component classes: Textual goes through all rules for each of those in each widget,
    # whenever anything of its style may have changed.
    def _looked_up(self, name: str) -> Style:
        own = _MARKED.get(name, _PLAIN)
        if name in _COLOURS:
            own += Style(color=self._colour(_COLOURS[name], self.background_colors[1]).rich_color)
        return own + Style(dim=True) if name == "dim" and self.app.native_ansi_color else own

    def _cursor(self) -> Style:
        focus = "" if self.has_focus else "-blurred"
        ground = self._colour(f"block-cursor{focus}-background", self.background_colors[1])
        front = self._colour(f"block-cursor{focus}-foreground", ground)
        return _MARKED["cursor"] + Style(color=front.rich_color, bgcolor=ground.rich_color)

    def _colour(self, variable: str, ground: Color) -> Color:
        """The colour that a variable of the theme, such as `#8ad4a1` or `auto 60%`, means on this ground."""
        name, _, percent = self.app.theme_variables[variable].partition(" ")
        share = float(percent.removesuffix("%")) / 100 if percent else 1.0
        if name == "auto":
            return ground + ground.get_contrast_text(share)
        return ground + Color.parse(name).multiply_alpha(share)

    @property
    def base(self) -> Style:
        """What every line lies on."""
        if "" not in self._named:
            self._named[""] = self.rich_style
        return self._named[""]

    def drawn(self, text: Text) -> Strip:
        """One line as a strip on the widget's own style, as long as it is."""
        if not text.plain.isprintable():
            text = _harmless(text)
        base, plain, segments, end = self.base + self._style(text.style), text.plain, [], 0
        for start, stop, style in text.spans:
            if start < end:  # spans that overlap are Rich's to sort out
                return self._sorted_out(text)
            if start > end:
                segments.append(Segment(plain[end:start], base))
            segments.append(Segment(plain[start:stop], base + self._style(style)))
            end = stop
        if end < len(plain):
            segments.append(Segment(plain[end:], base))
        return Strip(segments)

    def _sorted_out(self, text: Text) -> Strip:
        line = Text(text.plain, style=self._style(text.style), end="")
        line.spans = [Span(start, end, self._style(style)) for start, end, style in text.spans]
        return Strip(list(line.render(self.app.console))).apply_style(self.base)

    def _style(self, style: str | Style) -> Style:
        if isinstance(style, Style):
            return style
        if style in STYLES:
            return self.style_of(style)
        return self.app.console.get_style(style) if style else _PLAIN  # a word of Rich's, as syntax colours have them


def _harmless(text: Text) -> Text:
    """The same text with a space for each character that a terminal would act on."""
    plain = "".join(sign if sign.isprintable() else " " for sign in text.plain)
    return Text(plain, style=text.style, spans=text.spans)
