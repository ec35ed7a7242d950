"""What a person is shown while a mechanism waits for a decision: the evidence, and the commands that decide."""

import shlex
import time

from engine.record.events import InjectionWaiting
from engine.record.evidence import evidence_lines
from engine.record.view import View
from engine.record.wording import labelled


def decision_lines(view: View, waiting: InjectionWaiting, db: str | None = None) -> list[str]:
    """The evidence on what waits, and how to approve or to veto exactly this source; `db`: --db, where it was given."""
    return [*evidence_lines(view, view.mechanisms[waiting.hash]), "", *_commands(waiting, db)]


def _commands(waiting: InjectionWaiting, db: str | None) -> list[str]:
    """The two commands, and what the clock does if nobody gives one."""
    named = f"--hash {waiting.hash[:12]}" + (f" --db {shlex.quote(db)}" if db else "")
    lines = [f"approve    bilevel approve {named}", f'veto       bilevel veto {named} --reason "why not"']
    if waiting.deadline is None:
        return [*lines, *labelled("else", "it waits, and the search goes on without it")]
    verb = "lets it in" if waiting.trusted else "turns it away"
    at = time.strftime("%H:%M:%S", time.localtime(waiting.deadline))
    return [*lines, *labelled("else", f"the clock {verb} at {at}")]
