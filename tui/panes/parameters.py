"""The parameters: what each is worth in the incumbent, who holds it fixed and why, how often it was tried."""

from collections import Counter
from dataclasses import dataclass

from rich.cells import set_cell_size
from rich.text import Text
from textual.app import ComposeResult

from engine.record.view import View
from engine.record.wording import clean, counted, shown
from engine.search.parameters import Config, Parameter, Value
from tui.moment import Moment
from tui.panes.glyphs import FROZEN_BY_LEVEL, FROZEN_BY_PERSON, LOCKED
from tui.panes.pane import Pane
from tui.widgets.block import Block
from tui.widgets.lines import LineView

_LONGEST_NAME = 24
_LONGEST_VALUE = 14
_NARROW = 60
"""Columns below which how often a parameter was tried and kept is told in signs."""
_GUIDANCE = 2000
"""Characters of guidance at most, as the engine takes them."""


@dataclass(frozen=True)
class Hold:
    """Who holds a parameter fixed, in a sign, its style and words; none for one that is free."""

    sign: str = " "
    style: str = ""
    words: str = ""


def hold(view: View, parameter: Parameter) -> Hold:
    """Why a parameter is not free: the target's lock before a person's freeze before Level 1.5's."""
    name = parameter.name
    if parameter.locked:
        return Hold(LOCKED, "dim", "locked by the target")
    if name in view.frozen_by_person:
        return Hold(FROZEN_BY_PERSON, "warn", f"frozen after trial {view.frozen_by_person[name]} by a person")
    if name in view.frozen_by_level:
        after = view.frozen_by_level[name]
        reason = next((told.reason for told in reversed(view.strategies) if name in told.frozen), "")
        why = f": {clean(reason, 300)}" if reason else ""
        return Hold(FROZEN_BY_LEVEL, "accent", f"frozen after trial {after} by level 1.5{why}")
    return Hold()


class ParameterRows(LineView):
    """A row a parameter, in the target's order."""

    def __init__(self) -> None:
        super().__init__(selectable=True)
        self.view = View()
        self.parameters: list[Parameter] = []
        self._config: Config = {}
        self._baseline: Config = {}
        self._tries: Counter[str] = Counter()
        self._keeps: Counter[str] = Counter()
        self.known: tuple[object, ...] = ()
        """What the rows are made from."""

    def bring(self, view: View) -> bool:
        """Bring the rows to the view; whether anything differs."""
        history = view.history
        frozen = (tuple(view.frozen_by_person.items()), tuple(view.frozen_by_level.items()))
        known = (view.session, len(view.finished_runs), history.incumbent, len(view.strategies), frozen)
        if known == self.known:
            return False
        self.known, self.view = known, view
        self.parameters = list(view.space.parameters.values())
        self._baseline = view.baseline.config if view.baseline else view.space.initial
        self._config = history.incumbent_config() if history.incumbent in history.trials else self._baseline
        self._tries = Counter(name for trial in history for name in trial.changes)
        self._keeps = Counter(name for trial in history if trial.kept for name in trial.changes)
        self.changed()
        return True

    def count(self) -> int:
        return len(self.parameters)

    def line(self, index: int) -> Text:
        parameter = self.parameters[index]
        name, held = parameter.name, hold(self.view, parameter)
        widest = max(len(clean(each.name, _LONGEST_NAME)) for each in self.parameters)
        line = Text.assemble((held.sign, held.style), " ", f"{clean(name, _LONGEST_NAME):<{widest}}  ")
        value, before = self._config.get(name), self._baseline.get(name)
        moved = value != before
        line.append(set_cell_size(_value(value), self._widest_value()), "strong" if moved else "")
        form, room = (" {:>3}× {:>2}✓", 10) if self.size.width < _NARROW else ("{:>4} tried {:>2} kept", 19)
        tried = "" if parameter.locked else form.format(self._tries[name], self._keeps[name])
        if held.words:  # why it does not move comes before how often it was moved
            line.append(f"  {held.words}  ", held.style)
        line.append(f"{tried:<{room}}", "dim")
        if moved and before is not None:
            line.append(f" was {_value(before)} ", "good")
        if parameter.meaning and not held.words:
            line.append(f" {clean(parameter.meaning, 120)}", "dim")
        return line

    def details(self, parameter: Parameter, width: int) -> list[Text]:
        """What a row may have no room for, in a few lines of this width."""
        name, held = parameter.name, hold(self.view, parameter)
        reach = f"{_value(parameter.low)} to {_value(parameter.high)}" if parameter.low is not None else ""
        values = ", ".join(map(_value, parameter.choices or ())) or reach
        told = f"  {_value(self._config.get(name))}, at first {_value(self._baseline.get(name))}"
        told += f"; {clean(values, 80)}" if values else ""
        lines = [Text.assemble((clean(name, 60), "strong"), told)]
        tried = f"tried {counted(self._tries[name], 'time')}, kept {self._keeps[name]}"
        lines += [Text(held.words, held.style)] if held.words else []
        lines += [Text(tried, "dim")] if not parameter.locked else []
        lines += [Text(clean(parameter.meaning, 400), "dim")] if parameter.meaning else []
        return [part for line in lines for part in line.wrap(self.app.console, max(20, width), tab_size=1)]

    def _widest_value(self) -> int:
        return max(len(_value(self._config.get(each.name))) for each in self.parameters)


def _value(value: Value | None) -> str:
    return "?" if value is None else clean(shown(value), _LONGEST_VALUE)


class ParametersPane(Pane):
    """Strategy and guidance in force, then the parameters; the cursor selects the one that a freeze is about."""

    number = 3
    heading = "Parameters"

    def __init__(self) -> None:
        super().__init__(id="parameters")
        self._guided: tuple[object, ...] = ()
        self._detailed: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        yield Block(id="guidance")
        yield ParameterRows()
        yield Block(id="parameter")

    @property
    def rows(self) -> ParameterRows:
        """The list itself."""
        return self.query_one(ParameterRows)

    def show(self, moment: Moment) -> None:
        """Bring the pane to the moment."""
        self._moment = moment
        view, rows = moment.view, self.rows
        if rows.bring(view):
            frozen, locked = len(view.frozen), sum(each.locked for each in rows.parameters)
            told = [f"{frozen} frozen"] if frozen else []
            told += [f"{locked} locked"] if locked else []
            self.entitle(", ".join(told))
        self._select(moment)
        self._guidance(view)
        self._details(moment)

    def _select(self, moment: Moment) -> None:
        """The first row is selected from the start, so that a freeze has something to act on once it is looked at."""
        rows = self.rows
        if moment.selection.parameter is None and rows.parameters and rows.has_focus:
            moment.selection.parameter = rows.parameters[rows.cursor].name

    def on_line_view_moved(self, event: LineView.Moved) -> None:
        event.stop()
        self._take_up()

    def settle(self) -> None:
        """Select what the cursor stands on: keys that come together are ahead of the messages that they bring."""
        if self.rows.has_focus:
            self._take_up()

    def _take_up(self) -> None:
        rows = self.rows
        if self._moment is not None and rows.cursor < len(rows.parameters):
            self._moment.selection.parameter = rows.parameters[rows.cursor].name
            self._details(self._moment)

    def _guidance(self, view: View) -> None:
        """Strategy and guidance, wrapped, on a third of the pane at most."""
        width, most = self.size.width, max(1, self.size.height // 3)
        guided = (view.strategy, view.person_guidance, view.level_guidance, "1.5" in view.settings.levels, width, most)
        if guided == self._guided or not width:
            return
        self._guided = guided
        text = Text.assemble(("strategy ", "dim"), (view.strategy, "strong")) if guided[3] else Text()
        for who, words in (("you: ", view.person_guidance), ("level 1.5: ", view.level_guidance)):
            if words:
                text.append("  " if text else "").append(who, "accent").append(clean(words, _GUIDANCE))
        lines = list(text.wrap(self.app.console, width, tab_size=1)) if text else []
        if len(lines) > most:
            lines = [*lines[: most - 1], Text(lines[most - 1].plain[: width - 2].rstrip() + " …")]
        self.query_one("#guidance", Block).show_lines(lines)

    def _details(self, moment: Moment) -> None:
        """All that is known of the selected one, where the list leaves room for it."""
        rows, width = self.rows, self.size.width
        room = self.size.height - len(self.query_one("#guidance", Block).lines) - rows.count()
        known = (moment.selection.parameter, rows.known, width, room)
        if known == self._detailed or not width:
            return
        self._detailed = known
        chosen = next((each for each in rows.parameters if each.name == moment.selection.parameter), None)
        lines = rows.details(chosen, width) if chosen is not None else []
        self.query_one("#parameter", Block).show_lines(lines if len(lines) <= room else [])
