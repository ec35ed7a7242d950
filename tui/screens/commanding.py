"""What a person asks of the engine from the screen: each command goes over the socket, and its answer is shown.

The socket blocks, so commands are sent from a thread: the screen goes on meanwhile. Nothing here changes what is shown;
that comes back as events. What a command does is of the newest event, also where a person holds what is shown.
"""

import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from textual.app import SuspendNotSupported

from engine.control import Answer, send
from engine.errors import BilevelError, InputError
from engine.record.lock import holder
from engine.record.view import Mechanism
from engine.record.wording import clean
from tui import telling
from tui.editor import edited
from tui.panes.mechanisms import MechanismsPane, chosen_of
from tui.panes.parameters import ParametersPane
from tui.screens.asking import Ask, Confirm
from tui.screens.unanswered import Unanswered

if TYPE_CHECKING:
    from tui.screens.session import SessionScreen

EDITORS = ("sensible-editor", "editor", "nano", "vi")
"""Where EDITOR names none."""
SHOWN = 8.0
"""Seconds for which an answer is shown."""


class Commanding:
    """The commands of `SessionScreen`."""

    def __init__(self) -> None:
        super().__init__()
        self._unanswered = Unanswered()

    def order(
        self: "SessionScreen",
        command: str,
        arguments: Mapping[str, object] | None = None,
        then: Callable[[Answer], None] = lambda answer: None,
    ) -> None:
        """Send a command; say that it was applied, or why not, and meanwhile that it is waited for. `then` is told."""
        sent = self._unanswered.sent(self, _read(command))

        def work() -> None:
            try:
                running = holder(self.feed.db)
                if running is None or running.session != self.feed.session:
                    again = telling.command(f"resume {self.feed.session}", self.feed.db)
                    raise InputError(f"no engine runs {self.feed.session}: `{again}`")
                answer = send(running.socket, command, arguments, session=self.feed.session)
            except BilevelError as error:
                answer = Answer(False, str(error))
            except Exception as error:  # in a thread it would vanish, and the person wait for an answer
                answer = Answer(False, f"{type(error).__name__}: {error}")
            self.app.call_from_thread(self._answered, command, answer, sent)
            self.app.call_from_thread(then, answer)

        self.run_worker(work, thread=True, group="commands", exit_on_error=False)

    def _answered(self: "SessionScreen", command: str, answer: Answer, sent: int) -> None:
        self._unanswered.answered(self, sent)
        title = f"✓ {_read(command)}" if answer.applied else f"✗ {_read(command)}: refused"
        severity = "information" if answer.applied else "error"
        self.notify(answer.detail, title=title, severity=severity, markup=False, timeout=SHOWN)

    def confirmed(self: "SessionScreen", title: str, body: str, command: str, arguments: Mapping[str, Any]) -> None:
        """Send a command once the person has said yes."""

        def answered(yes: str | None) -> None:
            if yes:
                self.order(command, arguments)

        self.app.push_screen(Confirm(title, body), answered)

    # --- the session --------------------------------------------------------------------------------------------------
    def action_pause_engine(self: "SessionScreen") -> None:
        """Pause the session, or let it go on."""
        self.order("resume" if self.feed.newest.status == "paused" else "pause")

    def action_kill_trial(self: "SessionScreen") -> None:
        """Stop the trial that trains."""
        running = self.feed.newest.running
        if running is None:
            self.notify("no trial is running", severity="warning")
            return
        body = f"Stop {running.started.run}? It counts as stopped; the search goes on with the next."
        self.confirmed("Kill the trial", body, "kill_trial", {"run": running.started.run})

    def action_stop(self: "SessionScreen") -> None:
        """End the session after this trial."""

        def answered(when: str | None) -> None:
            if when:
                self.order("stop", {"now": True} if when == "w" else {})

        again = telling.command(f"resume {self.feed.session}", self.feed.db)
        body = f"End session {self.feed.session}? `{again}` takes it up again."
        answers = {"y": "after the trial that trains", "w": "now"}
        self.app.push_screen(Confirm("Stop the session", body, answers), answered)

    def action_guide(self: "SessionScreen") -> None:
        """Words for the next proposals."""

        def given(text: str | None) -> None:
            if text is not None:
                self.order("guide", {"text": text})

        hint = "What the model is told with the next proposals; an empty line takes it back."
        self.app.push_screen(Ask("Guidance", hint, self.feed.newest.person_guidance), given)

    def action_freeze(self: "SessionScreen") -> None:
        """Freeze the selected parameter, or release it."""
        self.query_one(ParametersPane).settle()
        name = self.selection.parameter
        if name is None:
            self.notify("choose a parameter first (3)", severity="warning")
            return
        self.order("unfreeze" if name in self.feed.newest.frozen else "freeze", {"name": name})

    # --- mechanisms ---------------------------------------------------------------------------------------------------
    def chosen_mechanism(self: "SessionScreen") -> Mechanism | None:
        """The selected mechanism, else the newest."""
        self.query_one(MechanismsPane).settle()
        return chosen_of(self.feed.view, self.selection.mechanism)

    def action_decide(self: "SessionScreen") -> None:
        """Everything about the injection that waits, on one screen."""
        waiting = self.feed.newest.waiting
        if waiting is None:
            self.notify("no mechanism waits for a decision")
            return
        from tui.screens.injection import InjectionScreen

        self.app.push_screen(InjectionScreen(self, waiting.hash))

    action_approve = action_decide

    def action_veto(self: "SessionScreen") -> None:
        """Turn away what waits, or call off the research that goes on."""
        view = self.feed.newest
        if view.waiting is not None:
            self.action_decide()
            return
        research = next(reversed(view.researches.values()), None)
        if research is None or research.finished is not None:
            self.notify("no mechanism waits for a decision, and Level 2 does no research", severity="warning")
            return

        def reasoned(reason: str | None) -> None:
            if reason is not None:
                self.order("veto", {"reason": reason} if reason.strip() else {})

        doing = clean(view.activity.get("2", ""), 60)
        hint = f"Calls off research {research.number}{f' ({doing})' if doing else ''}. Why? It may stay empty."
        self.app.push_screen(Ask("Veto", hint), reasoned)

    def action_revert(self: "SessionScreen") -> None:
        """Take the selected mechanism out."""
        chosen = self.chosen_mechanism()
        if chosen is None or chosen.hash not in self.feed.newest.active:
            self.notify("choose an active mechanism first (4)", severity="warning")
            return
        elder = self.feed.newest.mechanisms.get(chosen.replaces or "")
        back = f" {clean(elder.name, 40)}, which it replaced, comes back." if elder is not None else ""
        body = f"Take {clean(chosen.name, 40)} out?{back}\n\nsource {chosen.hash}"
        self.confirmed("Revert", body, "revert", {"name": chosen.hash})

    def action_edit(self: "SessionScreen") -> None:
        """The file of the selected mechanism in the person's editor."""
        chosen = self.chosen_mechanism()
        if chosen is None or chosen.status not in ("active", "approved", "waiting"):
            self.notify("choose a mechanism that is active or waits (4)", severity="warning")
        else:
            self.edit(chosen)

    def edit(self: "SessionScreen", mechanism: Mechanism) -> None:
        """Open a mechanism's file in the person's editor; the engine then takes the change over."""
        named = (os.environ.get("VISUAL") or os.environ.get("EDITOR") or "").strip()
        editor = named or next(filter(None, map(shutil.which, EDITORS)), "")
        if not editor:
            told = f"there is no editor: leave, set EDITOR, attach again; or edit {mechanism.path}: a change is noticed"
            self.notify(told, severity="warning", markup=False)
            return
        code, error = self._edited(editor, mechanism.path)
        if error is not None:
            self.notify(f"{editor} cannot be run: {error}", severity="error", markup=False)
        elif code:
            self.notify(f"{editor} ended with code {code}: nothing was taken over", severity="warning", markup=False)
        else:
            self.order("edit", {"name": mechanism.hash})

    def _edited(self: "SessionScreen", editor: str, path: str) -> tuple[int, Exception | None]:
        """The editor's exit code, or why it cannot be run; then the application has the terminal again."""
        code, failed = 0, None
        try:
            with self.app.suspend(), _interrupts_left_to_the_editor():
                try:  # in here: what leaves `suspend` by an exception never comes back to the screen
                    code = edited(editor, path)
                except InputError as error:
                    failed = error
        except SuspendNotSupported as error:
            return code, error
        return code, failed


def _read(command: str) -> str:
    """A command as a person reads it."""
    return command.replace("_", " ")


@contextmanager
def _interrupts_left_to_the_editor() -> Iterator[None]:
    """ctrl+c in the editor is the editor's; a handler, unlike ignoring it, is not what a child begins with."""
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
