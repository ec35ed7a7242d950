"""The mechanisms in their order, and of the selected one its source, its difference, its evidence, or what it did."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from rich.text import Text
from textual.app import ComposeResult

from engine.record.evidence import acts_lines, evidence_lines, how_far
from engine.record.reader import RecordError
from engine.record.view import Mechanism, View
from engine.record.wording import clean, reason_alone
from tui.feed import Feed
from tui.moment import Moment
from tui.panes.glyphs import OUT
from tui.panes.pane import Pane
from tui.widgets.columns import padded
from tui.widgets.fitting import refitted, wrapped
from tui.widgets.lines import LineView
from tui.widgets.source import counted, difference_lines, source_lines

Side = Literal["source", "difference", "evidence", "acts"]
SIDES: tuple[tuple[str, Side], ...] = (("s", "source"), ("d", "difference"), ("r", "evidence"), ("w", "acts"))
SIGNS = {
    "active": ("●", "good"),
    "waiting": ("?", "alert"),
    "approved": ("…", "accent"),
    "written": ("…", "accent"),
    "refused": ("✗", "bad"),
    "vetoed": ("✗", "warn"),
    "reverted": (OUT, "warn"),
    "retired": (OUT, "dim"),
    "replaced": (OUT, "dim"),
    "interrupted": ("!", "warn"),
}
"""The sign and the style of a mechanism's state."""
WAITING = "No mechanism was written yet: Level 2 begins after ten trials."
_LONGEST_NAME = 26
_ROOM = 34
"""Columns that a row has for what stands behind the name."""


class MechanismsPane(Pane):
    """Every module that was written in this session; the newest is shown until another is chosen."""

    number, heading = 4, "Mechanisms"
    DEFAULT_CSS = """
    MechanismsPane > #known { height: 1; max-height: 30%; }
    MechanismsPane > #side { height: 1fr; border-top: solid $border-blurred; border-title-color: $text-muted; }
    """

    def __init__(self) -> None:
        super().__init__(id="mechanisms")
        self.side: Side = "source"
        self._order: list[Mechanism] = []
        self._listed: tuple[object, ...] = ()
        self._shown: tuple[object, ...] = ()
        self._plain = True
        """The first drawing of a source waits for no colours: the parser takes long to load."""

    def compose(self) -> ComposeResult:
        yield LineView(selectable=True, id="known")
        yield LineView(id="side")

    def show(self, moment: Moment) -> None:
        """Bring the pane to the moment."""
        self._moment = moment
        self._list(moment)
        chosen = chosen_of(moment.view, moment.selection.mechanism)
        chosen = as_left(moment, chosen) if chosen is not None else None
        side = self.query_one("#side", LineView)
        width = side.size.width
        dark, off = self.app.current_theme.dark, "2" not in moment.view.settings.levels
        state = _state(chosen) if chosen is not None and self.side in ("evidence", "acts") else ()
        fits = width if chosen is None or self.side in ("evidence", "acts") else 0
        key = (chosen.hash if chosen else off, self.side, dark, fits, state, self._plain)
        if key == self._shown or not width:
            return
        fresh, self._shown = self._shown[:2] != key[:2], key
        if chosen is None:
            side.border_title = ""
            side.show_lines(["Level 2 is off in this session."] if off else wrapped(WAITING, max(20, width)))
        else:
            lines, said = side_of(moment, chosen, self.side, width, dark=None if self._plain else dark)
            if self._plain:
                self.call_after_refresh(self._colour)
            side.border_title = _sides(self.side, said)
            side.show_lines(lines)
        if fresh:
            side.offset_x = 0
            side.go_to(0)

    def _colour(self) -> None:
        self._plain = False
        if self._moment is not None:
            self.show(self._moment)

    def _list(self, moment: Moment) -> None:
        """The rows, where one has changed, and the cursor on the selected one."""
        view, known = moment.view, self.query_one("#known", LineView)
        told = {digest: as_left(moment, each) for digest, each in view.mechanisms.items()}
        listed = (known.size.width, tuple(view.active), [_state(each) for each in told.values()])
        if listed != self._listed:
            self._listed, self._order = listed, in_order(told, view.active)
            known.show_lines(rows(view, self._order, known.size.width))
            known.styles.height = max(1, len(self._order))
            known.display = bool(self._order)
            self.entitle(f"{len(view.active)} active" if self._order else "")
        chosen = chosen_of(view, moment.selection.mechanism)
        here = [each.hash for each in self._order].index(chosen.hash) if chosen is not None else 0
        if here != known.cursor:
            known.cursor = here
            known.changed()

    def main(self) -> LineView:
        return self.query_one("#known" if self._order else "#side", LineView)

    def on_line_view_moved(self, event: LineView.Moved) -> None:
        event.stop()
        if self._moment is not None and event.lines.id == "known":
            self._take_up(self._moment)
            self.show(self._moment)

    def settle(self) -> None:
        """Select what the cursor stands on now: keys that come together are ahead of the messages that they bring."""
        if self._moment is not None and self.query_one("#known", LineView).has_focus:
            self._take_up(self._moment)

    def _take_up(self, moment: Moment) -> None:
        cursor, chosen = self.query_one("#known", LineView).cursor, chosen_of(moment.view, moment.selection.mechanism)
        if cursor < len(self._order) and (chosen is None or chosen.hash != self._order[cursor].hash):
            moment.selection.mechanism = self._order[cursor].hash

    def turn_to(self, side: Side) -> None:
        """Show another side of the selected one."""
        self.side = side


# --- which ------------------------------------------------------------------------------------------------------------
def chosen_of(view: View, digest: str | None) -> Mechanism | None:
    """The selected mechanism, else the newest."""
    return view.mechanisms.get(digest or "") or next(reversed(view.mechanisms.values()), None)


def as_left(moment: Moment, mechanism: Mechanism) -> Mechanism:
    """As an engine that is gone has left it: what it was writing or testing is interrupted, and no event says so."""
    if moment.engine.state == "gone" and mechanism.status == "written":
        return replace(mechanism, interrupted=True)
    return mechanism


def in_order(known: dict[str, Mechanism], active: list[str]) -> list[Mechanism]:
    """The active ones in the order in which they are asked, then the others, the newest first."""
    others = [mechanism for digest, mechanism in reversed(known.items()) if digest not in active]
    return [known[digest] for digest in active] + others


def rows(view: View, order: list[Mechanism], width: int) -> list[Text]:
    """A row a mechanism: its place in the chain, its name, its state, and what it did or why it is out."""
    longest = max((len(clean(each.name, _LONGEST_NAME)) for each in order), default=0)
    room = min(longest, max(8, width - _ROOM))
    return [_row(view, each, place, room) for place, each in enumerate(order, 1)]


def _row(view: View, mechanism: Mechanism, place: int, room: int) -> Text:
    sign, style = SIGNS.get(mechanism.state, ("?", "warn"))
    active = mechanism.status == "active"
    row = Text.assemble((f"{place if active else '':>2} ", "dim"), (sign, style))
    row.append(f" {padded(clean(mechanism.name, _LONGEST_NAME), room)} ", "strong" if active else "")
    row.append(f"{mechanism.state:<8} ", style if style != "alert" else "strong")
    return row.append(_told(view, mechanism), "" if active else "dim")


def _told(view: View, mechanism: Mechanism) -> str:
    """What it did while it was active, and why it is out."""
    told = f"acted {mechanism.acted} of {mechanism.calls}" if mechanism.activated is not None else ""
    heir = next((each for each in view.mechanisms.values() if each.replaces == mechanism.hash and each.periods), None)
    if mechanism.status == "replaced" and heir is not None:
        why = f"by {clean(heir.name, _LONGEST_NAME)} {heir.hash[:6]}"
    elif mechanism.state == "interrupted":
        why = how_far(mechanism)
    else:
        why = reason_alone(mechanism.status, mechanism.reason)
        why = "" if mechanism.status in ("active", "replaced") else why
    return "  ".join(part for part in (told, why) if part)


def _state(mechanism: Mechanism) -> tuple[object, ...]:
    called = sum(mechanism.called.values())
    known = (mechanism.hash, mechanism.state, mechanism.reason, called, mechanism.acted, len(mechanism.periods))
    return (*known, len(mechanism.failures), len(mechanism.evidence), len(mechanism.problems))


# --- its sides --------------------------------------------------------------------------------------------------------
def side_of(moment: Moment, chosen: Mechanism, side: Side, width: int, *, dark: bool | None) -> tuple[list[Text], str]:
    """The lines of a side for a width, and what is said beside its name; `dark` None: a source without colours."""
    view = moment.view
    match side:
        case "source":
            return source_of(moment.feed, chosen, dark=dark), ""
        case "difference":
            return difference_of(moment.feed, view.mechanisms, chosen)
        case "evidence":
            return evidence_of(view, chosen, width), ""
        case "acts":
            lines = [line for act in acts_lines(view, chosen) for line in wrapped(act, max(20, width))]
            return [Text(line) for line in lines] or [Text("it has not acted", "dim")], ""


def evidence_of(view: View, mechanism: Mechanism, width: int) -> list[Text]:
    """All that is known of it, for a width; the headings of its tables stand out."""
    width = max(30, width)
    lines = refitted(evidence_lines(view, mechanism, width), width)
    heads = [not index or not lines[index - 1] for index in range(len(lines))]
    return [_emphasised(line, head) for line, head in zip(lines, heads, strict=True)]


def _emphasised(line: str, head: bool) -> Text:
    label, rest = line[:11], line[11:]
    if label.strip() and label.rstrip() == label.split(" ")[0] and label.endswith(" ") and not line.startswith(" "):
        return Text.assemble((label, "dim"), (rest, "strong" if label.startswith(("verdict", "expected")) else ""))
    return Text(line, "accent" if head and line else "")


def source_of(feed: Feed, mechanism: Mechanism, *, dark: bool | None) -> list[Text]:
    """The source that was decided on, whatever its file holds by now; `dark` None: without colours."""
    return _read(lambda: source_lines(_source(feed, mechanism.hash), dark=dark))


def difference_of(feed: Feed, known: dict[str, Mechanism], mechanism: Mechanism) -> tuple[list[Text], str]:
    """The difference to the module that it was developed from, and what that is."""
    elder = mechanism.derived_from or mechanism.replaces
    if elder is None:
        return [Text("It was written anew: there is no module that it was developed from.", "dim")], ""
    name = clean(known[elder].name, _LONGEST_NAME) if elder in known else "a module of an earlier session"
    own = clean(mechanism.name, _LONGEST_NAME)
    names = (f"{name} {elder[:12]}", f"{own} {mechanism.hash[:12]}")
    lines = _read(lambda: difference_lines(_source(feed, elder), _source(feed, mechanism.hash), names))
    added, taken = counted(lines)
    return lines, f"+{added} -{taken} to {name} {elder[:6]}" if added or taken else ""


def _source(feed: Feed, digest: str) -> str:
    return feed.blob(digest).decode("utf-8", "replace")


def _read(make: Callable[[], list[Text]]) -> list[Text]:
    try:
        return make()
    except RecordError as error:
        return [Text(clean(error, 300), "warn")]


def _sides(chosen: Side, said: str) -> Text:
    names = [f"[{side}]" if side == chosen else f"{key} {side}" for key, side in SIDES]
    return Text("  ".join([*names, said] if said else names))
