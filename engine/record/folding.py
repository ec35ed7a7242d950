"""How each kind of event changes the view: one small function a kind, registered by the event's class."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import msgspec

from engine.record import acts
from engine.record import events as ev
from engine.record.schema import VIEW_ONLY_KINDS
from engine.record.settings import Settings
from engine.record.view import CYCLE, Mechanism, Period, Research, RunningTrial, View, trial_of
from engine.search.parameters import space_from_json
from engine.search.trials import History

_Handler = Callable[[View, Any], None]
_E = TypeVar("_E", bound=ev.Event)
_handlers: dict[type[ev.Event], _Handler] = {}
_NOTES_KEPT = 200
_VIEW_ONLY = {ev.KINDS[kind] for kind in VIEW_ONLY_KINDS}


def apply(view: View, seq: int, time: float, event: ev.Event) -> None:
    """Change the view by one event; kinds that change no state only advance its position.

    Of the kinds in VIEW_ONLY_KINDS any may be left out, if these are folded: the last of each, the last event before an
    engine starts, and the event at which the view is to stand.
    """
    kind = type(event)
    if kind is ev.EngineStarted:  # the time in which there was none does not count
        _close_stretch(view, view.time)
    elif kind not in _VIEW_ONLY:
        _close_stretch(view, time)
    view.seq, view.time = seq, time
    if kind is ev.SessionCreated:
        view.created = time
    handler = _handlers.get(kind)
    if handler is not None:
        handler(view, event)
    if kind not in _VIEW_ONLY:
        view.active_since = time if view.created and view.status != "paused" else None


def _close_stretch(view: View, time: float) -> None:
    if view.active_since is not None:
        view.active_before += max(0.0, time - view.active_since)


def _on(kind: type[_E]) -> Callable[[Callable[[View, _E], None]], Callable[[View, _E], None]]:
    def register(handler: Callable[[View, _E], None]) -> Callable[[View, _E], None]:
        _handlers[kind] = handler
        return handler

    return register


@_on(ev.SessionCreated)
def _created(view: View, event: ev.SessionCreated) -> None:
    view.session, view.version = event.session, event.version
    view.settings = msgspec.convert(event.settings, Settings)
    view.target, view.space = event.target, space_from_json(event.space)
    view.model, view.stand_in = event.model, event.stand_in
    view.history = History(event.target["metric"]["direction"])


@_on(ev.EngineStarted)
def _engine_started(view: View, event: ev.EngineStarted) -> None:
    view.engine = event
    view.activity = {}
    view.backed_off.clear()


@_on(ev.StateChanged)
def _state_changed(view: View, event: ev.StateChanged) -> None:
    view.status, view.status_reason, view.status_by = event.status, event.reason, event.by
    if event.status in ("finished", "failed"):
        acts.drop_unstarted(view)


@_on(ev.PhaseStarted)
def _phase_started(view: View, event: ev.PhaseStarted) -> None:
    view.phase = event.phase
    if event.phase == "confirmation":
        acts.drop_unstarted(view)


@_on(ev.BudgetExtended)
def _extended(view: View, event: ev.BudgetExtended) -> None:
    given = {name: getattr(event, name) for name in event.__struct_fields__}
    view.settings = msgspec.structs.replace(view.settings, **{k: v for k, v in given.items() if v is not None})


@_on(ev.LevelActivity)
def _activity(view: View, event: ev.LevelActivity) -> None:
    view.activity = dict(sorted({**view.activity, event.level: event.activity}.items()))


@_on(ev.Noted)
def _noted(view: View, event: ev.Noted) -> None:
    view.notes = [*view.notes[1 - _NOTES_KEPT :], event]


# --- trials -----------------------------------------------------------------------------------------------------------
@_on(ev.TrialStarted)
def _trial_started(view: View, event: ev.TrialStarted) -> None:
    view.running = RunningTrial(event, view.time)
    if event.role == "search":
        known = view.mechanisms.values()
        acts.settle([each for each in known if each.acts and each.acts[-1].trial == event.number], event)


@_on(ev.TrainerSpawned)
def _spawned(view: View, event: ev.TrainerSpawned) -> None:
    if view.running and view.running.started.run == event.run:
        view.running.spawned = event


@_on(ev.TrialProgress)
def _progress(view: View, event: ev.TrialProgress) -> None:
    if view.running and view.running.started.run == event.run:
        view.running.progress = event


@_on(ev.TrialLost)
def _lost(view: View, event: ev.TrialLost) -> None:
    view.lost[event.run] = event.attempt


@_on(ev.TrialFinished)
def _finished(view: View, event: ev.TrialFinished) -> None:
    started = view.running.started if view.running and view.running.started.run == event.run else None
    view.running = None
    view.finished_runs[event.run] = msgspec.structs.replace(event, curve=[], log_tail=event.log_tail[-20:])
    if started is None or event.role not in ("baseline", "search"):
        return
    improvement = None
    if event.metric is not None:
        if event.role == "search":
            improvement = view.history.improvement(event.metric)
        view.history.add_run(started.config, event.metric)
    view.history.add_trial(trial_of(started, event, improvement), event.incumbent)
    if event.role == "baseline":
        mean, runs = view.history.standing(started.config)
        status = "keep" if runs else event.status
        view.history.trials[0] = replace(view.history.trials[0], metric=mean, status=status)
    elif event.number >= view.strategy_due_after + CYCLE:
        view.level_guidance = ""  # it lapses with its cycle, also when the next decision is late


@_on(ev.Confirmed)
def _confirmed(view: View, event: ev.Confirmed) -> None:
    view.confirmations.append(event)


@_on(ev.ProposalsMade)
def _proposed(view: View, event: ev.ProposalsMade) -> None:
    view.proposals[event.trial] = event.proposals


@_on(ev.ProposalRefused)
def _refused(view: View, event: ev.ProposalRefused) -> None:
    view.refused_proposals = [*view.refused_proposals[1 - _NOTES_KEPT :], event]


# --- level 1.5 --------------------------------------------------------------------------------------------------------
@_on(ev.StrategyDecided)
def _strategy(view: View, event: ev.StrategyDecided) -> None:
    view.strategies.append(event)
    view.strategy, view.level_guidance = event.strategy, event.guidance
    view.strategy_due_after = event.trial
    for name in event.unfrozen:
        view.frozen_by_level.pop(name, None)
    view.frozen_by_level.update(dict.fromkeys(event.frozen, event.trial))


@_on(ev.ParameterFrozen)
def _frozen(view: View, event: ev.ParameterFrozen) -> None:
    view.frozen_by_person[event.name] = view.completed


@_on(ev.ParameterUnfrozen)
def _unfrozen(view: View, event: ev.ParameterUnfrozen) -> None:
    view.frozen_by_person.pop(event.name, None)
    view.frozen_by_level.pop(event.name, None)


@_on(ev.GuidanceGiven)
def _guided(view: View, event: ev.GuidanceGiven) -> None:
    view.person_guidance = event.text


@_on(ev.LevelSkipped)
def _skipped(view: View, event: ev.LevelSkipped) -> None:
    if event.level == "1.5":
        view.strategy_due_after, view.level_guidance = event.trial, ""
    elif event.level == "2":
        view.research_due_after = event.trial


# --- level 2 ----------------------------------------------------------------------------------------------------------
@_on(ev.ArchiveRead)
def _archive_read(view: View, event: ev.ArchiveRead) -> None:
    view.archive = event


@_on(ev.ResearchStarted)
def _research_started(view: View, event: ev.ResearchStarted) -> None:
    view.researches[event.research] = Research(event.research, event.trial)


@_on(ev.ResearchRound)
def _research_round(view: View, event: ev.ResearchRound) -> None:
    view.researches[event.research].rounds.append(event)


@_on(ev.ResearchFinished)
def _research_finished(view: View, event: ev.ResearchFinished) -> None:
    research = view.researches[event.research]
    research.finished = event
    view.research_due_after = research.trial


@_on(ev.MechanismWritten)
def _written(view: View, event: ev.MechanismWritten) -> None:
    if event.hash in view.active:  # the same source written again: it is refused, and the active one stays as it is
        return
    known = view.mechanisms.get(event.hash)
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    # The same source written again keeps what it was seen to do.
    view.mechanisms[event.hash] = replace(known, **fields, status="written") if known else Mechanism(**fields)


@_on(ev.MechanismValidated)
def _validated(view: View, event: ev.MechanismValidated) -> None:
    mechanism = view.mechanisms[event.hash]
    if event.hash in view.active:
        return
    mechanism.problems, mechanism.evidence = event.problems, event.evidence
    if event.problems:
        mechanism.status, mechanism.reason = "refused", event.problems[0]


@_on(ev.InjectionWaiting)
def _waiting(view: View, event: ev.InjectionWaiting) -> None:
    view.waiting = event
    view.mechanisms[event.hash].status = "waiting"


@_on(ev.InjectionDecided)
def _decided(view: View, event: ev.InjectionDecided) -> None:
    if view.waiting and view.waiting.hash == event.hash:
        view.waiting = None
    mechanism = view.mechanisms[event.hash]
    mechanism.status, mechanism.reason, mechanism.decision = event.decision, event.reason, event


@_on(ev.MechanismActivated)
def _activated(view: View, event: ev.MechanismActivated) -> None:
    mechanism = view.mechanisms[event.hash]
    mechanism.status = "active"
    mechanism.periods.append(Period(event.trial))
    if event.replaces in view.active:
        view.active[view.active.index(event.replaces)] = event.hash
        elder = view.mechanisms[event.replaces]
        elder.status = "replaced"
        _end_period(elder, event.trial)
    elif event.hash not in view.active:
        view.active.append(event.hash)


@_on(ev.MechanismDeactivated)
def _deactivated(view: View, event: ev.MechanismDeactivated) -> None:
    mechanism = view.mechanisms[event.hash]
    mechanism.status, mechanism.reason = event.status, event.reason
    begun = max(view.completed, view.running.started.number if view.running else 0)
    if event.hash in view.active:
        _end_period(mechanism, begun)
        place = view.active.index(event.hash)
        view.active[place : place + 1] = [event.restored] if event.restored else []
    if event.restored:
        elder = view.mechanisms[event.restored]
        elder.status = "active"
        elder.periods.append(Period(begun))


def _end_period(mechanism: Mechanism, trial: int) -> None:
    """It took part up to this trial, or to the one that was being proposed when it went, if it had acted in that."""
    last = max([trial, *mechanism.trials_touched[-1:]])
    mechanism.periods[-1] = mechanism.periods[-1]._replace(until=last)


@_on(ev.MechanismActed)
def _acted(view: View, event: ev.MechanismActed) -> None:
    view.mechanisms[event.hash].acts.append(event)


@_on(ev.MechanismCalls)
def _calls(view: View, event: ev.MechanismCalls) -> None:
    for digest, hooks in event.calls.items():
        called = view.mechanisms[digest].called
        for hook, count in hooks.items():
            called[hook] = called.get(hook, 0) + count


@_on(ev.MechanismFailed)
def _failed(view: View, event: ev.MechanismFailed) -> None:
    view.mechanisms[event.hash].failures.append(event)


# --- the model --------------------------------------------------------------------------------------------------------
@_on(ev.ModelRetried)
def _retried(view: View, event: ev.ModelRetried) -> None:
    view.backed_off[event.level] = event


@_on(ev.LevelBackedOff)
def _backed_off(view: View, event: ev.LevelBackedOff) -> None:
    view.backed_off[event.level] = event


@_on(ev.ModelCalled)
def _called(view: View, event: ev.ModelCalled) -> None:
    view.backed_off.pop(event.level, None)
    view.calls += 1
    view.tokens_in += event.tokens_in
    view.tokens_out += event.tokens_out
    view.cost = None if view.cost is None or event.cost is None else view.cost + event.cost
