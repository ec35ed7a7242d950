"""A session as plain lines: one a trial, one for what an outer level or a person did, and a line of progress.

`Narrator` applies events to a view and says of each what a person should read, often nothing. Every text that came from
a model, a trainer or a mechanism is cleaned: no terminal acts on it. Nothing is printed here.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from engine.record import events as ev
from engine.record.evidence import verdict
from engine.record.folding import apply
from engine.record.view import View
from engine.record.wording import (
    because,
    between_runs,
    clean,
    ending,
    model_line,
    number,
    run_words,
    shown,
    signed,
    who,
)
from tui.deciding import decision_lines

_TOLD_ONLY_AS_COMMANDS = ("stop", "kill_trial", "edit")
_E = TypeVar("_E", bound=ev.Event)
_tellers: dict[type[ev.Event], Callable[[View, Any], str | None]] = {}


class Narrator:
    """Says what happens in a session, event by event. `view` is up to date after each."""

    def __init__(self, view: View | None = None) -> None:
        self.view = View() if view is None else view

    def tell(self, seq: int, time: float, event: ev.Event) -> str | None:
        """Apply one event; the line that tells of it, or None."""
        view, running = self.view, self.view.running
        best = view.history.best if isinstance(event, ev.TrialFinished) else None  # it looks through all trials
        apply(view, seq, time, event)
        if isinstance(event, ev.TrialFinished):
            started = running.started if running and running.started.run == event.run else None
            return _trial_line(view, event, started, best.metric if best else None)
        teller = _tellers.get(type(event))
        return teller(view, event) if teller else None


def header(view: View) -> list[str]:
    """The first lines of a session: what runs, with which model, in which settings."""
    settings, target = view.settings, view.target
    budget = target.get("budget", {})
    unit = "s" if budget.get("kind") == "seconds" else "FLOPs"
    return [
        f"session {view.session}",
        f"model   {model_line(view)}",
        f"target  {target.get('name', '?')}, profile {settings.profile}, {budget.get('value', 0):g} {unit} a trial",
        f"search  {settings.trials} trials, levels {', '.join(settings.levels)}, approval {settings.approval}",
    ]


# --- trials -----------------------------------------------------------------------------------------------------------
def _trial_line(view: View, event: ev.TrialFinished, started: ev.TrialStarted | None, best: float | None) -> str:
    name = view.target.get("metric", {}).get("name", "metric")
    what = f"trial {event.number:>3}" if event.role == "search" else event.run
    value = f"{name} {number(event.metric)}" if event.metric is not None else f"no {name}"
    parts = [what, f"{event.status:<7}" if event.role == "search" else "", value]
    if event.role == "search":
        parts.append(_against(event, best))
    if event.metric is None and event.reason:
        parts.append(clean(event.reason, 80))
    parts.append(f"{event.seconds:.1f} s")
    if started is not None and event.role == "search":
        parts += [_proposer(started, event), changes(view, started)]
    return "  ".join(part for part in parts if part)


def _against(event: ev.TrialFinished, best: float | None) -> str:
    if event.metric is None or best is None:
        return ""
    noise = "beyond noise" if event.beyond_noise else "within noise"
    return f"{signed(event.metric - best)} to the best" + (f", {noise}" if event.status == "keep" else "")


def _proposer(started: ev.TrialStarted, event: ev.TrialFinished) -> str:
    text = f"by {clean(started.proposed_by, 40)}"
    if started.edited_by:
        text += f", edited by {clean(', '.join(started.edited_by), 60)}"
    return text + (f", decided by {clean(event.decided_by, 40)}" if event.decided_by != "rule" else "")


def changes(view: View, started: ev.TrialStarted) -> str:
    """What a trial changes against its base, and which trial it repeats, be it that these changes make it one."""
    again = "" if started.replicate is None else f"trial {started.replicate} again"
    if not started.changes:
        return again
    base = view.history.trials.get(started.base if started.base is not None else -1)
    told = [
        f"{name} {shown(base.config[name]) + ' ' if base and name in base.config else ''}→ {shown(value)}"
        for name, value in started.changes.items()
    ]
    return clean(", ".join(told)) + (f" ({again})" if again else "")


def progress_line(view: View, now: float) -> str:
    """What goes on at this moment, at the Unix time `now`."""
    ends = ending(view)
    if view.status == "paused":
        still = f"; {view.running.started.run} trains to its end" if view.running else ""
        why = because("paused", "", view.status_reason)
        return f"paused{why}{still}" + (f"; {ends}" if ends else "")
    busy = "; ".join(f"level {level}: {clean(text, 50)}" for level, text in view.activity.items() if text)
    if view.running is None:
        troubles = [_model_failed(level, failed) for level, failed in view.backed_off.items()]
        return "; ".join(filter(None, [*troubles, busy, ends])) or between_runs(view)
    started, progress = view.running.started, view.running.progress
    what = f"trial {started.number} of {view.settings.trials}" if started.role == "search" else run_words(view, started)
    parts = [what, f"{max(0.0, now - view.running.since):.0f} s"]
    if progress is not None:
        parts += [f"{100 * progress.fraction:.0f} %"] if progress.fraction is not None else [f"step {progress.step}"]
        parts += [f"loss {progress.loss:.3f}"] if progress.loss is not None else []
    return " | ".join(filter(None, [*parts, ends, busy]))


def _model_failed(level: str, failed: ev.LevelBackedOff | ev.ModelRetried) -> str:
    reason = failed.reason if isinstance(failed, ev.LevelBackedOff) else failed.error
    return f"level {level} waits for its model, which failed: {clean(reason, 100)}"


# --- everything else --------------------------------------------------------------------------------------------------
def _tells(kind: type[_E]) -> Callable[[Callable[[View, _E], str | None]], Callable[[View, _E], str | None]]:
    def register(teller: Callable[[View, _E], str | None]) -> Callable[[View, _E], str | None]:
        _tellers[kind] = teller
        return teller

    return register


@_tells(ev.EngineStarted)
def _engine(view: View, event: ev.EngineStarted) -> str | None:
    return f"the engine took the session up again (process {event.pid})" if event.resumed else None


@_tells(ev.StateChanged)
def _state(view: View, event: ev.StateChanged) -> str:
    by = "" if event.by == "engine" and event.reason else f"by {who(event.by)}"
    return event.status + because(event.status, by, event.reason)


@_tells(ev.PhaseStarted)
def _phase(view: View, event: ev.PhaseStarted) -> str:
    return f"{event.phase} begins"


@_tells(ev.BudgetExtended)
def _extended(view: View, event: ev.BudgetExtended) -> str:
    return f"extended to {view.settings.trials} trials"


@_tells(ev.Noted)
def _noted(view: View, event: ev.Noted) -> str:
    return f"{event.severity}: {clean(event.text, 300)}"


@_tells(ev.TrialLost)
def _lost(view: View, event: ev.TrialLost) -> str:
    return f"attempt {event.attempt} of {event.run} was lost and is run again: {clean(event.reason)}"


@_tells(ev.Confirmed)
def _confirmed(view: View, event: ev.Confirmed) -> str:
    if event.difference is None:
        return f"confirmation of trial {event.trial}: too few valid runs to tell"
    low, high = event.interval or (event.difference, event.difference)
    interval = f"95 % interval {signed(low)} to {signed(high)}"
    return f"confirmation: trial {event.trial} differs from the baseline by {signed(event.difference)}, {interval}"


@_tells(ev.ProposalRefused)
def _refused(view: View, event: ev.ProposalRefused) -> str:
    return f"proposal for trial {event.trial} by {clean(event.by, 40)} refused: {clean(event.reason)}"


@_tells(ev.StrategyDecided)
def _strategy(view: View, event: ev.StrategyDecided) -> str:
    parts: list[str] = [event.strategy]
    parts += [f"froze {', '.join(event.frozen)}"] if event.frozen else []
    parts += [f"unfroze {', '.join(event.unfrozen)}"] if event.unfrozen else []
    parts += [f"guidance: {clean(event.guidance)}"] if event.guidance else []
    return clean(f"level 1.5 after trial {event.trial}: {'; '.join(parts)}", 300)


@_tells(ev.ParameterFrozen)
def _frozen(view: View, event: ev.ParameterFrozen) -> str:
    return f"{event.name} frozen by {who(event.by)}"


@_tells(ev.ParameterUnfrozen)
def _unfrozen(view: View, event: ev.ParameterUnfrozen) -> str:
    return f"{event.name} unfrozen by {who(event.by)}"


@_tells(ev.GuidanceGiven)
def _guided(view: View, event: ev.GuidanceGiven) -> str:
    return f"guidance by {who(event.by)}: {clean(event.text) or '(taken back)'}"


@_tells(ev.ResearchStarted)
def _research(view: View, event: ev.ResearchStarted) -> str:
    return f"level 2 after trial {event.trial}: research {event.research} begins"


@_tells(ev.ResearchRound)
def _round(view: View, event: ev.ResearchRound) -> str:
    return f"level 2 research {event.research}, {event.round}: {clean(event.summary) or 'done'}"


@_tells(ev.ResearchFinished)
def _research_ended(view: View, event: ev.ResearchFinished) -> str:
    return f"level 2 research {event.research} {event.outcome}" + (f": {clean(event.reason)}" if event.reason else "")


@_tells(ev.MechanismWritten)
def _written(view: View, event: ev.MechanismWritten) -> str:
    name = f"mechanism {clean(event.name, 60)} ({event.hash[:12]})"
    if event.written_by == "person":
        return f"{name} as a person edited it"
    return f"level 2 {name} written: {clean(event.purpose)}"


@_tells(ev.MechanismValidated)
def _validated(view: View, event: ev.MechanismValidated) -> str:
    by = "" if view.mechanisms[event.hash].written_by == "person" else "level 2 "
    if event.problems:
        return f"{by}mechanism {clean(event.name, 60)} failed its tests: {clean(event.problems[0])}"
    told = verdict(view.mechanisms[event.hash])
    return f"{by}mechanism {clean(event.name, 60)} passed its tests: it {told.removeprefix('it ')}"


@_tells(ev.InjectionWaiting)
def _waiting(view: View, event: ev.InjectionWaiting) -> str:
    name = f"{clean(event.name, 60)} ({event.hash[:12]})"
    first = f"mechanism {name} waits for you. {clean(event.reason)}".rstrip()
    return "\n".join([first, *(f"  {line}".rstrip() for line in decision_lines(view, event))])


@_tells(ev.InjectionDecided)
def _decided(view: View, event: ev.InjectionDecided) -> str:
    why = because(event.decision, f"by {who(event.by)}", event.reason)
    late = " (too late: it is active)" if event.hash in view.active else ""
    return f"mechanism {clean(event.name, 60)} {event.decision}{why}{late}"


@_tells(ev.MechanismActivated)
def _activated(view: View, event: ev.MechanismActivated) -> str | None:
    if event.hash not in view.active:  # vetoed while the boundary was about to let it in
        return None
    return f"mechanism {clean(event.name, 60)} active after trial {event.trial}"


@_tells(ev.MechanismDeactivated)
def _deactivated(view: View, event: ev.MechanismDeactivated) -> str:
    why = because(event.status, f"by {who(event.by)}", event.reason)
    return f"mechanism {clean(event.name, 60)} {event.status}{why}"


@_tells(ev.MechanismActed)
def _acted(view: View, event: ev.MechanismActed) -> str:
    why = f": {clean(event.why)}" if event.why else ""
    return f"mechanism {clean(event.name, 60)} acted on trial {event.trial} ({event.hook}){why}"


@_tells(ev.MechanismFailed)
def _failed(view: View, event: ev.MechanismFailed) -> str:
    return f"mechanism {clean(event.name, 60)} failed in {event.hook} at trial {event.trial}: {clean(event.error)}"


@_tells(ev.ModelRetried)
def _retried(view: View, event: ev.ModelRetried) -> str:
    return f"level {event.level} {event.purpose}: {clean(event.error)}; again in {event.wait:.0f} s"


@_tells(ev.AnswerRefused)
def _answer(view: View, event: ev.AnswerRefused) -> str:
    return f"level {event.level} {event.purpose}: the answer does not fit ({clean(event.error)}), asked again"


@_tells(ev.LevelSkipped)
def _skipped(view: View, event: ev.LevelSkipped) -> str:
    return f"level {event.level} skips its turn after trial {event.trial}: {clean(event.reason)}"


@_tells(ev.LevelBackedOff)
def _backed_off(view: View, event: ev.LevelBackedOff) -> str:
    return f"level {event.level} waits {event.wait:.0f} s: {clean(event.reason)}"


@_tells(ev.CommandApplied)
def _applied(view: View, event: ev.CommandApplied) -> str | None:
    if event.command not in _TOLD_ONLY_AS_COMMANDS:
        return None  # an event of its own says what came of it
    return f"{event.command} by {who(event.by)}: {clean(event.detail)}"


@_tells(ev.CommandRefused)
def _command_refused(view: View, event: ev.CommandRefused) -> str:
    return f"{event.command} by {who(event.by)} refused: {clean(event.detail)}"
