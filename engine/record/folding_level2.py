"""How the events of Level 2 change the view: the archive, researches, and the mechanisms with what they did."""

from dataclasses import replace

from engine.record import events as ev
from engine.record.handlers import Handlers
from engine.record.view import Mechanism, Period, Research, View, goes_on_without_engine

LEVEL2 = Handlers()


# --- research ---------------------------------------------------------------------------------------------------------
@LEVEL2.on(ev.ArchiveRead)
def _archive_read(view: View, event: ev.ArchiveRead) -> None:
    view.archive = event


@LEVEL2.on(ev.ResearchStarted)
def _research_started(view: View, event: ev.ResearchStarted) -> None:
    view.researches[event.research] = Research(event.research, event.trial)


@LEVEL2.on(ev.ResearchRound)
def _research_round(view: View, event: ev.ResearchRound) -> None:
    view.researches[event.research].rounds.append(event)


@LEVEL2.on(ev.ResearchFinished)
def _research_finished(view: View, event: ev.ResearchFinished) -> None:
    research = view.researches[event.research]
    if research.finished is not None:  # a person's veto and an engine that closes it may meet: the first counts
        return
    research.finished = event
    if not (research.interrupted and event.outcome == "failed"):  # else it is due again
        view.research_due_after = research.trial
    for mechanism in view.mechanisms.values():
        if mechanism.research == event.research and mechanism.written_by != "person":
            mechanism.interrupted = mechanism.status == "written"


def interrupt(view: View) -> None:
    """No engine runs the session, or the next one has only begun: nobody works on what Level 2 had in hand."""
    for mechanism in view.mechanisms.values():
        mechanism.interrupted = mechanism.status == "written"
    for research in view.researches.values():
        research.interrupted = research.finished is None and not goes_on_without_engine(view, research)


# --- mechanisms -------------------------------------------------------------------------------------------------------
@LEVEL2.on(ev.MechanismWritten)
def _written(view: View, event: ev.MechanismWritten) -> None:
    if event.hash in view.active:  # the same source written again: it is refused, and the active one stays as it is
        return
    known = view.mechanisms.get(event.hash)
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    if known:  # the same source again keeps what it was seen to do
        anew = known.status != "written" or known.research != event.research
        fields |= {"status": "written", "reason": "", "interrupted": False}
        if anew:  # and is tested again; else only what it replaces has changed since its tests
            fields |= {"problems": [], "evidence": {}}
    view.mechanisms[event.hash] = replace(known, **fields) if known else Mechanism(**fields)


@LEVEL2.on(ev.MechanismValidated)
def _validated(view: View, event: ev.MechanismValidated) -> None:
    mechanism = view.mechanisms[event.hash]
    if event.hash in view.active:
        return
    mechanism.problems, mechanism.evidence = event.problems, event.evidence
    if event.problems:
        mechanism.status, mechanism.reason = "refused", event.problems[0]


@LEVEL2.on(ev.InjectionWaiting)
def _waiting(view: View, event: ev.InjectionWaiting) -> None:
    view.waiting = event
    view.mechanisms[event.hash].status = "waiting"


@LEVEL2.on(ev.InjectionDecided)
def _decided(view: View, event: ev.InjectionDecided) -> None:
    if view.waiting and view.waiting.hash == event.hash:
        view.waiting = None
    mechanism = view.mechanisms[event.hash]
    if event.hash in view.active:  # a veto that came a moment after the boundary: a revert takes it out
        return
    mechanism.status, mechanism.reason, mechanism.decision = event.decision, event.reason, event
    research = view.researches.get(mechanism.research or 0)
    if research is not None and research.finished is None and mechanism.written_by != "person":
        research.decided = event


@LEVEL2.on(ev.MechanismActivated)
def _activated(view: View, event: ev.MechanismActivated) -> None:
    mechanism = view.mechanisms[event.hash]
    if mechanism.status in ("vetoed", "refused"):  # taken back while the boundary was about to let it in
        return
    mechanism.status = "active"
    mechanism.periods.append(Period(event.trial))
    if event.replaces in view.active:
        view.active[view.active.index(event.replaces)] = event.hash
        elder = view.mechanisms[event.replaces]
        elder.status = "replaced"
        _end_period(elder, event.trial)
    elif event.hash not in view.active:
        view.active.append(event.hash)


@LEVEL2.on(ev.MechanismDeactivated)
def _deactivated(view: View, event: ev.MechanismDeactivated) -> None:
    if event.hash not in view.active:  # of two who take it out at once the first has the word, on its elder as well
        return
    mechanism = view.mechanisms[event.hash]
    mechanism.status, mechanism.reason = event.status, event.reason
    begun = max(view.completed, view.running.started.number if view.running else 0)
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


@LEVEL2.on(ev.MechanismActed)
def _acted(view: View, event: ev.MechanismActed) -> None:
    view.mechanisms[event.hash].acts.append(event)
    trial, known = view.acting
    if event.trial != trial:
        view.acting = (event.trial, (event.hash,))
    elif event.hash not in known:
        view.acting = (trial, (*known, event.hash))


@LEVEL2.on(ev.MechanismCalls)
def _calls(view: View, event: ev.MechanismCalls) -> None:
    for digest, hooks in event.calls.items():
        called = view.mechanisms[digest].called
        for hook, count in hooks.items():
            called[hook] = called.get(hook, 0) + count


@LEVEL2.on(ev.MechanismFailed)
def _failed(view: View, event: ev.MechanismFailed) -> None:
    view.mechanisms[event.hash].failures.append(event)
