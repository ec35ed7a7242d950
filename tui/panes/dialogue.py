"""Level 2's dialogue with the model, round by round: what it answered, and what it was asked."""

import json
from typing import NamedTuple

from rich.text import Text
from textual.app import ComposeResult

from engine.record import events as ev
from engine.record.reader import RecordError
from engine.record.view import Research, View, goes_on_without_engine
from engine.record.wording import clean, counted
from tui.moment import Moment
from tui.panes.pane import Pane
from tui.prompts import Prompts
from tui.widgets.fitting import wrapped
from tui.widgets.lines import LineView
from tui.widgets.source import printable

WAITING = "Level 2 has not begun: it researches after every second cycle of five trials."
CUT = "the engine ended in the middle of it"
OUTCOMES = {"proposed": "good", "retired": "warn", "refused": "warn", "failed": "bad", "vetoed": "warn"}


class Entry(NamedTuple):
    """A row: a round of a research, or (index None) its beginning or its end; `cut`: its engine ended first."""

    research: Research
    index: int | None
    cut: bool = False

    @property
    def round(self) -> ev.ResearchRound | None:
        return None if self.index is None else self.research.rounds[self.index]


class DialoguePane(Pane):
    """Every research, its rounds, and the text of the selected one. The newest is followed until another is chosen."""

    number, heading = 6, "Level 2"
    DEFAULT_CSS = """
    DialoguePane > #rounds { height: 40%; }
    DialoguePane > #said { height: 1fr; border-top: solid $border-blurred; border-title-color: $text-muted; }
    """

    def __init__(self) -> None:
        super().__init__(id="dialogue")
        self.asked = False
        """What is shown is the question rather than the answer."""
        self._prompts: Prompts | None = None
        self._entries: list[Entry] = []
        self._listed: tuple[object, ...] = ()
        self._shown: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        yield LineView(selectable=True, follow=True, id="rounds")
        yield LineView(id="said")

    def show(self, moment: Moment) -> None:
        """Bring the pane to the moment."""
        self._moment = moment
        if self._prompts is None or self._prompts.feed is not moment.feed:
            self._prompts = Prompts(moment.feed)
        rounds = self.query_one("#rounds", LineView)
        gone = moment.engine.state == "gone"
        listed = (*_known(moment.view), gone, rounds.size.width)
        if listed != self._listed:
            self._listed, self._entries = listed, entries_of(moment.view, gone=gone)
            doing = "" if gone else moment.view.activity.get("2", "")
            self.entitle(clean(doing, 60))
            off = WAITING if "2" in moment.view.settings.levels else "Level 2 is off in this session."
            said = [Text(line, "dim") for line in wrapped(off, max(20, rounds.size.width))]
            rounds.show_lines([row(entry) for entry in self._entries] or said)
        self._say(moment, self._entries[rounds.cursor] if self._entries else None)

    def _say(self, moment: Moment, entry: Entry | None) -> None:
        """The text of the selected row, where it is not shown yet."""
        said = self.query_one("#said", LineView)
        width = said.size.width
        key = () if entry is None else (entry.research.number, entry.index, _ended(entry), self.asked, width)
        if key == self._shown:
            return
        fresh, self._shown = self._shown[:4] != key[:4], key
        said.border_title = _sides(self.asked) if entry is not None and entry.index is not None else ""
        said.show_lines(wrapped(self._text(moment, entry), max(20, width)) if entry is not None else [])
        if fresh:
            said.go_to(0)

    def _text(self, moment: Moment, entry: Entry) -> str:
        found = entry.round
        if found is None or entry.index is None:
            return ending(entry)
        assert self._prompts is not None
        try:
            digest = self._prompts.of(entry.research.number, entry.index) if self.asked else found.answer_blob
            if digest is None:
                return "The record does not hold what was asked here."
            text = moment.feed.blob(digest).decode("utf-8", "replace")
            return printable(messages(text) if self.asked else text)
        except RecordError as error:
            return clean(error, 300)

    def turn(self) -> None:
        """From the answer to the question, and back."""
        self.asked = not self.asked

    def on_line_view_moved(self, event: LineView.Moved) -> None:
        event.stop()
        if self._moment is not None and event.lines.id == "rounds" and event.index < len(self._entries):
            self._say(self._moment, self._entries[event.index])


def entries_of(view: View, *, gone: bool = False) -> list[Entry]:
    """Every round, and behind the last one of a research that has ended, how; `gone`: no engine runs the session."""
    rows: list[Entry] = []
    for research in view.researches.values():
        rows += [Entry(research, index) for index in range(len(research.rounds))]
        cut = research.interrupted or (gone and not goes_on_without_engine(view, research))
        cut = cut and research.finished is None
        if research.finished is not None or cut or not research.rounds:
            rows.append(Entry(research, None, cut))
    return rows


def row(entry: Entry) -> Text:
    """A line of the list."""
    research, found = entry.research, entry.round
    number = (f"{research.number:>2} ", "dim")
    if found is not None:
        return Text.assemble(number, (f"{found.round:<9}", "accent"), f" {clean(found.summary, 300)}")
    ended = research.finished
    if ended is None and entry.cut:
        return Text.assemble(number, ("interrupted", "warn"), f" {CUT}")
    if ended is None:
        return Text.assemble(number, ("begins   ", "accent"), f" after trial {research.trial}")
    return Text.assemble(
        number, (f"{ended.outcome:<9}", OUTCOMES.get(ended.outcome, "")), f" {clean(ended.reason, 300)}"
    )


def ending(entry: Entry) -> str:
    """How a research ended, in a paragraph."""
    research, ended = entry.research, entry.research.finished
    begun = f"Research {research.number} began after trial {research.trial}"
    rounds = f"{counted(len(research.rounds), 'round')} later"
    if ended is None:
        return f"{begun}; {rounds} {CUT}." if entry.cut else f"{begun} and goes on."
    return f"{begun}; {rounds}: {ended.outcome}.\n\n{clean(ended.reason, 2000)}"


def messages(prompt: str) -> str:
    """The messages of a prompt one below the other, each under its role; what is none stays as it is."""
    try:
        told = [(str(message["role"]), str(message["content"])) for message in json.loads(prompt)]
    except (ValueError, TypeError, KeyError, RecursionError):
        return prompt
    return "\n\n".join(f"── {role} ──\n{content.rstrip()}" for role, content in told)


def _known(view: View) -> tuple[object, ...]:
    """What the list is made from, in so few words that it can be compared four times a second."""
    ended = tuple((research.finished is not None, research.interrupted) for research in view.researches.values())
    rounds = sum(len(research.rounds) for research in view.researches.values())
    return view.session, rounds, ended, view.activity.get("2"), view.settings.levels


def _ended(entry: Entry) -> bool:
    return entry.index is None and (entry.cut or entry.research.finished is not None)


def _sides(asked: bool) -> Text:
    return Text("answer  [question]  b" if asked else "[answer]  question  b")
