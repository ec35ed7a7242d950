"""The decision on an injection, on one screen: what it is for, what it would have done, its source, and its hash."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical
from textual.screen import ModalScreen

from engine.control import Answer
from engine.record.evidence import DECIDERS, edit_of, verdict
from engine.record.view import Mechanism, View
from engine.record.wording import because, clean
from tui.actions import INJECTION_ACTIONS, Action
from tui.panes.banner import until
from tui.panes.mechanisms import difference_of, evidence_of, source_of
from tui.screens.asking import Ask, Confirm
from tui.screens.keeping import Keeping
from tui.screens.searching import Searching
from tui.widgets.block import Block
from tui.widgets.fitting import wrapped
from tui.widgets.keybar import KeyBar, offers
from tui.widgets.lines import LineView

if TYPE_CHECKING:
    from tui.screens.session import SessionScreen

PARTS = ("evidence", "source", "difference")
LOOK_SECONDS = 0.25
SHOWN_SECONDS = 10.0
DECIDING = frozenset(action.id for action in INJECTION_ACTIONS if action.group == "Deciding")
DECISIONS = {"approved": "let in", "vetoed": "vetoed", "refused": "turned away"}


class InjectionScreen(Keeping, Searching, ModalScreen[None]):
    """One module that waits. What is sent carries its hash: a decision about another source is refused.

    Whoever decides, it closes, and so does what is asked over it; who did is said, but not to the person who did here,
    as the command's answer says so. Low terminals show one part at a time.
    """

    heading: ClassVar = "the decision"
    BINDINGS: ClassVar[list[BindingType]] = [action.binding() for action in INJECTION_ACTIONS]
    HORIZONTAL_BREAKPOINTS: ClassVar = [(0, "-narrow"), (160, "-wide")]
    VERTICAL_BREAKPOINTS: ClassVar = [(0, "-low"), (34, "-tall")]
    DEFAULT_CSS = """
    InjectionScreen > Vertical { border: heavy $warning; width: 100%; height: 1fr; }
    InjectionScreen > Vertical { border-title-color: $foreground; border-subtitle-color: $foreground; }
    InjectionScreen #parts { layout: vertical; height: 1fr; }
    InjectionScreen.-wide #parts { layout: horizontal; }
    InjectionScreen #parts > LineView { display: none; border-top: solid $border-blurred; }
    InjectionScreen #parts > LineView { border-title-color: $text-muted; }
    InjectionScreen #parts > LineView:focus { border-top: solid $border; border-title-color: $foreground; }
    InjectionScreen.-evidence #evidence, InjectionScreen.-source #source { display: block; }
    InjectionScreen.-difference #difference { display: block; }
    InjectionScreen.-tall #evidence, InjectionScreen.-wide #evidence { display: block; }
    InjectionScreen.-wide #evidence { width: 84; }
    """

    def __init__(self, session: "SessionScreen", digest: str) -> None:
        super().__init__()
        self.session, self.digest = session, digest
        self._known = session.feed.newest.mechanisms[digest]
        self.part = "evidence"
        self._difference = ""
        self._fitted = 0
        self._closes = False
        self._sent = ""
        """The decision that was sent from here and was not turned down."""

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = Text(f"{clean(self.known.name, 40)} waits for a decision")
            box.border_subtitle = Text(f"sha256 {self.digest}")
            yield Block(id="count")
            with Container(id="parts"):
                for part in PARTS:
                    yield LineView(id=part)
        yield KeyBar()

    @property
    def actions(self) -> list[Action]:
        """What can be done: a person who only looks decides nothing, and an engine that is gone takes no decision."""
        return [each for each in INJECTION_ACTIONS if self.session.takes_commands or each.group != "Deciding"]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What decides does not exist for who only looks."""
        return action not in DECIDING or not self.session.read_only

    @property
    def known(self) -> Mechanism:
        """What it is about, as it is at the newest event; as it was last in a record that was replaced meanwhile."""
        self._known = self.session.feed.newest.mechanisms.get(self.digest, self._known)
        return self._known

    # --- what it shows ------------------------------------------------------------------------------------------------
    def on_mount(self) -> None:
        feed, known = self.session.feed, self.known
        changed, self._difference = difference_of(feed, feed.newest.mechanisms, known)
        self.query_one("#difference", LineView).show_lines(changed)
        self._colour()
        self.app.theme_changed_signal.subscribe(self, lambda theme: self._colour())
        self.action_part("evidence")
        self.look()
        self.set_interval(LOOK_SECONDS, self.look)

    def _colour(self) -> None:
        source = source_of(self.session.feed, self.known, dark=self.app.current_theme.dark)
        self.query_one("#source", LineView).show_lines(source)

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self._fit)

    def _fit(self) -> None:
        """The evidence for the width that it has, and on a tall screen in as many lines as it takes."""
        if not self.query("#evidence"):  # closed again before it was drawn
            return
        part = self.query_one("#evidence", LineView)
        if self.both and self.part == "evidence":
            self.action_part("source")
        width = part.size.width
        if width and width != self._fitted:
            self._fitted = width
            part.show_lines(evidence_of(self.session.feed.newest, self.known, width))
        stacked = self.both and not self.has_class("-wide")
        part.styles.height = min(part.count() + 1, self.size.height // 2) if stacked else "1fr"
        self._titles()

    @property
    def both(self) -> bool:
        """Whether there is room for the evidence beside another part."""
        return self.has_class("-tall") or self.has_class("-wide")

    def action_part(self, part: str) -> None:
        """Show a part: the evidence, the source, or the difference."""
        if part == "evidence" and self.both:  # it is there already, and what lies beside it stays
            self.set_focus(self.query_one("#evidence", LineView))
            return
        self.part = part
        for each in PARTS:
            self.set_class(each == part, f"-{each}")
        self._titles()
        self.set_focus(self.query_one(f"#{part}", LineView))
        self.call_after_refresh(self._fit_evidence_alone)

    def _fit_evidence_alone(self) -> None:
        if any(self._fitted != part.size.width for part in self.query("#evidence")):
            self._fit()

    def _titles(self) -> None:
        for each in PARTS:
            others = [f"{name[0] if name != 'evidence' else 'r'} {name}" for name in PARTS if name != each]
            if self.both:
                others = [name for name in others if "evidence" not in name and each != "evidence"]
            said = f"  {self._difference}" if each == "difference" else ""
            self.query_one(f"#{each}", LineView).border_title = Text("  ".join([f"[{each}]", *others]) + said)

    def look(self) -> None:
        """The time that is left; once it waits no longer, close."""
        if self._closes:
            return
        newest = self.session.feed.newest
        if newest.waiting is None or newest.waiting.hash != self.digest:
            self._close()
            return
        self.query_one(KeyBar).offer(offers(self.actions))
        count = self.query_one("#count", Block)
        self._fit_evidence_alone()  # below a dialogue it may have been laid out late
        count.show_lines(self._count(count.size.width or self.app.size.width - 2))

    def _count(self, width: int) -> list[Text]:
        """What happens if nobody decides, and when; what is said of it, on a second line where one is too short."""
        moment = self.session.moment(newest=True)
        waiting = moment.view.waiting
        if moment.engine.state == "gone":
            head, said = f"! {until(moment)}", moment.engine.says
        elif moment.engine.state == "silent":
            head, said = "! the engine does not answer", moment.engine.says
        else:
            head, said = until(moment), waiting.reason if waiting is not None else ""
        first = Text.assemble((f" {head} ", "alert"))
        edit = [Text(line, "strong") for line in wrapped(_edit_told(moment.view, self.digest), width)]
        if first.cell_len + 2 + len(said) <= width:
            return [first.append(f"  {clean(said, 300)}") if said else first, *edit]
        return [first, *(Text(line) for line in wrapped(clean(said, 300), width)), *edit]

    def _close(self) -> None:
        """Say who decided, unless that was answered to the person here, and close with all that was asked over it."""
        self._closes = True
        decision, said = self.known.decision, "it waits no longer"
        if decision is not None:
            why = because(decision.decision, DECIDERS.get(decision.by, decision.by), decision.reason)
            said = DECISIONS.get(decision.decision, decision.decision) + why
        if decision is None or (decision.by, decision.decision) != ("person", self._sent):
            self.notify(said, title=clean(self.known.name, 40), markup=False, timeout=SHOWN_SECONDS)
        self.pop_until_active()
        self.dismiss(None)

    # --- deciding -----------------------------------------------------------------------------------------------------
    def action_approve(self) -> None:
        """Let it in, once the person has said yes to this hash."""
        known = self.known
        sandbox = known.evidence.get("sandbox", "?")
        body = (
            f"Let {clean(known.name, 40)} in at the next boundary?\n\n{verdict(known)}\n"
            f"It runs in a sandbox of level {sandbox}.\nsource {self.digest}"
        )

        def answered(yes: str | None) -> None:
            if yes:
                self._send("approve", "approved", {})

        self.app.push_screen(Confirm("Approve", body), answered)

    def action_veto(self) -> None:
        """Turn it away; the reason goes into the record and to Level 2."""

        def answered(reason: str | None) -> None:
            if reason is not None:
                self._send("veto", "vetoed", {"reason": reason} if reason.strip() else {})

        hint = f"Turns {clean(self.known.name, 40)} away. Why? Level 2 is told; it may stay empty."
        self.app.push_screen(Ask("Veto", hint), answered)

    def _send(self, command: str, decision: str, arguments: Mapping[str, object]) -> None:
        self._sent = decision

        def answered(answer: Answer) -> None:
            if not answer.applied and self._sent == decision:
                self._sent = ""

        self.session.order(command, {"hash": self.digest, **arguments}, answered)

    def action_edit(self) -> None:
        """The person's own version in its place."""
        self.session.edit(self.known)

    # --- taking away --------------------------------------------------------------------------------------------------
    def kept_as(self) -> str:
        """The session."""
        return self.session.kept_as()

    def part_in_focus(self) -> tuple[str, str]:
        """The part with the focus."""
        lines = self.lines_in_focus() or self.query_one(f"#{self.part}", LineView)
        return f"injection-{lines.id}", lines.text()

    def action_help(self) -> None:
        """The keys that there are."""
        from tui.screens.help import HelpScreen

        self.app.push_screen(HelpScreen(self.actions))


def _edit_told(view: View, digest: str) -> str:
    """What becomes of a person's change to the module that waits; empty where there is none."""
    edit = edit_of(view, digest)
    if edit is None or edit.status not in ("written", "refused"):
        return ""
    name = f"a person's edit {edit.hash[:6]}"
    if edit.status == "written":
        return f"{name} is tested: it takes the place of what is shown here if it is fit"
    return f"{name} was refused: {clean(edit.reason, 200)}"
