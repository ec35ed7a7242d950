"""Which acts of a mechanism count: those that came to bear on the trial that they are recorded for.

An act is recorded when a hook has decided, before the trial starts. By then a suggestion may have fallen to a person's
freeze, a block may have been passed over by the override, and the session may have ended.
"""

from collections.abc import Iterable
from typing import Any

from engine.record.events import MechanismActed, TrialStarted
from engine.record.view import Mechanism, View


def settle(mechanisms: Iterable[Mechanism], started: TrialStarted) -> None:
    """Drop what mechanisms were recorded to have done for a trial that now starts, and did not come to bear on it.

    A suggestion counts if the trial is its; a review if it led away from what it reviewed. What runs all the same, by
    an override or because it was proposed again, was blocked in vain; what an override runs was edited in vain as well
    where the block came after the edit.
    """
    known = list(mechanisms)
    in_vain = _in_vain([act for each in known for act in each.acts if act.trial == started.number], started)
    for mechanism in known:
        suggested = [act for act in mechanism.acts if act.trial == started.number and act.hook == "suggest"]
        tried = suggested[-1:] if started.proposed_by == mechanism.name else []
        mechanism.acts = [
            act
            for act in mechanism.acts
            if act.trial != started.number
            or (act in tried if act.hook == "suggest" else act.hook != "review" or _run_by(act.before) not in in_vain)
        ]


def drop_unstarted(view: View) -> None:
    """Drop what was recorded for a trial that never started, now that the search is over."""
    last = max(view.completed, view.running.started.number if view.running else 0)
    for mechanism in view.mechanisms.values():
        mechanism.acts = [act for act in mechanism.acts if act.trial <= last]


def _in_vain(acts: list[MechanismActed], started: TrialStarted) -> list[Any]:
    """What was reviewed and came to nothing: what runs, and what edits had made of it before an override ran it."""
    found: list[Any] = [(started.base, started.changes, started.replicate)]
    if not started.overridden:
        return found
    while edits := [
        _run_by(act.after)
        for act in acts
        if _run_by(act.before) in found and act.after != "blocked" and _run_by(act.after) not in found
    ]:
        found += edits
    return found


def _run_by(told: Any) -> Any:
    """What a recorded proposal would run, whatever was said for it; what is none, as it is."""
    return (told["base"], told["changes"], told["replicate"]) if isinstance(told, dict) and "changes" in told else told
