"""How each kind of event changes the view: one small function a kind; those of Level 2 are in folding_level2."""

from dataclasses import replace

import msgspec

from engine.record import acts
from engine.record import events as ev
from engine.record.folding_level2 import LEVEL2, interrupt
from engine.record.handlers import Handlers
from engine.record.schema import VIEW_ONLY_KINDS
from engine.record.settings import Settings
from engine.record.view import CYCLE, ENDED, Mechanism, RunningTrial, View, trial_of
from engine.search.parameters import space_from_json
from engine.search.trials import History

_HANDLERS = Handlers(LEVEL2)
_NOTES_KEPT = 200
_VIEW_ONLY = {ev.KINDS[kind] for kind in VIEW_ONLY_KINDS}


def apply(view: View, seq: int, time: float, event: ev.Event) -> None:
    """Change the view by one event; kinds that change no state only advance its position.

    Of the kinds in VIEW_ONLY_KINDS any may be left out, if these are folded: the last of each, the last event before an
    engine starts, and the event at which the view is to stand.
    """
    kind = type(event)
    counts = kind not in _VIEW_ONLY
    if counts and view.active_since is not None:
        # The time in which there was no engine does not count.
        until = view.time if kind is ev.EngineStarted else time
        view.active_before += max(0.0, until - view.active_since)
    view.seq, view.time = seq, time
    if kind is ev.SessionCreated:
        view.created = time
    handler = _HANDLERS.get(kind)
    if handler is not None:
        handler(view, event)
    if counts:
        view.active_since = time if view.created and view.status != "paused" else None


@_HANDLERS.on(ev.SessionCreated)
def _created(view: View, event: ev.SessionCreated) -> None:
    view.session, view.version = event.session, event.version
    view.settings = msgspec.convert(event.settings, Settings)
    view.target, view.space = event.target, space_from_json(event.space)
    view.model, view.stand_in = event.model, event.stand_in
    view.history = History(event.target["metric"]["direction"])


@_HANDLERS.on(ev.EngineStarted)
def _engine_started(view: View, event: ev.EngineStarted) -> None:
    view.engine = event
    view.activity = {}
    view.ending = False  # an engine is asked to stop, not its session: the next one goes on
    view.backed_off.clear()
    interrupt(view)


@_HANDLERS.on(ev.StateChanged)
def _state_changed(view: View, event: ev.StateChanged) -> None:
    view.status, view.status_reason, view.status_by = event.status, event.reason, event.by
    if event.status in ENDED:
        acts.drop_unstarted(view)
        view.ending = False
        interrupt(view)


@_HANDLERS.on(ev.PhaseStarted)
def _phase_started(view: View, event: ev.PhaseStarted) -> None:
    view.phase = event.phase
    if event.phase == "confirmation":
        acts.drop_unstarted(view)


@_HANDLERS.on(ev.BudgetExtended)
def _extended(view: View, event: ev.BudgetExtended) -> None:
    given = {name: getattr(event, name) for name in event.__struct_fields__}
    view.settings = msgspec.structs.replace(view.settings, **{k: v for k, v in given.items() if v is not None})


@_HANDLERS.on(ev.LevelActivity)
def _activity(view: View, event: ev.LevelActivity) -> None:
    view.activity = dict(sorted({**view.activity, event.level: event.activity}.items()))


@_HANDLERS.on(ev.Noted)
def _noted(view: View, event: ev.Noted) -> None:
    view.notes = [*view.notes[1 - _NOTES_KEPT :], event]


@_HANDLERS.on(ev.CommandApplied)
def _commanded(view: View, event: ev.CommandApplied) -> None:
    # Of `stop --now` the end may be recorded before the command.
    if event.command == "stop" and view.status not in ENDED:
        view.ending = True


# --- trials -----------------------------------------------------------------------------------------------------------
@_HANDLERS.on(ev.TrialStarted)
def _trial_started(view: View, event: ev.TrialStarted) -> None:
    view.running = RunningTrial(event, view.time)
    if event.role == "search":
        acts.settle(_acted_in(view, event.number), event)


@_HANDLERS.on(ev.TrainerSpawned)
def _spawned(view: View, event: ev.TrainerSpawned) -> None:
    if view.running and view.running.started.run == event.run:
        view.running.spawned = event


@_HANDLERS.on(ev.TrialProgress)
def _progress(view: View, event: ev.TrialProgress) -> None:
    if view.running and view.running.started.run == event.run:
        view.running.progress = event


@_HANDLERS.on(ev.TrialLost)
def _lost(view: View, event: ev.TrialLost) -> None:
    view.lost[event.run] = event.attempt


@_HANDLERS.on(ev.TrialFinished)
def _finished(view: View, event: ev.TrialFinished) -> None:
    started = view.running.started if view.running and view.running.started.run == event.run else None
    view.running = None
    view.finished_runs[event.run] = msgspec.structs.replace(event, curve=[], log_tail=event.log_tail[-20:])
    if started is None or event.role not in ("baseline", "search"):
        return
    acts.drop_stops(_acted_in(view, event.number), event)
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


def _acted_in(view: View, trial: int) -> list[Mechanism]:
    """The mechanisms that acted in this trial, which is the newest."""
    newest, known = view.acting
    return [view.mechanisms[digest] for digest in known] if newest == trial else []


@_HANDLERS.on(ev.Confirmed)
def _confirmed(view: View, event: ev.Confirmed) -> None:
    view.confirmations.append(event)


@_HANDLERS.on(ev.ProposalsMade)
def _proposed(view: View, event: ev.ProposalsMade) -> None:
    view.proposals[event.trial] = event.proposals


@_HANDLERS.on(ev.ProposalRefused)
def _refused(view: View, event: ev.ProposalRefused) -> None:
    view.refused_proposals = [*view.refused_proposals[1 - _NOTES_KEPT :], event]


# --- level 1.5 --------------------------------------------------------------------------------------------------------
@_HANDLERS.on(ev.StrategyDecided)
def _strategy(view: View, event: ev.StrategyDecided) -> None:
    view.strategies.append(event)
    view.strategy, view.level_guidance = event.strategy, event.guidance
    view.strategy_due_after = event.trial
    for name in event.unfrozen:
        view.frozen_by_level.pop(name, None)
    view.frozen_by_level.update(dict.fromkeys(event.frozen, event.trial))


@_HANDLERS.on(ev.ParameterFrozen)
def _frozen(view: View, event: ev.ParameterFrozen) -> None:
    view.frozen_by_person[event.name] = view.completed


@_HANDLERS.on(ev.ParameterUnfrozen)
def _unfrozen(view: View, event: ev.ParameterUnfrozen) -> None:
    view.frozen_by_person.pop(event.name, None)
    view.frozen_by_level.pop(event.name, None)


@_HANDLERS.on(ev.GuidanceGiven)
def _guided(view: View, event: ev.GuidanceGiven) -> None:
    view.person_guidance = event.text


@_HANDLERS.on(ev.LevelSkipped)
def _skipped(view: View, event: ev.LevelSkipped) -> None:
    if event.level == "1.5":
        view.strategy_due_after, view.level_guidance = event.trial, ""
    elif event.level == "2":
        view.research_due_after = event.trial


# --- the model --------------------------------------------------------------------------------------------------------
@_HANDLERS.on(ev.ModelRetried)
def _retried(view: View, event: ev.ModelRetried) -> None:
    view.backed_off[event.level] = event


@_HANDLERS.on(ev.LevelBackedOff)
def _backed_off(view: View, event: ev.LevelBackedOff) -> None:
    view.backed_off[event.level] = event


@_HANDLERS.on(ev.ModelCalled)
def _called(view: View, event: ev.ModelCalled) -> None:
    view.backed_off.pop(event.level, None)
    view.calls += 1
    view.tokens_in += event.tokens_in
    view.tokens_out += event.tokens_out
    view.cost = None if view.cost is None or event.cost is None else view.cost + event.cost
