"""Which acts of a mechanism count: those that came to bear on the trial that they are recorded for.

An act is recorded when a hook has decided, before what it decided is done. By then a suggestion may have fallen to a
person's freeze, a block may be passed over by the override, an edit may be blocked by the next review, a trial that was
to be stopped may have ended by itself, and the session may have ended.
"""

from collections.abc import Iterable
from typing import Any

from engine.record.events import MechanismActed, TrialFinished, TrialStarted
from engine.record.view import Mechanism, View
from engine.search.trials import PROPOSERS


def settle(mechanisms: Iterable[Mechanism], started: TrialStarted) -> None:
    """Drop what mechanisms were recorded to have done for a trial that now starts, and did not come to bear on it.

    A suggestion counts if the trial is its; what the model was asked, or which of its proposals was chosen, if the
    trial is no mechanism's; an edit if it is part of what runs. What runs all the same, by an override or because it
    was proposed again, was blocked in vain; of what an override runs that holds for its edited form as well.
    """
    known = list(mechanisms)
    reviews = [act for each in known for act in each.acts if act.trial == started.number and act.hook == "review"]
    edits = [(_run_by(act.before), _run_by(act.after)) for act in reviews if _is_edit(act)]
    ran = [(started.base, started.changes, started.replicate)]
    led_to_it = _reached(ran, [(after, before) for before, after in edits])
    in_vain = _reached(led_to_it, edits) if started.overridden else ran

    def counts(act: MechanismActed, suggested: MechanismActed | None) -> bool:
        match act.hook:
            case "suggest":
                return act is suggested and started.proposed_by == act.name
            case "steer" | "choose":
                return started.proposed_by in PROPOSERS
            case "review":
                return _run_by(act.after) in led_to_it if _is_edit(act) else _run_by(act.before) not in in_vain
        return True

    for mechanism in known:
        own = [act for act in mechanism.acts if act.trial == started.number]
        suggested = next((act for act in reversed(own) if act.hook == "suggest"), None)
        mechanism.acts = [act for act in mechanism.acts if act.trial != started.number or counts(act, suggested)]


def drop_stops(mechanisms: Iterable[Mechanism], finished: TrialFinished) -> None:
    """Drop what `watch` was recorded to have stopped, for a trial that ended otherwise."""
    if finished.status == "stopped":
        return
    for mechanism in mechanisms:
        mechanism.acts = [act for act in mechanism.acts if (act.trial, act.hook) != (finished.number, "watch")]


def drop_unstarted(view: View) -> None:
    """Drop what was recorded for a trial that never started, now that the search is over."""
    last = max(view.completed, view.running.started.number if view.running else 0)
    for mechanism in view.mechanisms.values():
        mechanism.acts = [act for act in mechanism.acts if act.trial <= last]


def _is_edit(act: MechanismActed) -> bool:
    return isinstance(act.after, dict)


def _run_by(told: Any) -> Any:
    """What a recorded proposal would run, whatever was said for it; what is none, as it is."""
    return (told["base"], told["changes"], told["replicate"]) if isinstance(told, dict) and "changes" in told else told


def _reached(begin: list[Any], ways: list[tuple[Any, Any]]) -> list[Any]:
    """What the ways (from, to) lead to, where they begin included. Of dicts, which no set takes."""
    found = begin.copy()
    while more := [to for origin, to in ways if origin in found and to not in found]:
        found += more
    return found
